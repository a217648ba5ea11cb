"""What is measured, and the formats in which Prometheus reads it.

The library that knows the formats is imported by the first scrape: a server nobody scrapes never loads it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family


Labels = tuple[str, ...]
"""Values of labels, in the order of their names."""


class Sort(StrEnum):
    """What sort of metric it is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Joined(StrEnum):
    """What becomes of the numbers of several processes. ``OWN``: all know the same, and whoever is asked tells it."""

    SUM = "sum"
    MOST = "most"
    LEAST = "least"
    OWN = "own"


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

    def cumulative(self) -> list[tuple[str, float]]:
        """How many are not larger than each bound, the last one being infinite; bounds as Prometheus spells them."""
        counts = accumulate(self.counts)
        return [
            ("+Inf" if bound == inf else str(bound), count)
            for bound, count in zip((*self.bounds, inf), counts, strict=True)
        ]

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
        joined: with those of other processes; counters and histograms are sums.
    """

    name: str
    sort: Sort
    told: str
    labels: tuple[str, ...]
    series: Mapping[Labels, float | Histogram]
    joined: Joined = Joined.SUM


def exposed(metrics: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """All metrics in the format an ``Accept`` header asks for, OpenMetrics or plain text, and its content type."""
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - see above

    families = [_family(metric) for metric in metrics]
    encoder, content_type = choose_encoder(accept)
    return encoder(_Families(families)), content_type


class _Families:
    """What the library asks for its families."""

    def __init__(self, families: "list[Family]") -> None:
        self._families = families

    def collect(self) -> "Iterable[Family]":
        """All of them."""
        return self._families


def _family(metric: Metric) -> "Family":
    from prometheus_client import core  # noqa: PLC0415 - see above

    match metric.sort:
        case Sort.HISTOGRAM:
            histogram = core.HistogramMetricFamily(metric.name, metric.told, labels=metric.labels)
            for values, measured in metric.series.items():
                if isinstance(measured, Histogram):
                    histogram.add_metric(values, measured.cumulative(), measured.total)
            return histogram
        case Sort.COUNTER | Sort.GAUGE:
            make = core.CounterMetricFamily if metric.sort is Sort.COUNTER else core.GaugeMetricFamily
            family = make(metric.name, metric.told, labels=metric.labels)
            for values, measured in metric.series.items():
                if not isinstance(measured, Histogram):
                    family.add_metric(values, measured)
            return family
        case _:
            assert_never(metric.sort)
