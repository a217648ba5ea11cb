"""An event loop whose time is a number: a minute of waiting takes as long as what is done in it."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
_WALL_MS: Final = 1_795_000_000_000


@dataclass(slots=True)
class SimulatedClock:
    """Both times of the program, moved by the loop that waits; see `proxy.clock.Clock`."""

    now_s: float = 1000.0

    def monotonic_s(self) -> float:
        """See `proxy.clock.Clock`."""
        return self.now_s

    def unix_ms(self) -> int:
        """See `proxy.clock.Clock`."""
        return _WALL_MS + round(self.now_s * 1000)


def monotonic_s(unix_ms: int) -> float:
    """The moment of a simulated clock that its wall shows so, to the millisecond."""
    return (unix_ms - _WALL_MS) / 1000


class _Waiting(selectors.SelectSelector):
    """Instead of waiting it moves the clock. Nothing is ever read from a socket."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Raises RuntimeError where everybody waits for something that nobody will do."""
        if timeout is None:
            raise RuntimeError("everybody waits, and no timer is set")
        self._clock.now_s += max(timeout, 0.0)
        return []


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__(_Waiting(clock))
        self._clock = clock

    def time(self) -> float:
        """The clock's, so that timers and durations agree."""
        return self._clock.now_s


def run_simulated(work: Callable[[SimulatedClock], Coroutine[Any, Any, _T]]) -> _T:
    """Run `work` to its end in a loop of its own, which is handed the clock of that loop."""
    clock = SimulatedClock()
    with asyncio.Runner(loop_factory=lambda: _SimulatedLoop(clock)) as runner:
        return runner.run(work(clock))
