"""The text Prometheus reads: escaped, complete, and counted as it expects."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.exposition import Histogram, Metric, Sort, exposed

_SERIES = re.compile(
    r'(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (?P<value>\S+)'
)


def _gauge(value: float, label: str | None = None) -> Metric:
    labels = () if label is None else ("name",)
    return Metric("carousel_x", Sort.GAUGE, "What it is.", labels, {labels and (label or "",): value})


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (3.0, "3"), (0.25, "0.25"), (float("inf"), "+Inf"), (1e18, "1000000000000000000")],
)
def test_a_number_is_written_as_prometheus_reads_it(value: float, shown: str) -> None:
    """Protects whole numbers from becoming fractions, and bounds without an end from being unreadable."""
    assert exposed([_gauge(value)]).splitlines()[-1] == f"carousel_x {shown}"


def test_a_metric_says_what_it_is_before_its_series() -> None:
    """Protects the reading of a scrape by people and by Prometheus, which takes the sort from there."""
    assert exposed([_gauge(1)]) == "# HELP carousel_x What it is.\n# TYPE carousel_x gauge\ncarousel_x 1\n"


def test_a_metric_without_series_is_announced_all_the_same() -> None:
    """Protects alert rules from naming a metric nobody has heard of on a server that has just started."""
    text = exposed([Metric("carousel_x_total", Sort.COUNTER, "None yet.", ("a",), {})])
    assert text == "# HELP carousel_x_total None yet.\n# TYPE carousel_x_total counter\n"


@given(st.text())
def test_no_label_breaks_out_of_its_line(label: str) -> None:
    """Protects the scrape from aliases: whatever an operator calls a credential stays one value of one series."""
    lines = exposed([_gauge(1, label)]).split("\n")
    assert len(lines) == 4
    assert _SERIES.fullmatch(lines[2]), lines[2]
    value = lines[2].removeprefix('carousel_x{name="').removesuffix('"} 1')
    spelled = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value)
    assert spelled == label


def test_the_parts_of_a_histogram_add_up() -> None:
    """Protects quantiles: each bound counts all that is not larger, and the last one everything."""
    seen = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 99.0):
        seen.observe(value)
    text = exposed([Metric("x", Sort.HISTOGRAM, "Told.", ("route",), {("/a",): seen})])
    assert text.splitlines()[2:] == [
        'x_bucket{route="/a",le="1"} 2',
        'x_bucket{route="/a",le="2"} 3',
        'x_bucket{route="/a",le="+Inf"} 4',
        'x_sum{route="/a"} 102',
        'x_count{route="/a"} 4',
    ]


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([5.0], 1.0, 10.0),
        ([5.0, 15.0], 0.5, 10.0),
        ([15.0] * 4, 0.5, 15.0),
        ([1000.0], 0.5, 20.0),
        ([5.0, 15.0, 1000.0], 0.99, 20.0),
    ],
)
def test_a_quantile_is_read_between_two_bounds(
    values: list[float], share: float, expected: float | None
) -> None:
    """Protects the charts: nothing is made up where nothing was counted, and the largest bound is the end."""
    seen = Histogram((10.0, 20.0))
    for value in values:
        seen.observe(value)
    assert seen.quantile(share) == expected


@given(st.lists(st.floats(0.1, 999), min_size=1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_larger_share_never_has_a_smaller_quantile(values: list[float], one: float, other: float) -> None:
    """Protects the order of the lines of a chart."""
    seen = Histogram((1.0, 10.0, 100.0, 1000.0))
    for value in values:
        seen.observe(value)
    low, high = seen.quantile(min(one, other)), seen.quantile(max(one, other))
    assert low is not None
    assert high is not None
    assert low <= high + 1e-9
