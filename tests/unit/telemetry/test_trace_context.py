"""The header by which programs agree on a trace: read strictly, and written as others read it."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.trace_context import SpanContext, begun

_TRACE = "0af7651916cd43dd8448eb211c80319c"
_PARENT = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{_TRACE}-{_PARENT}-01", True),
        (f"00-{_TRACE}-{_PARENT}-00", False),
        (f"00-{_TRACE}-{_PARENT}-ff", True),
        (f"cc-{_TRACE}-{_PARENT}-01", True),
        (f"cc-{_TRACE}-{_PARENT}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_valid_header_makes_the_request_part_of_its_trace(header: str, sampled: bool) -> None:
    """Protects traces that several programs write from falling apart here."""
    span = begun(header, Random(0))
    assert span.trace_id == int(_TRACE, 16)
    assert span.parent_id == int(_PARENT, 16)
    assert span.span_id not in {0, span.parent_id}
    assert span.sampled is sampled


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"ff-{_TRACE}-{_PARENT}-01",
        f"00-{'0' * 32}-{_PARENT}-01",
        f"00-{_TRACE}-{'0' * 16}-01",
        f"00-{_TRACE.upper()}-{_PARENT}-01",
        f"00-{_TRACE}-{_PARENT}-01-more",
        f"00-{_TRACE}-{_PARENT}-01\n",
        f"00-{_TRACE}-{_PARENT}",
        f" 00-{_TRACE}-{_PARENT}-01",
        f"cc-{_TRACE}-{_PARENT}-01-{'x' * 1000}",
        f"00-{_TRACE}-{_PARENT}-01,00-{_TRACE}-{_PARENT}-01",
    ],
)
def test_a_header_that_is_not_valid_is_as_good_as_none(header: str | None) -> None:
    """Protects traces of others, and the upstream, from what a client makes up."""
    span = begun(header, Random(0))
    assert span == begun(None, Random(0))
    assert span.parent_id == 0
    assert span.sampled
    assert _TRACE not in span.traceparent


@given(st.text(), st.integers())
def test_whatever_comes_what_goes_on_is_valid(header: str, seed: int) -> None:
    """Protects the upstream call from a header that ends its line early, or means nothing."""
    span = begun(header, Random(seed))
    again = begun(span.traceparent, Random(seed + 1))
    assert (again.trace_id, again.parent_id, again.sampled) == (span.trace_id, span.span_id, span.sampled)


def test_attempts_have_spans_of_their_own_that_can_be_told_again() -> None:
    """Protects the tree: what the upstream was told while it lasted is what is written down afterwards."""
    span = SpanContext(5, 7, 0, sampled=False)
    one, two = span.attempt(1), span.attempt(2)
    assert len({one.span_id, two.span_id, span.span_id}) == 3
    assert (one.trace_id, one.parent_id, one.sampled) == (5, 7, False)
    assert span.attempt(1) == one
