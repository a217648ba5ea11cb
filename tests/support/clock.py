"""Clocks of tests: one that stands still until it is moved, and one that can be hurried on with its loop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from proxy.clock import SystemClock


@dataclass(slots=True)
class FakeClock:
    """Both times of the program, moved together or apart."""

    now_s: float = 1000.0
    wall_ms: int = 1_795_000_000_000

    def monotonic_s(self) -> float:
        """See `proxy.clock.Clock`."""
        return self.now_s

    def unix_ms(self) -> int:
        """See `proxy.clock.Clock`."""
        return self.wall_ms

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.now_s += seconds
        self.wall_ms += round(seconds * 1000)

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an operator or a time server would; durations do not notice."""
        self.wall_ms += round(seconds * 1000)


class LoopClock:
    """The time of an event loop, timers included, which goes by itself and can be hurried on.

    Nothing is slept through for its sake: what waits a minute for an event that never comes waits for a dozen turns
    of the loop, in which everything that is ready is done.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._system = SystemClock()
        self._ahead_s = 0.0
        self._wrong_by_s = 0.0
        self._real_s = loop.time
        # the loop asks itself for the time, so that its timers follow
        setattr(loop, "time", self.monotonic_s)  # noqa: B010 - no type allows to replace a method

    def monotonic_s(self) -> float:
        """See `proxy.clock.Clock`."""
        return self._real_s() + self._ahead_s

    def unix_ms(self) -> int:
        """See `proxy.clock.Clock`."""
        return self._system.unix_ms() + round((self._ahead_s + self._wrong_by_s) * 1000)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead_s += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock; durations do not notice."""
        self._wrong_by_s += seconds

    async def hurry(self, seconds_a_turn: float, until: Callable[[], bool]) -> None:
        """Let `seconds_a_turn` pass every few milliseconds until something has become true."""
        while not until():
            self.advance(seconds_a_turn)
            await asyncio.sleep(0.004)
