"""Clients that leave at random moments: the work done for them stops, and nothing of it stays."""

import asyncio
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxy.simulator import EndedBy, Pace, Received, Step
from tests.soak.figures import Report, percentile
from tests.soak.ground import Front, Ground, clock, ground
from tests.support.departures import AT_MOST_S, ENDPOINTS, PROMISED_S, Leaving, connected

_FREE_WITHIN_S: Final = 2.0
_SPEAKS: Final = Step("delay", seconds=0.1, next=Step(pace=Pace(tokens_per_s=50, events=50)))
_LONGEST_STAY_S: Final = 1.4


@dataclass(frozen=True, slots=True)
class Departures:
    """How many, and how many at once."""

    departures: int
    at_once: int

    def scaled(self, share: float) -> "Departures":
        """A share of them."""
        return replace(self, departures=max(round(self.departures * share), self.at_once))

    def __str__(self) -> str:
        return f"{self.departures:,} departures at random moments, {self.at_once} clients at once"


async def departures(size: Departures, folder: Path, report: Report, front: Front) -> None:
    """Have them leave and report."""
    rng = random.Random(1)
    left_s: dict[bytes, float] = {}
    async with ground(folder, front) as found:
        await found.upstream.script(_SPEAKS)
        numbers = iter(range(size.departures))

        async def work() -> None:
            for number in numbers:
                mark = f"departure-{number:06d}"
                left_s[mark.encode()] = await _departed(found, mark, rng)

        await asyncio.gather(*(work() for _ in range(size.at_once)))
        free_s = await found.idle_after_s()
        stops_s = _stops(left_s, (await found.upstream.record()).requests)
        report.figure("departures", size.departures)
        report.figure("stopped_upstream", len(stops_s))
        report.figure("stop_p50_ms", percentile(stops_s, 50) * 1000)
        report.figure("stop_p99_ms", percentile(stops_s, 99) * 1000, most=PROMISED_S * 1000, timed=True)
        report.figure("stop_most_ms", max(stops_s, default=0) * 1000, most=AT_MOST_S * 1000, timed=True)
        report.figure("places_free_after_s", free_s, most=_FREE_WITHIN_S, timed=True)
        report.figure("places_taken", await found.in_flight(), most=0)
        report.figure("descriptors_left", await found.descriptors_left(), most=0)
        report.figure("failures_logged", found.failures(), most=0)


async def _departed(found: Ground, mark: str, rng: random.Random) -> float:
    """Ask something and leave after a while. Returns when that was, in monotonic seconds."""
    endpoint = ENDPOINTS[rng.choice(list(ENDPOINTS))]
    request = endpoint.request(stream=endpoint.streams and rng.random() < 0.7, text=mark)
    leaving, stays_s = rng.choice(list(Leaving)), rng.uniform(0, _LONGEST_STAY_S)
    reader, writer = await connected(found.url)
    writer.write(request)
    try:
        async with asyncio.timeout(stays_s):
            while await reader.read(65536):
                pass
    except (TimeoutError, ConnectionError):
        pass
    now_s = clock.monotonic_s()
    leaving.carry_out(writer)
    return now_s


def _stops(left_s: dict[bytes, float], requests: list[Received]) -> list[float]:
    """How long each upstream call went on for nobody; those that had ended, or never began, are left out."""
    found = []
    for received in requests:
        mark = next((mark for mark in left_s if mark in received.body), None)
        if mark is not None and received.ended_by is EndedBy.CLIENT and received.closed_s is not None:
            found.append(received.closed_s - left_s[mark])
    return found
