"""Counters over the last minute: of requests one by one, of tokens in two buckets."""

import math
from collections import deque
from typing import Final

from limits.storage.base import MovingWindowSupport, Storage

from proxy.clock import Clock

WINDOW_S: Final = 60.0


class ClockedStorage(Storage, MovingWindowSupport):
    """Moving windows of the `limits` library in memory, by our own clock.

    The library's own storage in memory goes by the wall clock, which may jump, and starts a thread every now and
    then to tidy up. Of each key as many times are kept as its limit allows.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._hits: dict[str, deque[float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        """What a broken storage raises; this one cannot break."""
        return ArithmeticError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` more, unless more than `limit` would be in the last `expiry` seconds."""
        hits = self._recent(key, expiry)
        if len(hits) + amount > limit:
            return False
        hits.extend([self._clock.monotonic_s()] * amount)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002 - the library's
        """Monotonic seconds of the oldest that still counts, or now, and how many do."""
        hits = self._recent(key, expiry)
        return (hits[0] if hits else self._clock.monotonic_s()), len(hits)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count without a limit."""
        hits = self._recent(key, expiry)
        hits.extend([self._clock.monotonic_s()] * amount)
        return len(hits)

    def get(self, key: str) -> int:
        """How many were counted and not yet forgotten."""
        return len(self._hits.get(key, ()))

    def get_expiry(self, key: str) -> float:
        """Monotonic seconds of the last one counted, or now."""
        hits = self._hits.get(key)
        return hits[-1] if hits else self._clock.monotonic_s()

    def check(self) -> bool:
        """It always works."""
        return True

    def reset(self) -> int:
        """Forget everything. Returns of how many keys."""
        count = len(self._hits)
        self._hits.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget one key."""
        self._hits.pop(key, None)

    def _recent(self, key: str, expiry: int) -> deque[float]:
        hits = self._hits.get(key)
        if hits is None:
            hits = self._hits[key] = deque()
        gone_s = self._clock.monotonic_s() - expiry
        while hits and hits[0] <= gone_s:
            hits.popleft()
        return hits


class TokenWindow:
    """Tokens of about the last minute, as two buckets of a minute each of which the older one fades.

    A whole bucket counts while it is filled; of the one before it as much as still lies within the last minute, as
    if its tokens had come evenly. What was reserved may be corrected later, upwards or downwards.
    """

    __slots__ = ("_clock", "_current", "_number", "_previous")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._number = self._bucket()
        self._current = 0
        self._previous = 0

    def used(self) -> float:
        """Tokens of the last minute, not below zero."""
        fraction = self._turn()
        return max(self._current + self._previous * (1 - fraction), 0.0)

    def add(self, tokens: int) -> int:
        """Count tokens now. Returns the bucket they went to, for `correct`."""
        self._turn()
        self._current += tokens
        return self._number

    def correct(self, bucket: int, difference: int) -> None:
        """Change what was counted in a bucket. What is too much there now counts; what is too little is past."""
        self._turn()
        if bucket == self._number:
            self._current += difference
        elif bucket == self._number - 1:
            self._previous += difference
        elif difference > 0:
            self._current += difference

    def wait_s(self, tokens: int, limit: int) -> float:
        """Seconds until so many tokens fit under the limit, if nothing is added and they fit at all."""
        fraction = self._turn()
        return wait_s(self._current, self._previous, fraction, max(limit - tokens, 0))

    def _bucket(self) -> int:
        return math.floor(self._clock.monotonic_s() / WINDOW_S)

    def _turn(self) -> float:
        """Bring the buckets up to now. Returns which part of the current one has passed, 0 to 1."""
        position = self._clock.monotonic_s() / WINDOW_S
        number = math.floor(position)
        if number != self._number:
            self._previous = self._current if number == self._number + 1 else 0
            self._current = 0
            self._number = number
        return position - number


def wait_s(current: int, previous: int, fraction: float, room: int) -> float:
    """Seconds until two buckets count for no more than `room`; `fraction` of the present minute has passed."""
    if current <= room:
        return max(_faded(previous, room - current) - fraction, 0.0) * WINDOW_S
    return (1 - fraction + _faded(current, room)) * WINDOW_S


def _faded(bucket: int, room: int) -> float:
    """Which part of a minute must pass until no more than `room` of a full bucket counts, 0 to 1."""
    return 0.0 if bucket <= room else 1 - room / bucket
