"""Clients that read slowly or not at all: memory is bounded, others do not notice, and who stands still is cut off."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from proxy.simulator import Step
from proxy.tasks import spawn
from tests.soak.figures import Report, percentile
from tests.soak.ground import Front, Ground, clock, ground
from tests.soak.streams import Seen, Streams, all_followed
from tests.support.departures import ENDPOINTS
from tests.support.house import MODEL

_MIB: Final = 1024 * 1024
_GROWTH_MOST_MIB: Final = 64.0
_SLOWER_MOST: Final = 2.0
_UNFELT_MS: Final = 20.0
_FREED_LATE_S: Final = 5.0
_LOOKED_AT_LEAST: Final = 13 / 12
_WINDOW_BYTES: Final = 4096
_FAST, _SLOW, _STALLED = MODEL, "claude-haiku-4-5", "claude-opus-5"
_CREDENTIALS: Final[tuple[Mapping[str, object], ...]] = (
    {"name": "fast", "key": "fast-key", "models": [_FAST]},
    {"name": "slow", "key": "slow-key", "models": [_SLOW]},
    {"name": "stalled", "key": "stalled-key", "models": [_STALLED]},
)


@dataclass(frozen=True, slots=True)
class Readers:
    """How many read how slowly, and who reads beside them.

    Attributes:
        readers: slow ones.
        bytes_per_s: that each of them reads.
        answer_mib: that is meant for each of them.
        beside: the streams that must not notice, run once without and once with the slow ones.
        stall_s: after how long a client that reads nothing is cut off.
    """

    readers: int
    bytes_per_s: int
    answer_mib: int
    beside: Streams
    stall_s: float

    def scaled(self, share: float) -> "Readers":
        """The same in a share of the time."""
        return replace(self, beside=self.beside.scaled(share), stall_s=max(self.stall_s * share, 1))

    def __str__(self) -> str:
        return (
            f"{self.readers} readers of {self.bytes_per_s:,} bytes a second of {self.answer_mib} MiB each, "
            f"one that reads nothing, beside {self.beside}"
        )


async def readers(size: Readers, folder: Path, report: Report, front: Front) -> None:
    """Have them read and report."""
    settings = {"RELAY_WRITE_STALL_S": f"{size.stall_s:g}"}
    async with ground(folder, front, settings, _CREDENTIALS) as found:
        await found.upstream.script(Step(pace=size.beside.pace), "fast-key")
        for key in ("slow-key", "stalled-key"):
            await found.upstream.script(Step("flood", at_byte=size.answer_mib * _MIB), key)
        alone = await all_followed(found, size.beside, _FAST)
        before_mib = found.rss_mib()
        reading = [spawn(_read(found.url, _SLOW, size.bytes_per_s), name="slow") for _ in range(size.readers)]
        standing = spawn(_read(found.url, _STALLED, 0), name="stands still")
        weights_mib = [before_mib]
        weighing = spawn(_weigh(found, weights_mib), name="weigh the gateway")
        freed = spawn(_freed_s(found), name="wait for the place")
        beside = await all_followed(found, size.beside, _FAST)
        freed_s = await freed
        cut = sum(each.done() for each in reading)
        weighing.cancel()
        for each in (*reading, standing):
            each.cancel()
        await asyncio.wait((*reading, standing, weighing))
        report.figure("readers", size.readers)
        report.figure("readers_cut", cut, most=0)
        report.figure("rss_growth_mib", max(weights_mib) - before_mib, most=_GROWTH_MOST_MIB)
        _report_beside(report, alone, beside)
        report.figure(
            "stalled_freed_after_s", freed_s, most=size.stall_s * _LOOKED_AT_LEAST + _FREED_LATE_S, timed=True
        )
        report.figure("places_free_after_s", await found.idle_after_s(), most=2.0, timed=True)
        report.figure("descriptors_left", await found.descriptors_left(), most=0)
        report.figure("failures_logged", found.failures(), most=0)


def _report_beside(report: Report, alone: Seen, beside: Seen) -> None:
    alone_ms, beside_ms = (percentile(each.delays_s, 99) * 1000 for each in (alone, beside))
    report.figure("events_lost_beside", alone.lost + beside.lost, most=0)
    report.figure("delay_p99_alone_ms", alone_ms)
    most_ms = max(_SLOWER_MOST * alone_ms, _UNFELT_MS)
    report.figure("delay_p99_beside_ms", beside_ms, most=most_ms, timed=True)


async def _read(url: str, model: str, bytes_per_s: int) -> None:
    """Read a stream so slowly, to its end or to where it is cut; 0 reads nothing for ever."""
    where = urlsplit(url)
    loop = asyncio.get_running_loop()
    with socket.socket() as line:
        # the kernel would otherwise take megabytes on the reader's behalf
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES)
        line.setblocking(False)
        await loop.sock_connect(line, (where.hostname, where.port))
        await loop.sock_sendall(line, ENDPOINTS["messages"].request(stream=True, model=model))
        if bytes_per_s == 0:
            await loop.create_future()
        with suppress(ConnectionError):
            while await loop.sock_recv(line, bytes_per_s):  # noqa: ASYNC110 - that is how slow it is
                await asyncio.sleep(1)


async def _freed_s(found: Ground) -> float:
    """How long the client that reads nothing holds its place."""
    began_s = clock.monotonic_s()
    while not await found.in_flight("stalled"):  # noqa: ASYNC110 - it happens in another process
        await asyncio.sleep(0.05)
    await found.idle_after_s("stalled")
    return clock.monotonic_s() - began_s


async def _weigh(found: Ground, weights_mib: list[float]) -> None:
    """Note the gateway's memory until cancelled."""
    while True:
        weights_mib.append(found.rss_mib())
        await asyncio.sleep(0.2)
