"""A gateway in a process of its own with a probe in its loop, which feels when the loop is kept busy.

Run as a program it serves what its environment configures, writes its address, and answers each line it is sent
with the longest time it was kept busy since the one before.
"""

import asyncio
import os
import random
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp.test_utils import TestServer

from proxy.clock import SystemClock
from proxy.server.app import Parts, build_app
from proxy.store.sqlite import SqliteStore
from proxy.tasks import spawn
from tests.support.gateway import CLIENT_KEY
from tests.support.house import House, client, configuration, simulated
from tests.support.inside import Inside, configured
from tests.support.program import ROOT

_PROBE_EVERY_S: Final = 0.001
_PATIENCE_S: Final = 30.0


@dataclass(slots=True)
class Probe:
    """Sleeps and wakes in a loop, and notes how long the loop's thread worked before it let others in again.

    Time of the processor is counted, so that what else the machine does makes no difference.

    Attributes:
        worst_s: seconds it worked at most.
    """

    worst_s: float = 0.0

    async def run(self) -> None:
        """Feel the loop until cancelled."""
        while True:
            began_s = time.thread_time()
            await asyncio.sleep(_PROBE_EVERY_S)
            self.worst_s = max(self.worst_s, time.thread_time() - began_s)


@dataclass(frozen=True, slots=True)
class Apart:
    """The process, as the tests' own process sees it."""

    url: str
    process: Process

    async def pool(self) -> list[dict[str, object]]:
        """See `tests.support.house.Server`."""
        raise AssertionError("nobody asks for the pool here")

    async def longest_busy_s(self) -> float:
        """Seconds its loop was kept busy at most since this was asked last."""
        if self.process.stdin is None:
            raise RuntimeError("no pipe")
        self.process.stdin.write(b"\n")
        return float(await _line(self.process))


async def _line(process: Process) -> str:
    if process.stdout is None:
        raise RuntimeError("no pipe")
    return (await asyncio.wait_for(process.stdout.readline(), _PATIENCE_S)).decode().strip()


@asynccontextmanager
async def house_apart(folder: Path) -> AsyncIterator[tuple[House, Apart]]:
    """The same as `tests.support.house.house`, with one key and with a probe."""
    async with simulated() as claude:
        settings = configuration(folder, claude, ("k1",), None)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.apart",
            str(folder),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "API_KEY": CLIENT_KEY, "DATA_DIR": str(folder), **settings},
            stdin=PIPE,
            stdout=PIPE,
        )
        try:
            apart = Apart(await _line(process), process)
            async with client() as session:
                yield House(apart, claude, session), apart
        finally:
            process.kill()
            await process.wait()


async def _serve(folder: Path) -> None:
    settings, credentials, keys, catalog = configured(os.environ, folder)
    parts = Parts(
        settings=settings,
        credentials=credentials,
        keys=keys,
        catalog=catalog,
        store=await SqliteStore.open(settings.database),
        clock=SystemClock(),
        rng=random.Random(0),
    )
    probe, asked = Probe(), asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    app = await build_app(parts)
    async with TestServer(app) as server:
        _tell(Inside.of(app, server).url)
        probing = spawn(probe.run(), name="probe")
        while await asked.readline():
            _tell(str(probe.worst_s))
            probe.worst_s = 0.0
        probing.cancel()


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
