"""Time limits that are re-armed cheaply, and never mistaken for somebody else's cancellation."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

import pytest

from proxy.watch import _LOOK_EVERY_S, Watch

_NEVER_S = 60.0
_SHORT_S = 0.01


def _never() -> Awaitable[None]:
    return asyncio.get_running_loop().create_future()


async def test_work_in_time_gives_its_result() -> None:
    """Protects the ordinary case."""
    watch = Watch()
    assert await watch.within(_NEVER_S, asyncio.sleep(0, "done")) == "done"
    watch.close()


async def test_work_that_takes_too_long_times_out() -> None:
    """Protects an exchange from waiting for ever."""
    watch = Watch()
    with pytest.raises(TimeoutError):
        await watch.within(_SHORT_S, _never())
    watch.close()


async def test_a_limit_that_is_already_over_times_out() -> None:
    """Protects deadlines that passed while something else was done."""
    watch = Watch()
    with pytest.raises(TimeoutError):
        await watch.within(-1.0, _never())
    watch.close()


async def test_after_a_time_out_the_task_goes_on() -> None:
    """Protects the rest of an exchange: the cancellation that ended the wait is taken back."""
    watch = Watch()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await watch.within(_SHORT_S, _never())
        assert watch.task.cancelling() == 0
        assert await watch.within(_NEVER_S, asyncio.sleep(0, "done")) == "done"
    watch.close()


async def test_a_shorter_limit_after_a_longer_one_is_kept() -> None:
    """Protects a short limit from the timer of a longer one that is still running."""
    watch = Watch()
    await watch.within(_NEVER_S, asyncio.sleep(0))
    with pytest.raises(TimeoutError):
        await watch.within(_SHORT_S, _never())
    watch.close()


async def test_a_longer_limit_after_a_shorter_one_is_kept() -> None:
    """Protects work from the timer of a shorter limit that was met."""
    watch = Watch()
    loop = asyncio.get_running_loop()
    await watch.within(_SHORT_S, asyncio.sleep(0))
    late = loop.create_future()
    loop.call_soon(watch.look, loop.time() + 2 * _SHORT_S)
    loop.call_later(2 * _LOOK_EVERY_S, late.set_result, "late")
    assert await watch.within(_NEVER_S, late) == "late"
    watch.close()


async def test_a_met_limit_does_not_fire_between_two_waits() -> None:
    """Protects what a task does while the watch has nothing to look after."""
    watch = Watch()
    await watch.within(_SHORT_S, asyncio.sleep(0))
    watch.look(asyncio.get_running_loop().time() + _NEVER_S)
    assert watch.task.cancelling() == 0
    watch.close()


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Protects a client's leaving from being read as a slow upstream."""
    reached = asyncio.Event()

    async def work() -> None:
        watch = Watch()
        reached.set()
        try:
            await watch.within(_NEVER_S, _never())
        finally:
            watch.close()

    task = asyncio.create_task(work())  # noqa: TID251 - held by this test
    await reached.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("client_first", [True, False])
async def test_a_cancellation_in_the_same_moment_as_a_time_out_wins(client_first: bool) -> None:
    """Protects a client's leaving from being swallowed by a limit that runs out just then."""
    watches: list[Watch] = []

    async def work() -> None:
        watch = Watch()
        watches.append(watch)
        try:
            await watch.within(_SHORT_S, _never())
        finally:
            watch.close()

    task = asyncio.create_task(work())  # noqa: TID251 - held by this test
    await asyncio.sleep(0)
    if client_first:
        task.cancel()
    watches[0].look(asyncio.get_running_loop().time() + _NEVER_S)
    if not client_first:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_works_own_errors_come_through() -> None:
    """Protects a fault from being hidden by its time limit."""

    async def failing() -> None:
        raise ValueError("mine")

    watch = Watch()
    with pytest.raises(ValueError, match="mine"):
        await watch.within(_NEVER_S, failing())
    watch.close()


class _CountingLoop(asyncio.SelectorEventLoop):
    """Counts the timers that are made."""

    timers = 0

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio.AbstractEventLoop.call_at`."""
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)


def test_many_waits_of_many_watches_share_one_timer() -> None:
    """Protects the relay, which waits twice a chunk: a wait schedules nothing of its own."""
    loop = _CountingLoop()

    async def inside() -> int:
        watches = [Watch() for _ in range(10)]
        for watch in watches * 10:
            await watch.within(_NEVER_S, asyncio.sleep(0))
        made = loop.timers
        for watch in watches:
            watch.close()
        return made

    try:
        assert loop.run_until_complete(inside()) == 1
    finally:
        loop.close()


def test_the_shared_timer_rests_when_every_watch_is_closed() -> None:
    """Protects an idle server from waking up for nobody."""
    loop = _CountingLoop()

    async def inside() -> tuple[int, int]:
        watch = Watch()
        await watch.within(_NEVER_S, asyncio.sleep(0))
        watch.close()
        await asyncio.sleep(_LOOK_EVERY_S * 2)
        before = loop.timers
        await asyncio.sleep(_LOOK_EVERY_S * 3)
        return before, loop.timers

    try:
        before, after = loop.run_until_complete(inside())
        assert after - before == 1, "the sleep's own timer is the only one"
    finally:
        loop.close()


async def test_an_alarm_calls_once_whatever_the_task_awaits() -> None:
    """Protects the hold-back: headers go out in time also while an attempt is awaited."""
    watch = Watch()
    calls: list[str] = []
    watch.alarm(_SHORT_S, lambda: calls.append("rung"))
    with pytest.raises(TimeoutError):
        await watch.within(_LOOK_EVERY_S * 4, _never())
    assert calls == ["rung"]
    watch.close()


async def test_a_silenced_alarm_never_rings() -> None:
    """Protects answers that began in time from being begun again."""
    watch = Watch()
    calls: list[str] = []
    watch.alarm(_SHORT_S, lambda: calls.append("rung"))
    watch.silence()
    with pytest.raises(TimeoutError):
        await watch.within(_LOOK_EVERY_S * 2, _never())
    assert not calls
    watch.close()


def test_a_watch_outside_a_task_is_refused() -> None:
    """Protects against a watch that would have nothing to cancel."""

    async def inside() -> None:
        made: list[str] = []

        def make() -> None:
            try:
                Watch()
            except RuntimeError as error:
                made.append(str(error))

        asyncio.get_running_loop().call_soon(make)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert made == ["a watch belongs to a task"]

    asyncio.run(inside())


class _Excuses:
    """Gives each of these times in turn."""

    def __init__(self, *times_s: float) -> None:
        self.times_s = list(times_s)

    def more_s(self, now_s: float) -> float:  # noqa: ARG002 - these hang on no time
        """See `Excuse.more_s`."""
        return self.times_s.pop(0)


async def test_an_excuse_lengthens_a_limit_until_it_has_none() -> None:
    """Protects work that is slow for a good reason, without cancelling it to find that out."""
    watch, excuses = Watch(), _Excuses(0.001, 0.001, 0.0)
    with pytest.raises(TimeoutError):
        await watch.within(-1.0, _never(), excuses)
    assert excuses.times_s == []
    watch.close()


async def test_an_excuse_is_for_one_wait() -> None:
    """Protects the next limit from the excuse of the one before."""
    watch, excuses = Watch(), _Excuses(60.0)
    await watch.within(_NEVER_S, asyncio.sleep(0), excuses)
    with pytest.raises(TimeoutError):
        await watch.within(-1.0, _never())
    assert excuses.times_s == [60.0]
    watch.close()
