"""The key of Claude Code that is used now, in a file that shells read.

So that a person's own Claude Code at a terminal goes on with the next key where one has reached its limits.
"""

import asyncio
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from proxy.credentials import Credential, is_login
from proxy.log import get_logger
from proxy.pool import Pool
from proxy.pool.health import State
from proxy.store.base import StoreError
from proxy.store.files import write_private

_log = get_logger("shell_env")
_LOOK_EVERY_S: Final = 1.0
_FOLDER_MODE: Final = 0o700
_API_KEY: Final = "sk-ant-api"
_USABLE: Final = frozenset({State.READY, State.TRIAL})
_NAMES: Final = ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN")


class ShellEnv:
    """Keeps the file."""

    def __init__(self, file: Path, pool: Pool, credentials: Callable[[], Sequence[Credential]]) -> None:
        """`credentials` gives those of Claude Code there are now, in their order."""
        self._file = file
        self._pool = pool
        self._credentials = credentials
        self._written: tuple[str, bytes] | None = None

    def active(self) -> Credential | None:
        """The first usable key; None where there is none."""
        usable = {
            view.name
            for view in self._pool.snapshot()
            if all(one.state in _USABLE for one in (view.state, *view.classes.values()))
        }
        keys = [one for one in self._credentials() if one.secret is not None and one.name in usable]
        return min(keys, key=lambda one: one.tier, default=None)

    async def look(self) -> None:
        """Write the file if another key is to stand in it; what stands there stays while no key is usable."""
        credential = self.active()
        if credential is None:
            return
        wanted = credential.name, shell_lines(credential)
        if wanted == self._written:
            return
        try:
            await asyncio.to_thread(self._write, wanted[1])
        except (OSError, StoreError) as error:
            _log.error("the key for shells was not written", problem=type(error).__name__)
            return
        self._written = wanted
        _log.info("shells use another key now", credential=credential.name)

    async def run(self) -> None:
        """Look every second, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_EVERY_S)

    def _write(self, lines: bytes) -> None:
        self._file.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        write_private(self._file, lines)


def shell_lines(credential: Credential) -> bytes:
    """What a shell reads: the key under the name Claude Code takes it from, the other names unset, and its address."""
    secret = credential.secret.reveal() if credential.secret is not None else ""
    if is_login(credential.secret):
        name = "CLAUDE_CODE_OAUTH_TOKEN"
    else:
        name = "ANTHROPIC_API_KEY" if secret.startswith(_API_KEY) else "ANTHROPIC_AUTH_TOKEN"
    lines = [
        "# written by Carousel whenever the active key changes; not meant to be edited",
        f"unset {' '.join(other for other in _NAMES if other != name)}",
        f"export {name}={shlex.quote(secret)}",
        f"export ANTHROPIC_BASE_URL={shlex.quote(credential.base_url)}",
    ]
    return ("\n".join(lines) + "\n").encode()
