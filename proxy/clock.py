"""Time, handed in wherever it matters so that tests own it.

Durations and deadlines in use are monotonic seconds; whatever is stored or shown is Unix milliseconds.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """The two times the program knows."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start; never goes back, not touched by changes of the wall clock."""
        ...

    def unix_ms(self) -> int:
        """Milliseconds since 1970 UTC; may jump when the machine's clock is set."""
        ...


class SystemClock:
    """The machine's own clocks."""

    # the function itself: it is asked ten times a request
    monotonic_s = staticmethod(time.monotonic)  # noqa: TID251 - this is the clock

    def unix_ms(self) -> int:
        """See `Clock.unix_ms`."""
        return time.time_ns() // 1_000_000
