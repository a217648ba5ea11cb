"""A clock that stands still until a test moves it."""

from dataclasses import dataclass


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
