"""The configuration's credentials, taken over again while the server runs: when their file changes, or when asked."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from proxy.clock import Clock
from proxy.credentials import Credential, Credentials, CredentialSource, Kind, Look
from proxy.dispatch.membership import Membership
from proxy.log import get_logger
from proxy.pool import Difference
from proxy.secrets import Secret
from proxy.settings import ConfigurationError, Problem
from proxy.tasks import detach, spawn
from proxy.telemetry.redaction import REDACTOR
from proxy.upstreams.claude_code.program import Unusable, find_program

_log = get_logger("reload")
_LOOK_EVERY_S: Final = 0.25
_LOOKS_BEFORE_READING: Final = 8
_MASKED_LONGER_S: Final = 60.0
_MISTAKES_SHOWN: Final = 20
_TOPIC: Final = "credentials"


class Reloader:
    """Looks after the file of credentials and hands what it says to the pool, whole or not at all."""

    def __init__(self, source: CredentialSource, membership: Membership, clock: Clock) -> None:
        """What `source` has loaded is what the pool began with."""
        self._source = source
        self._membership = membership
        self._clock = clock
        self._found = source.loaded.found
        self._told = frozenset(source.loaded.warnings)
        self._masked_until_s: float | None = None
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Look at the file four times a second, for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - a mistake here must not be the last look
                _log.error("looking after the credentials failed", error=type(error).__name__)

    async def look(self) -> None:
        """Take over a change of the file, if there is one, and clear away after earlier ones."""
        async with self._lock:
            if await asyncio.to_thread(self._source.look) is Look.CHANGED:
                await self._take_over("file")
            await self._clear_away()

    def on_hangup(self) -> None:
        """SIGHUP came: read everything again."""
        detach(self._on_hangup(), name="reload credentials")

    async def _on_hangup(self) -> None:
        await self._settled_and_taken_over("signal")

    async def reload(self, asked_by: str) -> Difference:
        """Read everything again, even if the file seems to be the same. Cancelling does not stop it.

        Raises ConfigurationError with every mistake there is; the credentials are as they were then.
        """
        outcome = await asyncio.shield(
            spawn(self._settled_and_taken_over(asked_by), name="reload credentials")
        )
        if isinstance(outcome, ConfigurationError):
            raise outcome
        return outcome

    async def _settled_and_taken_over(self, asked_by: str) -> Difference | ConfigurationError:
        async with self._lock:
            # a file that is just being written is given the time for it
            for _ in range(_LOOKS_BEFORE_READING):
                if await asyncio.to_thread(self._source.look) is not Look.SETTLING:
                    break
                await asyncio.sleep(_LOOK_EVERY_S)
            return await self._take_over(asked_by)

    async def _take_over(self, asked_by: str) -> Difference | ConfigurationError:
        try:
            found = await asyncio.to_thread(self._load)
        except ConfigurationError as error:
            _log.warning(
                "credentials refused, the old ones stay",
                asked_by=asked_by,
                mistakes=_in_one_line(error.problems),
            )
            return error
        mask(found.found)
        difference = await self._membership.replace(found.found)
        self._found = found.found
        self._masked_until_s = self._clock.monotonic_s() + _MASKED_LONGER_S
        self._warn(found.warnings)
        if difference or asked_by != "file":
            _log.warning(
                "credentials taken over",
                asked_by=asked_by,
                added=list(difference.added),
                changed=list(difference.changed),
                removed=list(difference.removed),
            )
        return difference

    def _load(self) -> Credentials:
        found = checked(self._source.load())
        if not found.found:
            raise ConfigurationError([Problem(self._source.file.name, "leaves no credential to answer with")])
        return found

    def _warn(self, warnings: Sequence[str]) -> None:
        for warning in warnings:
            if warning not in self._told:
                _log.warning(warning)
        self._told = frozenset(warnings)

    async def _clear_away(self) -> None:
        now_s = self._clock.monotonic_s()
        if await self._membership.clear_away(self._found):
            self._masked_until_s = now_s + _MASKED_LONGER_S
        if self._masked_until_s is None or now_s < self._masked_until_s or self._membership.leaving:
            return
        # an old key is masked until nothing that is still to be written can hold it
        self._masked_until_s = None
        REDACTOR.keep(_secrets_of(self._found), topic=_TOPIC)


def checked(found: Credentials) -> Credentials:
    """The same with Claude Code credentials switched off whose program is missing or too old. Blocks."""
    credentials: list[Credential] = []
    warnings: list[str] = []
    for credential in found.found:
        usable_here = credential
        if credential.kind is Kind.CLAUDE_CODE and credential.enabled:
            try:
                find_program(credential)
            except (Unusable, OSError) as problem:
                usable_here = replace(credential, enabled=False)
                warnings.append(f"{credential.name}: Claude Code cannot be used: {problem}.")
        credentials.append(usable_here)
    return Credentials(tuple(credentials), (*found.warnings, *warnings))


def mask(credentials: Iterable[Credential]) -> None:
    """Keep their secrets out of everything that is written from now on; to be done before they are used."""
    REDACTOR.learn(_secrets_of(credentials), topic=_TOPIC)


def _secrets_of(credentials: Iterable[Credential]) -> Iterator[Secret]:
    for credential in credentials:
        yield from (secret for secret in (credential.secret, credential.way_out) if secret is not None)


def _in_one_line(problems: Sequence[Problem]) -> str:
    shown = [f"{problem.setting}: {problem.reason}" for problem in problems[:_MISTAKES_SHOWN]]
    more = len(problems) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])])
