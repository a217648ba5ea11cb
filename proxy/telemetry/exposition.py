"""The text that Prometheus reads.

Source: the page on exposition formats of the Prometheus documentation, text format version 0.0.4.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

Labels = tuple[str, ...]
"""Values of labels, in the order of their names."""


class Sort(StrEnum):
    """What sort of metric it is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Histogram:
    """Counts by size, each under the least bound that it does not exceed.

    Attributes:
        bounds: upper bounds, ascending; whatever is larger than the last one is counted as well.
        counts: one for each bound, and one more for what exceeds them all.
        total: the sum of all that was observed.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def quantile(self, share: float) -> float | None:
        """What that share of all is not larger than, interpolated between two bounds; None where nothing was counted.

        What exceeds all bounds is taken for the last of them.
        """
        wanted = share * sum(self.counts)
        if not wanted:
            return None
        below = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count >= wanted:
                return below + (bound - below) * wanted / count
            wanted -= count
            below = bound
        return self.bounds[-1]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric with all its series.

    Attributes:
        name: of the metric, without the ending that the format adds.
        sort: what it is.
        told: one sentence for people.
        labels: names of its labels.
        series: what was measured, by the values of the labels; a `Histogram` for that sort, else a number.
    """

    name: str
    sort: Sort
    told: str
    labels: tuple[str, ...]
    series: Mapping[Labels, float | Histogram]


def exposed(metrics: Iterable[Metric]) -> str:
    """All metrics as text, with a line end after the last line."""
    return "".join(f"{line}\n" for metric in metrics for line in _lines(metric))


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {_told(metric.told)}"
    yield f"# TYPE {metric.name} {metric.sort}"
    for values, measured in metric.series.items():
        pairs = tuple(zip(metric.labels, values, strict=True))
        if isinstance(measured, Histogram):
            yield from _histogram(metric.name, pairs, measured)
        else:
            yield f"{metric.name}{_labels(pairs)} {_number(measured)}"


def _histogram(name: str, pairs: tuple[tuple[str, str], ...], measured: Histogram) -> Iterator[str]:
    count = 0
    for bound, more in zip((*measured.bounds, float("inf")), measured.counts, strict=True):
        count += more
        yield f"{name}_bucket{_labels((*pairs, ('le', _number(bound))))} {count}"
    yield f"{name}_sum{_labels(pairs)} {_number(measured.total)}"
    yield f"{name}_count{_labels(pairs)} {count}"


def _labels(pairs: tuple[tuple[str, str], ...]) -> str:
    if not pairs:
        return ""
    shown = ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in pairs)
    return f"{{{shown}}}"


def _told(sentence: str) -> str:
    return sentence.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(value)
