"""How late the loop is."""

import asyncio
from collections.abc import Iterator

import pytest

from proxy.telemetry.loop_lag import EVERY_S, LoopLag
from tests.support.clock import FakeClock


class _Done(Exception):
    """The sleeper has been asked often enough."""


def _sleeping(clock: FakeClock, late_s: Iterator[float]) -> LoopLag:
    async def sleep(delay: float) -> None:
        try:
            clock.advance(delay + next(late_s))
        except StopIteration:
            raise _Done from None

    return LoopLag(clock, sleep)


async def _ran(subject: LoopLag) -> int:
    """How often the work was done before the end."""
    done = 0

    def work() -> None:
        nonlocal done
        done += 1

    with pytest.raises(_Done):
        await subject.run(work)
    return done


async def test_lateness_is_what_comes_on_top_of_the_time_asked_for() -> None:
    """Protects the figure: a loop in time is late by nothing, and one that hangs by as long as it hung."""
    clock = FakeClock()
    subject = _sleeping(clock, iter([0.0, 0.75, 0.0]))
    assert await _ran(subject) == 3
    assert round(subject.worst_s, 6) == 0.75
    assert sum(subject.seconds.counts) == 3
    assert round(subject.seconds.total, 6) == 0.75


async def test_a_bad_moment_is_forgotten_after_a_while() -> None:
    """Protects an alert from going on for ever after one hiccup."""
    clock = FakeClock()
    subject = _sleeping(clock, iter([3.0] + [0.0] * 30))
    await _ran(subject)
    assert subject.worst_s < 0.001
    assert subject.seconds.total >= 3.0


async def test_what_is_late_now_is_told_before_it_is_woken_and_until_the_next_time() -> None:
    """Protects a probe that is answered between the end of a hang and the next look, and one after a single hiccup."""
    clock = FakeClock()
    late_s = iter([6.0, 0.0])
    subject = _sleeping(clock, late_s)
    assert subject.present_s == 0.0
    seen: list[float] = []

    def work() -> None:
        seen.append(round(subject.present_s, 6))

    with pytest.raises(_Done):
        await subject.run(work)
    assert seen == [6.0, 0.0]
    clock.advance(EVERY_S + 7.0)
    assert round(subject.present_s, 6) == 7.0


async def test_it_really_waits() -> None:
    """Protects the loop from being asked without a pause."""
    subject = LoopLag(FakeClock())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(subject.run(lambda: None), EVERY_S / 50)
    assert subject.worst_s == 0.0
