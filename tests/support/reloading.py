"""A gateway whose file of credentials is changed while it runs, the ways editors and mounts do it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from proxy.clock import SystemClock
from proxy.simulator import Simulator
from tests.support.gateway import ADMIN_KEY, Gateway, gateway
from tests.support.house import Answer, CredentialView, House, client, read_answer, simulated, until
from tests.support.soak import SOAKING

PROMISED_S: Final = 1.0
ALLOWED_S: Final = 4 * PROMISED_S
_clock = SystemClock()

Entry = Mapping[str, object]


class View(CredentialView):
    """One credential with its rules."""

    weight: int = 1
    tier: int = 0


@dataclass(frozen=True, slots=True)
class Watched:
    """A house with a file of credentials.

    Attributes:
        house: the gateway, the simulated Claude and a client.
        gateway: the process.
        file: what is watched.
    """

    house: House
    gateway: Gateway
    file: Path
    _versions: "count[int]" = field(default_factory=count)

    @property
    def simulator(self) -> Simulator:
        """The simulated Claude."""
        return self.house.simulator

    def entry(self, name: str, key: str, **fields: object) -> Entry:
        """A credential at the simulated Claude."""
        return {"name": name, "kind": "anthropic", "key": key, "base_url": self.simulator.url, **fields}

    def rewrite(self, text: bytes) -> None:
        """Write over the file."""
        self.file.write_bytes(text)

    def rename(self, text: bytes) -> None:
        """Put a new file in its place at one blow."""
        self._fresh(text).replace(self.file)

    def take_away_first(self, text: bytes) -> None:
        """Remove the file, then write another one."""
        self.file.unlink()
        self.file.write_bytes(text)
        self.file.chmod(0o600)

    def lead_elsewhere(self, text: bytes) -> None:
        """Let a link in the file's place lead to another file, as mounted volumes do."""
        link = self.file.with_name(f"link-{next(self._versions)}")
        link.symlink_to(self._fresh(text))
        link.replace(self.file)

    def _fresh(self, text: bytes) -> Path:
        fresh = self.file.with_name(f"version-{next(self._versions)}.json")
        fresh.write_bytes(text)
        fresh.chmod(0o600)
        return fresh

    async def views(self) -> dict[str, View]:
        """All credentials as the admin sees them, by alias."""
        found = msgspec.convert(await self.gateway.pool(), list[View])
        return {one.name: one for one in found}

    async def taken(self, weights: Mapping[str, int]) -> None:
        """Wait until these aliases with these weights are the pool.

        Where nothing else runs on the machine, the time is held against the promise.
        """
        began_s = _clock.monotonic_s()
        async with asyncio.timeout(60):
            while True:
                if {name: view.weight for name, view in (await self.views()).items()} == weights:
                    break
                await asyncio.sleep(0.02)
        assert not SOAKING or _clock.monotonic_s() - began_s < ALLOWED_S

    async def reload(self) -> Answer:
        """Ask as the administrator."""
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with self.house.session.post(
            f"{self.gateway.url}/admin/pool/reload", headers=headers
        ) as response:
            return await read_answer(response)

    def hang_up(self) -> None:
        """Send SIGHUP."""
        self.gateway.program.send(signal.SIGHUP)

    def lines(self, event: str) -> list[str]:
        """The lines of the log with this event."""
        return [line for line in self.gateway.output if event in line]

    async def wrote(self, event: str, times: int = 1) -> list[str]:
        """Wait until so many lines of the log have this event."""
        await until(lambda: len(self.lines(event)) >= times)
        return self.lines(event)


def text_of(*entries: Entry) -> bytes:
    """A file of credentials."""
    return msgspec.json.encode({"credentials": entries})


@asynccontextmanager
async def watched(
    folder: Path, first: Mapping[str, str], settings: Mapping[str, str] | None = None
) -> AsyncIterator[Watched]:
    """A gateway that begins with these keys, by alias, in its file; without a file for none."""
    async with simulated() as simulator, client() as session:
        file = folder / "sessions.json"
        if first:
            common = {"kind": "anthropic", "base_url": simulator.url}
            file.write_bytes(text_of(*({"name": name, "key": key, **common} for name, key in first.items())))
            file.chmod(0o600)
        chosen = {"POOL_JITTER": "0", "LOG_LEVEL": "info", "ANTHROPIC_BASE_URL": simulator.url}
        if first:
            chosen["SESSIONS_FILE"] = str(file)
        async with gateway(folder, {**chosen, **(settings or {})}) as process:
            yield Watched(House(process, simulator, session), process, file)
