"""What was said in sessions that clients go on with by their id: the program's own transcripts, kept between two runs.

Each client key has a folder of its own, so that nobody finds another's. A transcript is put where the program looks for
it when a run starts, and taken back when that has ended. Those nobody goes on with are removed.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.store.files import ensure_private_dir, write_private
from proxy.upstreams.claude_code.arguments import is_session
from proxy.upstreams.claude_code.transcript import folder_of, remove_transcript

_log = get_logger("claude_code")
MOST_BYTES: Final = 32 * 1024 * 1024
_MOST_OF_ONE: Final = 1000
_SWEEP_S: Final = 60.0
_WAIT_S: Final = 30.0
_MODE: Final = 0o600
_OWNER_BYTES: Final = 16


class _Facts(msgspec.Struct, frozen=True):
    """What is kept beside a transcript."""

    working_dir: str = ""


class Busy(Exception):
    """Another run of the session has not ended in time."""


class SavedSessions:
    """The sessions of all clients, in one folder."""

    def __init__(self, base: Path, clock: Clock, kept_s: float) -> None:
        """`kept_s` are the seconds after its last use for which one is kept."""
        self._base = base
        self._clock = clock
        self._kept_s = kept_s
        self._held: dict[Path, asyncio.Event] = {}
        self._leaving: set[Path] = set()

    @asynccontextmanager
    async def alone(self, owner: str, session: str) -> AsyncIterator[None]:
        """Wait until no run of the session is left, and be the only one. Raises Busy."""
        place = self._folder(owner) / session
        try:
            async with asyncio.timeout(_WAIT_S):
                while (other := self._held.get(place)) is not None:
                    await other.wait()
        except TimeoutError:
            raise Busy from None
        mine = self._held[place] = asyncio.Event()
        try:
            yield
        finally:
            del self._held[place]
            self._leaving.discard(place)
            mine.set()

    def leave(self, owner: str, session: str) -> None:
        """A run of the session is over, and is being written down."""
        self._leaving.add(self._folder(owner) / session)

    async def settled(self, owner: str) -> None:
        """Wait until what is over of the client's is written down. Raises Busy."""
        folder = self._folder(owner)
        try:
            async with asyncio.timeout(_WAIT_S):
                for place in [place for place in self._leaving if place.parent == folder]:
                    if (leaving := self._held.get(place)) is not None:
                        await leaving.wait()
        except TimeoutError:
            raise Busy from None

    def find(self, owner: str, session: str) -> str | None:
        """Where a session of the client's ran, empty for nowhere in particular; None if there is none. Blocks."""
        if not is_session(session):
            return None
        folder = self._folder(owner)
        try:
            if not (folder / f"{session}.jsonl").is_file():
                return None
            return msgspec.json.decode((folder / f"{session}.json").read_bytes(), type=_Facts).working_dir
        except (OSError, ValueError):
            return None

    def latest(self, owner: str, working_dir: str) -> str | None:
        """The client's session that was used last in a directory; None if there is none. Blocks."""
        with suppress(OSError):
            files = sorted(self._folder(owner).glob("*.jsonl"), key=_used_s, reverse=True)
            for file in files:
                if self.find(owner, file.stem) == working_dir:
                    return file.stem
        return None

    def lay_out(self, owner: str, session: str, configuration: Path, working_dir: Path) -> Path:
        """Put a transcript where the program looks for it. Returns its file. Blocks; raises OSError."""
        folder = folder_of(configuration, working_dir)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{session}.jsonl"
        shutil.copyfile(self._folder(owner) / f"{session}.jsonl", file)
        file.chmod(_MODE)
        return file

    def take_back(self, owner: str, session: str, file: Path, working_dir: str) -> None:
        """Keep what the program has written, in place of what was kept before. Blocks."""
        try:
            folder = self._folder(owner)
            if not file.is_file():
                return
            if file.stat().st_size > MOST_BYTES:
                _log.warning("a session of Claude Code is too large to be kept", bytes=file.stat().st_size)
                return
            for private in (self._base, folder):
                ensure_private_dir(private)
            write_private(folder / f"{session}.json", msgspec.json.encode(_Facts(working_dir)))
            temporary = folder / f".{token_hex(8)}"
            shutil.copyfile(file, temporary)
            temporary.chmod(_MODE)
            now_s = self._clock.unix_ms() / 1000
            os.utime(temporary, (now_s, now_s))
            temporary.replace(folder / f"{session}.jsonl")
            self._crop(folder)
        except Exception as error:  # noqa: BLE001 - what cannot be kept costs nobody the answer
            _log.warning("a session of Claude Code was not kept", problem=type(error).__name__)
        finally:
            remove_transcript(file)

    def sweep(self) -> None:
        """Remove those whose time is over. Blocks."""
        due_s = self._clock.unix_ms() / 1000 - self._kept_s
        with suppress(OSError):
            for file in self._base.glob("*/*.jsonl"):
                if _used_s(file) <= due_s:
                    _remove(file)

    async def run(self) -> None:
        """Sweep every minute, for ever."""
        while True:
            await asyncio.to_thread(self.sweep)
            await asyncio.sleep(_SWEEP_S)

    def _crop(self, folder: Path) -> None:
        for file in sorted(folder.glob("*.jsonl"), key=_used_s, reverse=True)[_MOST_OF_ONE:]:
            _remove(file)

    def _folder(self, owner: str) -> Path:
        return self._base / blake2b(owner.encode(), digest_size=_OWNER_BYTES).hexdigest()


def _used_s(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _remove(file: Path) -> None:
    for each in (file, file.with_suffix(".json")):
        with suppress(OSError):
            each.unlink()
