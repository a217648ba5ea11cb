"""How the last hour went, in parts of ten seconds: for the charts of the dashboard."""

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.telemetry.exposition import Histogram
from proxy.telemetry.traces import RequestTrace

PART_MS: Final = 10_000
PARTS: Final = 360
_LEFT: Final = 499
_GROWTH: Final = 1.25
_BOUNDS_MS: Final = tuple(round(5.0 * _GROWTH**power, 1) for power in range(53))
"""From 5 ms to about nine minutes; an estimate between two of them is at most a quarter off."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """Ten seconds.

    Attributes:
        at_unix_ms: their beginning.
        requests: that ended in them.
        errors: those of them with a status from 400 on, without those whose client had left.
        took_p50_ms, took_p95_ms, took_p99_ms: how long they took, estimated; None where there were none.
        first_p50_ms, first_p95_ms: the same up to their first event.
    """

    at_unix_ms: int
    requests: int
    errors: int
    took_p50_ms: float | None
    took_p95_ms: float | None
    took_p99_ms: float | None
    first_p50_ms: float | None
    first_p95_ms: float | None


class _Part:
    __slots__ = ("errors", "first", "requests", "took")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.took = Histogram(_BOUNDS_MS)
        self.first = Histogram(_BOUNDS_MS)


class History:
    """The last hour of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: dict[int, _Part] = {}

    def count(self, ended: Sequence[RequestTrace]) -> None:
        """Count requests that have ended, each once."""
        for trace in ended:
            line = trace.line
            part = self._part(trace.ended_unix_ms // PART_MS)
            part.requests += 1
            part.errors += line.status >= 400 and line.status != _LEFT
            part.took.observe(line.took_ms)
            if line.first_ms is not None:
                part.first.observe(line.first_ms)

    def points(self, last: int = PARTS) -> list[Point]:
        """The last parts of the hour up to now, the oldest first; those in which nothing ended are there too."""
        now = self._clock.unix_ms() // PART_MS
        return [
            _point(number, self._parts.get(number) or _EMPTY) for number in range(now - last + 1, now + 1)
        ]

    def _part(self, number: int) -> _Part:
        part = self._parts.get(number)
        if part is None:
            oldest = number - PARTS
            # a wall clock that is set back leaves parts of a time to come, which nobody asks for either
            self._parts = {at: kept for at, kept in self._parts.items() if oldest < at < number + PARTS}
            part = self._parts[number] = _Part()
        return part


_EMPTY: Final = _Part()


def _point(number: int, part: _Part) -> Point:
    took, first = part.took, part.first
    return Point(
        at_unix_ms=number * PART_MS,
        requests=part.requests,
        errors=part.errors,
        took_p50_ms=_tenths(took.quantile(0.5)),
        took_p95_ms=_tenths(took.quantile(0.95)),
        took_p99_ms=_tenths(took.quantile(0.99)),
        first_p50_ms=_tenths(first.quantile(0.5)),
        first_p95_ms=_tenths(first.quantile(0.95)),
    )


def _tenths(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
