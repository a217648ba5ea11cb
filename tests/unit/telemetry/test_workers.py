"""Several processes tell their figures together, whichever of them is asked."""

from collections.abc import Iterator

import pytest

from proxy.model.tally import Tally
from proxy.telemetry.exposition import Histogram, Joined, Metric, Sort
from proxy.telemetry.slots import Slots
from proxy.telemetry.workers import WAIT_S, Figures, Workers
from tests.support.clock import FakeClock

_LABELS = ("label",)


@pytest.fixture
def slots() -> Iterator[Slots]:
    """Memory of three."""
    made = Slots(3)
    yield made
    made.close()


@pytest.fixture
def clock() -> FakeClock:
    """Everybody's time."""
    return FakeClock()


def _figures(count: float, *, joined: Joined = Joined.SUM, client: str = "c", label: str = "x") -> Figures:
    """Of a process in which everything is `count`."""
    histogram = Histogram((1.0, 2.0))
    for _ in range(int(count)):
        histogram.observe(1.5)
    return Figures(
        metrics=[
            Metric("requests", Sort.COUNTER, "", _LABELS, {(label,): count}),
            Metric("level", Sort.GAUGE, "", _LABELS, {(label,): count}, joined),
            Metric("took", Sort.HISTOGRAM, "", _LABELS, {(label,): histogram}),
        ],
        used={client: Tally(requests=int(count))},
        active_sessions=int(count),
        answers_kept=int(count),
    )


def _numbers(figures: Figures) -> list[object]:
    """Counter, gauge, and the histogram's counts and sum, of the label ``x``."""
    counter, gauge, histogram = (metric.series.get(("x",)) for metric in figures.metrics)
    assert isinstance(histogram, Histogram)
    return [counter, gauge, histogram.counts, histogram.total]


class _Siblings:
    """Sleeps in which some of the others answer."""

    def __init__(self, clock: FakeClock, answering: list[tuple[Workers, Figures]]) -> None:
        self._clock = clock
        self._answering = answering
        self.slept = 0

    async def __call__(self, delay: float) -> None:
        self.slept += 1
        self._clock.advance(delay)
        for workers, figures in self._answering:
            workers.answer(lambda figures=figures: figures)  # type: ignore[misc] # bound here, not when it is called


async def test_whoever_is_asked_tells_the_sum(slots: Slots, clock: FakeClock) -> None:
    """Protects Prometheus, whose scrapes reach any of the processes: counters, histograms and usage are of all."""
    others = [(Workers(slots, 1, clock), _figures(2)), (Workers(slots, 2, clock), _figures(3, client="d"))]
    siblings = _Siblings(clock, others)
    found = await Workers(slots, 0, clock, siblings).all(lambda: _figures(1))
    assert _numbers(found) == [6, 6, [0, 6, 0], 9.0]
    assert {client: tally.requests for client, tally in found.used.items()} == {"c": 3, "d": 3}
    assert (found.active_sessions, found.answers_kept) == (6, 6)
    assert siblings.slept == 1


@pytest.mark.parametrize(
    ("joined", "expected"), [(Joined.SUM, 6), (Joined.MOST, 3), (Joined.LEAST, 1), (Joined.OWN, 2)]
)
async def test_a_gauge_is_put_together_as_it_says(
    slots: Slots, clock: FakeClock, joined: Joined, expected: float
) -> None:
    """Protects gauges of which a sum would say nothing: what is left of a limit, a state all know of."""
    others = [
        (Workers(slots, number, clock), _figures(value, joined=joined)) for number, value in ((1, 1), (2, 3))
    ]
    found = await Workers(slots, 0, clock, _Siblings(clock, others)).all(lambda: _figures(2, joined=joined))
    assert _numbers(found)[1] == expected


async def test_a_series_only_others_have_is_told_too(slots: Slots, clock: FakeClock) -> None:
    """Protects a status or a credential that this process never met, histograms with their bounds included."""
    others = [(Workers(slots, 1, clock), _figures(2)), (Workers(slots, 2, clock), _figures(1, label="y"))]
    found = await Workers(slots, 0, clock, _Siblings(clock, others)).all(lambda: _figures(1, label="y"))
    assert _numbers(found) == [2, 2, [0, 2, 0], 3.0]
    histogram = found.metrics[2].series["x",]
    assert isinstance(histogram, Histogram)
    assert histogram.cumulative() == [("1.0", 0), ("2.0", 2), ("+Inf", 2)]


async def test_one_that_does_not_answer_counts_with_what_it_told_last(slots: Slots, clock: FakeClock) -> None:
    """Protects a scrape from a process that hangs: it is not waited for longer than a moment, nor taken for zero."""
    answering = [(Workers(slots, 1, clock), _figures(2)), (Workers(slots, 2, clock), _figures(10))]
    asking = Workers(slots, 0, clock, _Siblings(clock, answering))
    await asking.all(lambda: _figures(1))
    answering.pop()
    began_s = clock.now_s
    assert _numbers(await asking.all(lambda: _figures(1)))[0] == 13
    assert WAIT_S <= clock.now_s - began_s < WAIT_S + 0.1


async def test_who_takes_the_place_of_a_dead_one_goes_on_from_its_counters(
    slots: Slots, clock: FakeClock
) -> None:
    """Protects rates from a fall that Prometheus takes for a new start of everything; gauges are the new one's own."""
    Workers(slots, 0, clock).now(_figures(5))
    replaced = Workers(slots, 0, clock)
    assert _numbers(replaced.now(_figures(1))) == [6, 1, [0, 6, 0], 9.0]
    # and told to the others in the same way, however often
    assert _numbers(replaced.now(_figures(2))) == [7, 2, [0, 7, 0], 10.5]
    other = Workers(slots, 1, clock)
    assert _numbers(other.now(_figures(1)))[0] == 8
    assert other.now(_figures(1)).used["c"].requests == 8


def test_nothing_is_written_down_while_nobody_asks(slots: Slots, clock: FakeClock) -> None:
    """Protects the processor of a server that nobody scrapes."""
    worker, made = Workers(slots, 1, clock), list[int]()

    def figures() -> Figures:
        made.append(1)
        return _figures(1)

    worker.answer(figures)
    assert (made, slots.read(1)) == ([], None)
    Workers(slots, 0, clock).want()
    worker.answer(figures)
    worker.answer(figures)
    assert made == [1]


async def test_what_was_told_once_is_never_told_as_less_by_another(slots: Slots, clock: FakeClock) -> None:
    """Protects rates: what this process counted in its own answer, others count in theirs, though it hangs."""
    first, second = (
        Workers(slots, 0, clock, _Siblings(clock, [])),
        Workers(slots, 1, clock, _Siblings(clock, [])),
    )
    told = _numbers(await first.all(lambda: _figures(9)))[0]
    assert _numbers(await second.all(lambda: _figures(0)))[0] == told
