"""When the provider itself is overloaded: most calls of a model class are answered here instead of there.

An overload is nobody's fault among the credentials and heals sooner the fewer ask. So none of them rests for it; the
class as a whole is asked less.
"""

import random
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.settings import Policy

_SLICES: Final = 10
_CLASSES_MAX: Final = 256


class _Slice(msgspec.Struct):
    """The answers of a tenth of the window, by when it began."""

    number: int = -1
    calls: int = 0
    overloaded: int = 0


class Breaker:
    """One model class's breaker."""

    __slots__ = ("_clock", "_open_until_s", "_policy", "_rng", "_slice_s", "_slices")

    def __init__(self, policy: Policy, clock: Clock, rng: random.Random) -> None:
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._slice_s = policy.overload_window_s / _SLICES
        self._slices = [_Slice() for _ in range(_SLICES)]
        self._open_until_s = 0.0

    @property
    def open_for_s(self) -> float:
        """Seconds for which most calls are still turned away; 0 while it is closed."""
        return max(self._open_until_s - self._clock.monotonic_s(), 0.0)

    def admits(self) -> bool:
        """Whether a call may pass: always while it is closed, by chance while it is open."""
        if self._open_until_s == 0.0 or self.open_for_s == 0.0:
            return True
        return self._rng.random() < self._policy.overload_admitted_share

    def record(self, *, overloaded: bool) -> bool:
        """An upstream has answered. True if this opens the breaker, or opens it anew."""
        now_s = self._clock.monotonic_s()
        number = int(now_s / self._slice_s)
        current = self._slices[number % _SLICES]
        if current.number != number:
            current.number, current.calls, current.overloaded = number, 0, 0
        current.calls += 1
        if not overloaded:
            return False
        current.overloaded += 1
        if not self._tripped(number) or self.open_for_s > 0:
            return False
        self._open_until_s = now_s + self._policy.overload_open_s
        return True

    def _tripped(self, number: int) -> bool:
        recent = [each for each in self._slices if each.number > number - _SLICES]
        calls = sum(each.calls for each in recent)
        overloaded = sum(each.overloaded for each in recent)
        return calls >= self._policy.overload_calls and overloaded >= self._policy.overload_share * calls


class Breakers:
    """The breakers of all model classes; one exists from the first overload of its class."""

    __slots__ = ("_breakers", "_clock", "_policy", "_rng")

    def __init__(self, policy: Policy, clock: Clock, rng: random.Random) -> None:
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._breakers: dict[str, Breaker] = {}

    def turned_away_s(self, limit_class: str) -> float:
        """Seconds after which a call of this class that is turned away now may come again; 0 when it may pass."""
        breaker = self._breakers.get(limit_class)
        return 0.0 if breaker is None or breaker.admits() else breaker.open_for_s

    def record(self, limit_class: str, *, overloaded: bool) -> bool:
        """An upstream has answered a call of this class. True if this opens its breaker."""
        breaker = self._breakers.get(limit_class)
        if breaker is None:
            if not overloaded:
                return False
            if len(self._breakers) >= _CLASSES_MAX:
                self._breakers.clear()
            breaker = self._breakers[limit_class] = Breaker(self._policy, self._clock, self._rng)
        return breaker.record(overloaded=overloaded)
