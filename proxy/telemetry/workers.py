"""One answer for several processes of one address: whichever of them is asked tells the figures of all.

Nothing is done while nobody asks. Who is asked raises a number that all look at twice a second, and waits a moment for
what they then write down. What is told once is written down first, so that no later answer of another one tells less;
and who takes the place of a process that has died goes on from its figures.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol, TypeAlias, assert_never

import msgspec

from proxy.clock import Clock
from proxy.model.tally import Tally
from proxy.telemetry.exposition import Histogram, Joined, Labels, Metric, Sort
from proxy.telemetry.slots import Slots

WAIT_S: Final = 1.5
_STEP_S: Final = 0.05

Measured: TypeAlias = float | tuple[list[float], list[int], float]
"""A number, or of a histogram the bounds, the counts and the sum."""


class Sleep(Protocol):
    """How it waits."""

    async def __call__(self, delay: float) -> None:
        """Return after so many seconds."""
        ...


class Page(msgspec.Struct, array_like=True, frozen=True):
    """What one process tells the others.

    Attributes:
        answers: the number it was asked by.
        series: of each metric by its name.
        used: what each client has used since the start.
        active_sessions: as ``/stats`` tells them.
        answers_kept: in the memory of answers.
    """

    answers: int
    series: dict[str, list[tuple[Labels, Measured]]]
    used: dict[str, Tally]
    active_sessions: int
    answers_kept: int


class Figures(msgspec.Struct, frozen=True):
    """What a process has to tell: see `Page`."""

    metrics: Sequence[Metric]
    used: Mapping[str, Tally]
    active_sessions: int
    answers_kept: int


class Workers:
    """All processes, as one of them knows them.

    Attributes:
        number: its own, from 0.
        count: how many there are.
    """

    def __init__(self, slots: Slots, number: int, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self.number = number
        self.count = slots.count
        self._slots = slots
        self._clock = clock
        self._sleep = sleep
        self._answered = slots.wanted
        self._before = _page(slots.read(number))
        self._last: dict[int, Page] = {}

    def __repr__(self) -> str:
        return f"<Workers [{self.number} of {self.count}]>"

    def answer(self, figures: Callable[[], Figures]) -> None:
        """Write the figures of this process down, if anybody asked since they last were."""
        if self._slots.wanted != self._answered:
            self._publish(figures())

    def want(self) -> None:
        """Ask the others for their figures, which are there within a second."""
        self._slots.want()

    async def all(self, figures: Callable[[], Figures]) -> Figures:
        """The figures of all processes. One that does not answer in time counts with those it last wrote down."""
        wanted = self._slots.want()
        until_s = self._clock.monotonic_s() + WAIT_S
        while self._clock.monotonic_s() < until_s:
            if all(page.answers >= wanted for page in self._others()) and len(self._last) == self.count - 1:
                break
            await self._sleep(_STEP_S)
        return self.now(figures())

    def now(self, figures: Figures) -> Figures:
        """The figures of this process with those the others last wrote down."""
        own = self._publish(figures)
        others = self._others()
        return Figures(
            metrics=[
                _joined(metric, [page.series.get(metric.name, ()) for page in others])
                for metric in own.metrics
            ],
            used=_added(own.used, *(page.used for page in others)),
            active_sessions=own.active_sessions + sum(page.active_sessions for page in others),
            answers_kept=own.answers_kept + sum(page.answers_kept for page in others),
        )

    def _publish(self, figures: Figures) -> Figures:
        """Write them down, those of a predecessor that has died included, and return them."""
        if (before := self._before) is not None:
            metrics = [
                metric if metric.sort is Sort.GAUGE else _joined(metric, [before.series.get(metric.name, ())])
                for metric in figures.metrics
            ]
            figures = msgspec.structs.replace(
                figures, metrics=metrics, used=_added(figures.used, before.used)
            )
        self._answered = self._slots.wanted
        page = Page(
            answers=self._answered,
            series={metric.name: _told(metric) for metric in figures.metrics},
            used=dict(figures.used),
            active_sessions=figures.active_sessions,
            answers_kept=figures.answers_kept,
        )
        self._slots.write(self.number, msgspec.msgpack.encode(page))
        return figures

    def _others(self) -> list[Page]:
        for number in range(self.count):
            if number != self.number and (page := _page(self._slots.read(number))) is not None:
                self._last[number] = page
        return list(self._last.values())


def _page(data: bytes | None) -> Page | None:
    return None if data is None else msgspec.msgpack.decode(data, type=Page)


def _told(metric: Metric) -> list[tuple[Labels, Measured]]:
    return [
        (
            labels,
            (list(measured.bounds), measured.counts, measured.total)
            if isinstance(measured, Histogram)
            else measured,
        )
        for labels, measured in metric.series.items()
    ]


def _added(*all_used: Mapping[str, Tally]) -> dict[str, Tally]:
    found: dict[str, Tally] = {}
    for used in all_used:
        for client, tally in used.items():
            found.setdefault(client, Tally()).add(tally)
    return found


def _joined(metric: Metric, others: Iterable[Iterable[tuple[Labels, Measured]]]) -> Metric:
    """The metric with the series of others put together with its own."""
    if metric.joined is Joined.OWN:
        return metric
    series = dict(metric.series)
    for other in others:
        for labels, measured in other:
            own = series.get(labels)
            if isinstance(measured, tuple):
                series[labels] = _histogram(own, *measured)
            elif own is None or isinstance(own, Histogram):
                series[labels] = measured
            else:
                series[labels] = _number(metric.joined, own, measured)
    return replace(metric, series=series)


def _histogram(
    own: float | Histogram | None, bounds: list[float], counts: list[int], total: float
) -> Histogram:
    found = Histogram(bounds)
    found.counts, found.total = counts, total
    if isinstance(own, Histogram):
        found.counts = [one + other for one, other in zip(own.counts, counts, strict=True)]
        found.total += own.total
    return found


def _number(joined: Joined, own: float, other: float) -> float:
    match joined:
        case Joined.SUM:
            return own + other
        case Joined.MOST:
            return max(own, other)
        case Joined.LEAST:
            return min(own, other)
        case Joined.OWN:
            return own
        case _:
            assert_never(joined)
