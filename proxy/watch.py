"""Time limits on what a task awaits, armed for the price of an assignment.

``asyncio.timeout`` makes and cancels a timer each time it is entered. A relay awaits twice a chunk, thousands of times
a second, and nearly never runs out of time, so here nobody has a timer of their own: all watches of a loop are
looked through together, twenty times a second.
"""

import asyncio
import math
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

_T = TypeVar("_T")
_LOOK_EVERY_S: Final = 0.05


class Excuse(Protocol):
    """What may lengthen a limit that is over."""

    def more_s(self, now_s: float) -> float:
        """For how many seconds more; 0 is for none."""
        ...


class Watch:
    """Limits for the awaits of one task; closed when its work ends.

    A limit is kept to within 50 ms.

    Attributes:
        task: whose awaits they are; only it may call `within`.
    """

    __slots__ = (
        "_alarm",
        "_alarm_s",
        "_cancelling",
        "_due_s",
        "_excuse",
        "_fired",
        "_loop",
        "_round",
        "task",
    )

    def __init__(self, task: "asyncio.Task[Any] | None" = None) -> None:
        """`task` is the current one where none is given; looking for it costs a system call."""
        task = task or asyncio.current_task()
        if task is None:
            raise RuntimeError("a watch belongs to a task")
        self.task = task
        self._loop = task.get_loop()
        self._round = _round_of(self._loop)
        self._cancelling = task.cancelling()
        self._due_s = math.inf
        self._fired = False
        self._excuse: Excuse | None = None
        self._alarm: Callable[[], None] | None = None
        self._alarm_s = math.inf

    def now_s(self) -> float:
        """The loop's time, monotonic seconds."""
        return self._loop.time()

    async def within(self, limit_s: float, work: Awaitable[_T], excuse: Excuse | None = None) -> _T:
        """Await `work`; raises TimeoutError when it takes longer than `limit_s` seconds.

        An `excuse` is asked for more time whenever the limit is over.
        `work` is cancelled then, so it must be safe to cancel: a read that leaves its bytes in the buffer is.
        """
        self._due_s = self._loop.time() + limit_s
        self._excuse = excuse
        self._round.add(self)
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

    def alarm(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call `callback` after `delay_s` seconds, whatever the task awaits; one at a time, the last one counts."""
        self._alarm = callback
        self._alarm_s = self._loop.time() + delay_s
        self._round.add(self)

    def silence(self) -> None:
        """Forget the alarm."""
        self._alarm = None
        self._alarm_s = math.inf

    def close(self) -> None:
        """Watch no more."""
        if self._alarm is not None:
            self.silence()
        self._round.discard(self)

    def look(self, now_s: float) -> None:
        """Fire what is due."""
        if now_s >= self._alarm_s and (callback := self._alarm) is not None:
            self.silence()
            callback()
        if now_s >= self._due_s:
            if self._excuse is not None and (more_s := self._excuse.more_s(now_s)):
                self._due_s = now_s + more_s
                return
            self._due_s = math.inf
            self._fired = True
            self.task.cancel()


class _Round:
    """The watches of one loop, and the one timer they share; it rests while there are none."""

    __slots__ = ("_running", "_watches")

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._running = False

    def add(self, watch: Watch) -> None:
        """Look after a watch until it is closed."""
        self._watches.add(watch)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._go)

    def discard(self, watch: Watch) -> None:
        """Look after it no more."""
        self._watches.discard(watch)

    def _go(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for watch in tuple(self._watches):
            watch.look(now_s)
        self._running = bool(self._watches)
        if self._running:
            loop.call_later(_LOOK_EVERY_S, self._go)


class _Latest(threading.local):
    """The loop asked for last, and its round: a process serves from one, and tests from one after the other."""

    known: "tuple[weakref.ref[asyncio.AbstractEventLoop], _Round] | None" = None


_latest = _Latest()


def _round_of(loop: asyncio.AbstractEventLoop) -> _Round:
    # every look at what belongs to a thread costs as much as a call
    known = _latest.known
    if known is None or known[0]() is not loop:
        known = _latest.known = weakref.ref(loop), _Round()
    return known[1]
