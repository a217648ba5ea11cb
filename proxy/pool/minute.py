"""How many requests a credential gets in any minute, where its operator gave a number."""

from collections import deque
from collections.abc import Iterable
from typing import Final

MINUTE_S: Final = 60.0


class MinuteQuota:
    """The times of the last requests of one credential, as many as it may have in a minute.

    Each process counts for itself.

    Attributes:
        most: requests in any 60 seconds, at least 1.
        times_s: monotonic, the oldest first.
    """

    __slots__ = ("most", "times_s")

    def __init__(self, most: int, times_s: Iterable[float] = ()) -> None:
        self.most = most
        self.times_s = deque(times_s, maxlen=most)

    def add(self, now_s: float) -> float:
        """Count a request. Returns the monotonic seconds from which on there is room for another one."""
        self.times_s.append(now_s)
        return self.free_at_s

    def full(self, now_s: float) -> bool:
        """Whether it has had all requests of this minute."""
        return now_s < self.free_at_s

    @property
    def free_at_s(self) -> float:
        """Monotonic seconds from which on there is room for a request; in the past while there is."""
        return self.times_s[0] + MINUTE_S if len(self.times_s) == self.most else float("-inf")


def quota_of(most: int | None, before: MinuteQuota | None) -> MinuteQuota | None:
    """The quota of a credential with this number, in which what `before` has counted counts on; None for no limit."""
    if most is None:
        return None
    if before is None or before.most == most:
        return before or MinuteQuota(most)
    return MinuteQuota(most, before.times_s)
