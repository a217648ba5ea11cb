"""Counters over the last minute: of requests one by one, of tokens in two buckets.

Whoever counts reads the clock once and hands the time to all of them.
"""

from collections import deque
from math import ceil, inf
from typing import Final

WINDOW_S: Final = 60.0


class RequestWindow:
    """The times of the last minute's requests, so that no minute anywhere has more than a limit allows.

    As many times are kept as the limit that is asked for before each allows.

    Attributes:
        times_s: of those that counted when `drop_old` was last called, and of those added since, the oldest first.
        drops_s: when the oldest of them counts no more, and `drop_old` is to be called; -inf where there is none.
    """

    __slots__ = ("drops_s", "times_s")

    def __init__(self) -> None:
        self.times_s: deque[float] = deque()
        self.drops_s = -inf

    def used(self, now_s: float) -> int:
        """Requests of the last minute; older ones are forgotten."""
        if now_s >= self.drops_s:
            self.drop_old(now_s)
        return len(self.times_s)

    def add(self, now_s: float) -> None:
        """Count one request."""
        if not self.times_s:
            self.drops_s = now_s + WINDOW_S
        self.times_s.append(now_s)

    def drop_old(self, now_s: float) -> None:
        """Forget what is older than a minute."""
        times_s = self.times_s
        while times_s and times_s[0] + WINDOW_S <= now_s:
            times_s.popleft()
        self.drops_s = times_s[0] + WINDOW_S if times_s else -inf

    def wait_s(self, now_s: float) -> float:
        """Seconds until one fewer counts than `used` has just told; 0 where none does."""
        return self.drops_s - now_s if self.times_s else 0.0


class TokenWindow:
    """Tokens of about the last minute, as two buckets of a minute each of which the older one fades.

    A whole bucket counts while it is filled; of the one before it as much as still lies within the last minute, as
    if its tokens had come evenly. What was reserved may be corrected later, upwards or downwards.

    Attributes:
        number: of the current bucket, the same in all windows.
        began_s: when that began, in monotonic seconds.
        left_s: whole seconds until it is over, rounded up.
        fresh_until_s: how long all this holds; then `catch_up` is to be called.
        current: its tokens.
        previous: tokens of the bucket before it; may be below zero after corrections.
    """

    __slots__ = ("began_s", "current", "fresh_until_s", "left_s", "number", "previous")

    def __init__(self) -> None:
        self.number = 0
        self.began_s = 0.0
        self.left_s = 0
        self.fresh_until_s = -inf
        self.current = 0
        self.previous = 0

    def used(self, now_s: float) -> float:
        """Tokens of the last minute, not below zero."""
        if now_s >= self.fresh_until_s:
            self.catch_up(now_s)
        if not self.previous:
            return self.current
        used = self.current + self.previous * (1 - (now_s - self.began_s) / WINDOW_S)
        return used if used > 0 else 0.0

    def add(self, tokens: int, now_s: float) -> int:
        """Count tokens now. Returns the bucket they went to, for `correct`; it is the same in all windows."""
        if now_s >= self.fresh_until_s:
            self.catch_up(now_s)
        self.current += tokens
        return self.number

    def correct(self, bucket: int, difference: int, now_s: float) -> None:
        """Change what was counted in a bucket. What is too much there now counts; what is too little is past."""
        if now_s >= self.fresh_until_s:
            self.catch_up(now_s)
        if bucket == self.number:
            self.current += difference
        elif bucket == self.number - 1:
            self.previous += difference
        elif difference > 0:
            self.current += difference

    def wait_s(self, tokens: int, limit: int, now_s: float) -> float:
        """Seconds until so many tokens fit under the limit, if nothing is added and they fit at all."""
        self.catch_up(now_s)
        fraction = (now_s - self.began_s) / WINDOW_S
        return wait_s(self.current, self.previous, fraction, max(limit - tokens, 0))

    def catch_up(self, now_s: float) -> None:
        """Bring the buckets up to now."""
        number = int(now_s // WINDOW_S)
        if number != self.number:
            self.previous = self.current if number == self.number + 1 else 0
            self.current = 0
            self.number = number
            self.began_s = number * WINDOW_S
        ends_s = self.began_s + WINDOW_S
        self.left_s = ceil(ends_s - now_s)
        self.fresh_until_s = ends_s - self.left_s + 1


def wait_s(current: int, previous: int, fraction: float, room: int) -> float:
    """Seconds until two buckets count for no more than `room`; `fraction` of the present minute has passed."""
    if current <= room:
        return max(_faded(previous, room - current) - fraction, 0.0) * WINDOW_S
    return (1 - fraction + _faded(current, room)) * WINDOW_S


def _faded(bucket: int, room: int) -> float:
    """Which part of a minute must pass until no more than `room` of a full bucket counts, 0 to 1."""
    return 0.0 if bucket <= room else 1 - room / bucket
