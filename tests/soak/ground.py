"""Where a soak takes place: a simulated Claude and the gateway, each a process of its own on this machine."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from proxy.clock import SystemClock
from proxy.simulator import ANY_KEY, Snapshot, Step
from tests.support.gateway import CLIENT_KEY, Gateway, gateway
from tests.support.house import CredentialView, client
from tests.support.program import ROOT

Front = Callable[[str], AbstractAsyncContextManager[str]]
"""What stands between the clients and a gateway's address; gives the address clients ask."""

_PATIENCE_S: Final = 5.0
_FAILURES: Final = ("never retrieved", "unexpected error", "background task failed", "Traceback")
clock = SystemClock()


@asynccontextmanager
async def nothing_between(url: str) -> AsyncIterator[str]:
    """Clients that ask the gateway itself."""
    yield url


@dataclass(frozen=True, slots=True)
class Upstream:
    """A simulated Claude in a process of its own."""

    url: str
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession

    async def script(self, then: Step, key: str = ANY_KEY) -> None:
        """Say how every request of a key, or of all keys, is answered."""
        body = msgspec.json.encode({"key": key, "then": then})
        async with self.session.post(f"{self.url}/__script", data=body) as answer:
            answer.raise_for_status()

    async def record(self) -> Snapshot:
        """What it has received."""
        async with self.session.get(f"{self.url}/__record") as answer:
            return msgspec.json.decode(await answer.read(), type=Snapshot)

    async def stop(self) -> None:
        """End it."""
        if self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    """Start a simulated Claude."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy.simulator", "--address", "127.0.0.1:0", "--record-limit", "10000"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        url = (await process.stdout.readline()).decode().strip()
        async with client() as session:
            started = Upstream(url, process, session)
            yield started
            await started.stop()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@dataclass(frozen=True, slots=True)
class Ground:
    """A gateway under load.

    Attributes:
        gateway: its process.
        upstream: the simulated Claude behind it.
        url: what clients ask.
        session: their connections.
        descriptors_at_first: what the gateway had open before anybody asked.
    """

    gateway: Gateway
    upstream: Upstream
    url: str
    session: aiohttp.ClientSession
    descriptors_at_first: int

    def rss_mib(self) -> float:
        """The gateway's resident memory, in MiB."""
        status = Path(f"/proc/{self.gateway.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    async def in_flight(self, alias: str | None = None) -> int:
        """Places taken at one credential, or at all."""
        found = msgspec.convert(await self.gateway.pool(), list[CredentialView])
        return sum(each.in_flight for each in found if alias in {None, each.name})

    async def idle_after_s(self, alias: str | None = None) -> float:
        """Wait until no place is taken. Returns the seconds it took; raises TimeoutError if it never is."""
        began_s = clock.monotonic_s()
        async with asyncio.timeout(120):
            while await self.in_flight(alias):  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.02)
        return clock.monotonic_s() - began_s

    async def descriptors_left(self, within_s: float = _PATIENCE_S) -> int:
        """What the gateway still has open more than at first, so long after its clients and the upstream have gone."""
        await self.session.close()
        await self.upstream.stop()
        began_s = clock.monotonic_s()
        while (left := _descriptors(self.gateway) - self.descriptors_at_first) > 0:
            if clock.monotonic_s() - began_s > within_s:
                return left
            await asyncio.sleep(0.05)
        return 0

    def failures(self) -> int:
        """Lines of the gateway's log that tell of a mistake of ours."""
        return sum(any(sign in line for sign in _FAILURES) for line in self.gateway.output)


def _descriptors(server: Gateway) -> int:
    return sum(1 for _ in Path(f"/proc/{server.process.pid}/fd").iterdir())


@asynccontextmanager
async def ground(
    folder: Path,
    front: Front,
    settings: Mapping[str, str] | None = None,
    credentials: Sequence[Mapping[str, object]] | None = None,
) -> AsyncIterator[Ground]:
    """Start both, with three keys or these entries of a ``sessions.json``, and a front before them."""
    async with upstream() as claude:
        entries = credentials or [{"name": f"key-{number}", "key": f"k{number}"} for number in (1, 2, 3)]
        common = {"kind": "anthropic", "base_url": claude.url}
        file = folder / "sessions.json"
        file.write_bytes(msgspec.json.encode({"credentials": [{**common, **each} for each in entries]}))
        file.chmod(0o600)
        chosen = {"SESSIONS_FILE": str(file), "POOL_JITTER": "0", "LOG_LEVEL": "warning", **(settings or {})}
        async with gateway(folder, chosen) as server, front(server.url) as url, patient_client() as session:
            yield Ground(server, claude, url, session, _descriptors(server))


def patient_client() -> aiohttp.ClientSession:
    """Connections without a limit of their number or time, that carry a client's key."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
        headers={"authorization": f"Bearer {CLIENT_KEY}", "content-type": "application/json"},
        read_bufsize=2**16,
    )
