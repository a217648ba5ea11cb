"""Clients that say nothing, or a byte a second: each is let go in its time, and others do not notice."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from proxy.tasks import spawn
from tests.soak.figures import Report, percentile
from tests.soak.ground import Front, Ground, clock, ground
from tests.support.departures import connected
from tests.support.gateway import CLIENT_KEY
from tests.support.house import Spoken, body_of

_OPENED_AT_ONCE: Final = 50
_PROBES_AT_ONCE: Final = 4
_PROBE_EVERY_S: Final = 0.02
_CALM_PROBES: Final = 400
_LATE: Final = 1.1
_LATE_S: Final = 2.0
_LINGERS_S: Final = 15.0
_SLOWER_MOST: Final = 2.0
_UNFELT_MS: Final = 20.0
_GROWTH_MOST_MIB: Final = 64.0
_TOO_SLOW: Final = b"HTTP/1.1 408 "
_HEAD: Final = b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\nx-long: "
_BODIES: Final = (
    (b"content-length: 100000\r\n\r\n", b" "),
    (b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
)


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many hold how many connections.

    Attributes:
        idle: connections on which nothing is said.
        heads: on which a head comes at a byte a second.
        bodies: on which a body does, half of them chunked.
        head_s: what the server is told to wait for a first head.
        body_s: and for a body.
    """

    idle: int
    heads: int
    bodies: int
    head_s: float
    body_s: float

    def scaled(self, share: float) -> "Crowd":
        """The same in a share of the time."""
        return replace(self, head_s=max(self.head_s * share, 2), body_s=max(self.body_s * share, 1))

    def __str__(self) -> str:
        return (
            f"{self.idle:,} silent connections, {self.heads} heads and {self.bodies} bodies at a byte a second; "
            f"{self.head_s:g} s for a head, {self.body_s:g} s for a body"
        )


@dataclass(frozen=True, slots=True)
class _End:
    """How the server ended a connection: what it said, after how long, and when it closed it."""

    said: bytes
    said_s: float
    closed_s: float


@dataclass(slots=True)
class _Probed:
    """What others were served meanwhile."""

    took_s: list[float] = field(default_factory=list)
    failed: int = 0


async def crowd(size: Crowd, folder: Path, report: Report, front: Front) -> None:
    """Have them come and report."""
    settings = {
        "RELAY_HEAD_TIMEOUT_S": f"{size.head_s:g}",
        "RELAY_BODY_STALL_S": f"{size.body_s:g}",
        "RELAY_CONNECTIONS_MAX": "0",
    }
    async with ground(folder, front, settings) as found:
        calm, beside = _Probed(), _Probed()
        await _probe(found, calm, iter(range(_CALM_PROBES)))
        before_mib = found.rss_mib()
        probing = spawn(_probe(found, beside, itertools.count()), name="others")
        idle, heads, bodies = await _come(found.url, size)
        grown_mib = found.rss_mib() - before_mib
        probing.cancel()
        await asyncio.wait([probing])
        report.figure("idle_connections", len(idle))
        _report_ends(report, size, (*idle, *heads), bodies)
        report.figure("others_served", len(beside.took_s))
        report.figure("others_not_served", calm.failed + beside.failed, most=0)
        calm_ms, beside_ms = (percentile(each.took_s, 99) * 1000 for each in (calm, beside))
        report.figure("calm_p99_ms", calm_ms)
        report.figure(
            "beside_p99_ms", beside_ms, most=max(_SLOWER_MOST * calm_ms, calm_ms + _UNFELT_MS), timed=True
        )
        report.figure("rss_growth_mib", grown_mib, most=_GROWTH_MOST_MIB)
        report.figure("descriptors_left", await found.descriptors_left(), most=0)
        report.figure("failures_logged", found.failures(), most=0)


def _report_ends(report: Report, size: Crowd, newcomers: tuple[_End, ...], bodies: list[_End]) -> None:
    report.figure(
        "heads_let_go_after_s",
        max(end.closed_s for end in newcomers),
        most=size.head_s * _LATE + _LATE_S,
        timed=True,
    )
    report.figure("bodies_refused", sum(end.said.startswith(_TOO_SLOW) for end in bodies))
    report.figure("bodies_ended_otherwise", sum(not end.said.startswith(_TOO_SLOW) for end in bodies), most=0)
    refused_s = size.body_s * _LATE + _LATE_S
    report.figure("bodies_refused_after_s", max(end.said_s for end in bodies), most=refused_s, timed=True)
    report.figure(
        "bodies_let_go_after_s", max(end.closed_s for end in bodies), most=refused_s + _LINGERS_S, timed=True
    )


async def _come(url: str, size: Crowd) -> tuple[list[_End], list[_End], list[_End]]:
    """All of them, each until it is let go."""
    opening = asyncio.Semaphore(_OPENED_AT_ONCE)
    idle = [_held(url, opening, b"", b"") for _ in range(size.idle)]
    heads = [_held(url, opening, _HEAD, b"a") for _ in range(size.heads)]
    bodies = [_held(url, opening, *_slow_body(number)) for number in range(size.bodies)]
    ends = await asyncio.gather(*idle, *heads, *bodies)
    return ends[: size.idle], ends[size.idle : size.idle + size.heads], ends[size.idle + size.heads :]


def _slow_body(number: int) -> tuple[bytes, bytes]:
    """A head, and what comes of its body every second."""
    framing, drop = _BODIES[number % len(_BODIES)]
    path = list(Spoken)[number // len(_BODIES) % 2].value
    head = (
        f"POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {CLIENT_KEY}\r\n"
        "content-type: application/json\r\n"
    )
    return head.encode() + framing, drop


async def _held(url: str, opening: asyncio.Semaphore, first: bytes, drop: bytes) -> _End:
    """A connection on which something is said at first and then a drop a second, until the server closes it."""
    async with opening:
        reader, writer = await connected(url)
    began_s = clock.monotonic_s()
    writer.write(first)
    dripping = spawn(_drip(writer, drop), name="drip") if drop else None
    said, said_s = b"", 0.0
    try:
        said = await reader.read(4096)
        said_s = clock.monotonic_s() - began_s
        while await reader.read(4096):
            pass
    except ConnectionError:
        pass
    finally:
        if dripping is not None:
            dripping.cancel()
        writer.close()
    return _End(said, said_s, clock.monotonic_s() - began_s)


async def _drip(writer: asyncio.StreamWriter, drop: bytes) -> None:
    while not writer.is_closing():
        await asyncio.sleep(1)
        writer.write(drop)


async def _probe(found: Ground, probed: _Probed, numbers: Iterator[int]) -> None:
    """Ask small questions in either dialect, a few at once, until there are no more numbers."""

    async def work() -> None:
        for number in numbers:
            spoken = list(Spoken)[number % 2]
            began_s = clock.monotonic_s()
            body = body_of(spoken, stream=False)
            async with found.session.post(f"{found.url}{spoken.value}", data=body) as answer:
                await answer.read()
            probed.took_s.append(clock.monotonic_s() - began_s)
            probed.failed += answer.status != 200
            await asyncio.sleep(_PROBE_EVERY_S)

    await asyncio.gather(*(work() for _ in range(_PROBES_AT_ONCE)))
