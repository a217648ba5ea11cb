"""The text Prometheus reads: escaped, complete, and counted as it expects."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from proxy.telemetry.exposition import Histogram, Metric, Sort, exposed
from tests.support.program import ROOT

_PLAIN = "text/plain"
_OPEN = "application/openmetrics-text; version=1.0.0"


def _gauge(value: float, label: str | None = None) -> Metric:
    labels = () if label is None else ("name",)
    return Metric("carousel_x", Sort.GAUGE, "What it is.", labels, {labels and (label or "",): value})


def _read(*metrics: Metric, accept: str = _PLAIN) -> list[Family]:
    """What Prometheus' own reader of a format makes of them."""
    text, content_type = exposed(metrics, accept)
    assert content_type.startswith(accept.partition(";")[0])
    parsed = text_string_to_metric_families if accept == _PLAIN else openmetrics
    return list(parsed(text.decode()))


@pytest.mark.parametrize("accept", [_PLAIN, _OPEN])
@pytest.mark.parametrize("value", [0, 3.0, 0.25, float("inf"), 1e18])
def test_a_number_is_read_as_it_was(accept: str, value: float) -> None:
    """Protects every figure, in both formats."""
    (family,) = _read(_gauge(value), accept=accept)
    assert (family.name, family.type, family.documentation) == ("carousel_x", "gauge", "What it is.")
    assert [sample.value for sample in family.samples] == [value]


def test_plain_text_is_what_comes_without_a_wish() -> None:
    """Protects old scrapers and people with curl."""
    for accept in ("", "*/*", "text/html", "nonsense;;;"):
        text, content_type = exposed([_gauge(1)], accept)
        assert content_type == "text/plain; version=0.0.4; charset=utf-8"
        assert text == b"# HELP carousel_x What it is.\n# TYPE carousel_x gauge\ncarousel_x 1.0\n"


def test_a_metric_without_series_is_announced_all_the_same() -> None:
    """Protects alert rules from naming a metric nobody has heard of on a server that has just started."""
    text, _ = exposed([Metric("carousel_x_total", Sort.COUNTER, "None yet.", ("a",), {})], _PLAIN)
    assert text == b"# HELP carousel_x_total None yet.\n# TYPE carousel_x_total counter\n"


@given(st.text())
def test_no_label_breaks_out_of_its_line(label: str) -> None:
    """Protects the scrape from aliases: whatever an operator calls a credential stays one value of one series."""
    (family,) = _read(_gauge(1, label), accept=_OPEN)
    assert [sample.labels for sample in family.samples] == [{"name": label}]


@pytest.mark.parametrize("accept", [_PLAIN, _OPEN])
def test_the_parts_of_a_histogram_add_up(accept: str) -> None:
    """Protects quantiles: each bound counts all that is not larger, and the last one everything."""
    seen = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 99.0):
        seen.observe(value)
    (family,) = _read(Metric("x", Sort.HISTOGRAM, "Told.", ("route",), {("/a",): seen}), accept=accept)
    assert [(sample.name, sample.labels.get("le"), sample.value) for sample in family.samples] == [
        ("x_bucket", "1.0", 2),
        ("x_bucket", "2.0", 3),
        ("x_bucket", "+Inf", 4),
        ("x_count", None, 4),
        ("x_sum", None, 102),
    ]


def test_nobody_loads_the_library_before_the_first_scrape() -> None:
    """Protects the memory of servers that are never scraped."""
    code = "import sys, proxy.server.app; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0  # noqa: S603 - our own code


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
