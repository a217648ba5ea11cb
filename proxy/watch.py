"""Time limits on what a task awaits, re-armed for the price of an assignment.

``asyncio.timeout`` schedules and cancels a timer each time it is entered. A relay awaits twice a chunk, thousands
of times a second, and nearly never runs out of time, so this one keeps a single timer and moves its deadline lazily.
"""

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

_T = TypeVar("_T")


class Watch:
    """Limits for the awaits of one task; made in that task, closed when its work ends."""

    __slots__ = ("_cancelling", "_due_s", "_fired", "_loop", "_timer", "_timer_s", "task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a watch belongs to a task")
        self.task = task
        self._loop = asyncio.get_running_loop()
        self._cancelling = task.cancelling()
        self._due_s = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf
        self._fired = False

    async def within(self, limit_s: float, work: Awaitable[_T]) -> _T:
        """Await `work`; raises TimeoutError when it takes longer than `limit_s` seconds.

        `work` is cancelled then, so it must be safe to cancel: a read that leaves its bytes in the buffer is.
        """
        due_s = self._loop.time() + limit_s
        self._due_s = due_s
        if due_s < self._timer_s:
            self._schedule(due_s)
        try:
            return await work
        except asyncio.CancelledError:
            if not self._fired:
                raise
            self._fired = False
            if self.task.uncancel() > self._cancelling:
                raise
            raise TimeoutError from None
        finally:
            self._due_s = math.inf

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_s = math.inf

    def _schedule(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = when_s
        self._timer = self._loop.call_at(when_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._timer_s = math.inf
        if self._due_s == math.inf:
            return
        if self._loop.time() < self._due_s:
            self._schedule(self._due_s)
            return
        self._fired = True
        self.task.cancel()
