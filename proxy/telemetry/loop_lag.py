"""How late the event loop is: what is on it keeps all others waiting."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from proxy.clock import Clock
from proxy.telemetry.exposition import Histogram

EVERY_S: Final = 0.5
_KEPT: Final = 30
_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Sleep(Protocol):
    """How it waits."""

    async def __call__(self, delay: float) -> None:
        """Return after so many seconds."""
        ...


class LoopLag:
    """Asks to be woken twice a second, and looks how late that happens.

    Attributes:
        seconds: every lateness there was.
    """

    def __init__(self, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._last_s: list[float] = []
        self._asked_s: float | None = None
        self.seconds = Histogram(_BOUNDS_S)

    async def run(self, each_time: Callable[[], None]) -> None:
        """Look for ever, and do some small work each time."""
        while True:
            self._asked_s = asked_s = self._clock.monotonic_s()
            await self._sleep(EVERY_S)
            late_s = max(self._clock.monotonic_s() - asked_s - EVERY_S, 0.0)
            self.seconds.observe(late_s)
            self._last_s = [*self._last_s[1 - _KEPT :], late_s]
            each_time()

    @property
    def present_s(self) -> float:
        """How late it was when it was woken last, or is by now, if that is more; 0 before it runs."""
        if self._asked_s is None:
            return 0.0
        overdue_s = self._clock.monotonic_s() - self._asked_s - EVERY_S
        return max(overdue_s, self._last_s[-1] if self._last_s else 0.0, 0.0)

    @property
    def worst_s(self) -> float:
        """The greatest lateness of the last fifteen seconds."""
        return max(self._last_s, default=0.0)
