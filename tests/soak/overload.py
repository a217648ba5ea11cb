"""More than there is room for, for a while: what is taken is served well, the rest hears no at once."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from proxy.simulator import Step
from proxy.tasks import spawn
from tests.soak.figures import Report, percentile
from tests.soak.ground import Front, Ground, clock, ground
from tests.support.house import Spoken, body_of

_SLOWER_MOST: Final = 2.0
_NO_WITHIN_MS: Final = 100.0
_ALIVE_WITHIN_MS: Final = 50.0
_ALIVE_EVERY_S: Final = 0.05
_RSS_MOST_MIB: Final = 300.0
_RECOVERS_WITHIN_S: Final = 5.0
_AS_BEFORE: Final = 1.25
_REFUSALS: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Overload:
    """How much room there is, and how much is asked.

    Attributes:
        credentials: with `places` each.
        places: at each credential.
        answer_s: seconds a place is taken by one answer.
        queue: places to wait at.
        times: how many times as much is asked as fits.
        seconds: for so long.
    """

    credentials: int
    places: int
    answer_s: float
    queue: int
    times: float
    seconds: float

    @property
    def per_s(self) -> float:
        """Requests a second that are asked."""
        return self.times * self.credentials * self.places / self.answer_s

    def begins_s(self, number: int) -> float:
        """When a request is asked; the first only as fast as fits, so that places do not become free all at once."""
        fill = self.credentials * self.places
        return min(number, fill) * self.times / self.per_s + max(number - fill, 0) / self.per_s

    def scaled(self, share: float) -> "Overload":
        """The same in a share of the time."""
        return replace(self, seconds=self.seconds * share)

    def __str__(self) -> str:
        return (
            f"{self.credentials * self.places} places for answers of {self.answer_s:g} s and {self.queue} to wait at; "
            f"{self.times:g} times as much asked for {self.seconds:g} s"
        )


@dataclass(slots=True)
class _Told:
    """What the clients were told."""

    statuses: Counter[int] = field(default_factory=Counter)
    accepted_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    without_hint: int = 0


async def overload(size: Overload, folder: Path, report: Report, front: Front) -> None:
    """Ask too much and report."""
    entries = [
        {"name": f"key-{number}", "key": f"k{number}", "max_concurrency": size.places}
        for number in range(size.credentials)
    ]
    async with ground(folder, front, {"QUEUE_LENGTH": str(size.queue)}, entries) as found:
        await found.upstream.script(Step("delay", seconds=size.answer_s))
        calm, told, alive = _Told(), _Told(), _Told()
        await asyncio.gather(*(_ask(found, calm, number) for number in range(size.credentials)))
        probing = spawn(_probe(found, alive), name="probe")
        await _asked_too_much(found, size, told)
        probing.cancel()
        await asyncio.wait([probing])
        recovers_s = await _recovers_s(found, percentile(calm.accepted_s, 99))
        most = (await found.upstream.record()).max_in_flight
        report.figure("asked", told.statuses.total())
        report.figure("accepted", told.statuses[200])
        report.figure("refused", sum(told.statuses[status] for status in _REFUSALS))
        report.figure("answered_otherwise", _otherwise(told), most=0)
        report.figure("refused_without_retry_after", told.without_hint, most=0)
        report.figure("places_at_once", max(most.values()), most=size.places)
        calm_ms = percentile(calm.accepted_s, 99) * 1000
        report.figure("calm_p99_ms", calm_ms)
        accepted_ms = percentile(told.accepted_s, 99) * 1000
        report.figure("accepted_p99_ms", accepted_ms, most=_SLOWER_MOST * calm_ms, timed=True)
        refused_ms = percentile(told.refused_s, 99) * 1000
        report.figure("refused_p99_ms", refused_ms, most=_NO_WITHIN_MS, timed=True)
        report.figure("probes_failed", alive.statuses.total() - alive.statuses[200], most=0)
        alive_ms = percentile(alive.accepted_s, 99) * 1000
        report.figure("alive_p99_ms", alive_ms, most=_ALIVE_WITHIN_MS, timed=True)
        report.figure("rss_mib", found.rss_mib(), most=_RSS_MOST_MIB)
        report.figure("recovers_after_s", recovers_s, most=_RECOVERS_WITHIN_S, timed=True)
        report.figure("descriptors_left", await found.descriptors_left(), most=0)
        report.figure("failures_logged", found.failures(), most=0)


def _otherwise(told: _Told) -> int:
    return sum(count for status, count in told.statuses.items() if status not in {200, *_REFUSALS})


async def _asked_too_much(found: Ground, size: Overload, told: _Told) -> None:
    began_s = clock.monotonic_s()

    async def one(number: int) -> None:
        await asyncio.sleep(began_s + size.begins_s(number) - clock.monotonic_s())
        await _ask(found, told, number)

    await asyncio.gather(*(one(number) for number in range(round(size.per_s * size.seconds))))


async def _ask(found: Ground, told: _Told, number: int) -> None:
    """One request that is not streamed, in either dialect."""
    spoken = list(Spoken)[number % 2]
    began_s = clock.monotonic_s()
    async with found.session.post(f"{found.url}{spoken.value}", data=body_of(spoken, stream=False)) as answer:
        await answer.read()
    took_s = clock.monotonic_s() - began_s
    told.statuses[answer.status] += 1
    if answer.status == 200:
        told.accepted_s.append(took_s)
    else:
        told.refused_s.append(took_s)
        told.without_hint += "retry-after" not in answer.headers


async def _probe(found: Ground, alive: _Told) -> None:
    """Ask as a supervisor does whether it lives, until cancelled."""
    while True:
        began_s = clock.monotonic_s()
        async with found.session.get(f"{found.url}/live") as answer:
            await answer.read()
        alive.statuses[answer.status] += 1
        alive.accepted_s.append(clock.monotonic_s() - began_s)
        await asyncio.sleep(_ALIVE_EVERY_S)


async def _recovers_s(found: Ground, calm_s: float) -> float:
    """How long it takes after the load until an answer comes as soon as before."""
    began_s = clock.monotonic_s()
    while True:
        told = _Told()
        await _ask(found, told, 0)
        if told.accepted_s and told.accepted_s[0] <= _AS_BEFORE * calm_s:
            return clock.monotonic_s() - began_s - told.accepted_s[0]
