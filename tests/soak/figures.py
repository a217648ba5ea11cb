"""What a soak has seen, as lines of JSON, and whether it is what was promised."""

import statistics
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

_encoder: Final = msgspec.json.Encoder()


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure.

    Attributes:
        part: of the soak.
        figure: what it is, its unit at the end of the name.
        value: how much.
        most: what it may be at most; None where nothing is promised.
        timed: whether it depends on what else the machine does, so that only a full run is held to it.
        kept: whether it is what was promised.
    """

    part: str
    figure: str
    value: float
    most: float | None = None
    timed: bool = False
    kept: bool = True


class Report:
    """Takes the figures of one part and hands each on as it comes.

    Attributes:
        figures: all so far.
    """

    def __init__(self, part: str, tell: Callable[[bytes], None] = lambda _: None) -> None:
        self._part = part
        self._tell = tell
        self.figures: list[Figure] = []

    def figure(self, name: str, value: float, *, most: float | None = None, timed: bool = False) -> None:
        """Take one."""
        kept = most is None or value <= most
        taken = Figure(
            self._part, name, round(value, 3), None if most is None else round(most, 3), timed, kept
        )
        self.figures.append(taken)
        self._tell(_encoder.encode(taken) + b"\n")

    def missed(self, *, timed: bool) -> list[Figure]:
        """Those that break their promise; the timed ones among them only if asked for."""
        return [each for each in self.figures if not each.kept and (timed or not each.timed)]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` per cent of all lie; 0 of none."""
    if len(values) < 2:
        return next(iter(values), 0.0)
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 10) - 1]
