"""Reading the moment an upstream names for its return."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.pool.reset_time import stated_reset_unix_ms


def _ms(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]  # year, month, day, ...


NOW = _ms(2026, 12, 20, 10)


@pytest.mark.parametrize(
    ("message", "headers", "monthly", "found"),
    [
        ('{"type":"exceeded_limit","resetsAt":1773039600}', {}, False, 1_773_039_600_000),
        ('{"type":"exceeded_limit","resetsAt":null}', {}, False, None),
        (
            '{"type":"x"}',
            {"anthropic-ratelimit-unified-reset": "1773039600"},
            False,
            1_773_039_600_000,
        ),
        ('{"resetsAt":-3}', {}, False, None),
        ('{"resetsAt":', {}, False, None),
        ("You will regain access on 2027-01-01 at 00:00 UTC.", {}, False, _ms(2027, 1, 1)),
        ("Access resumes 2027-01-02T13:30 UTC", {}, False, _ms(2027, 1, 2, 13, 30)),
        ("Access resumes on 2027-01-02", {}, False, _ms(2027, 1, 2)),
        ("Access resumes on 2027-13-40", {}, False, None),
        ("no date", {}, False, None),
        ("no date", {}, True, _ms(2027, 1, 1)),
        ("no date", {"anthropic-ratelimit-unified-reset": "soon"}, False, None),
        ("no date", {"anthropic-ratelimit-unified-reset": "9" * 40}, False, None),
        ("no date", {"anthropic-ratelimit-unified-reset": "0"}, False, None),
        ("back on 1969-12-31", {}, False, None),
    ],
)
def test_the_stated_moment_is_found(
    message: str, headers: dict[str, str], monthly: bool, found: int | None
) -> None:
    """Protects the end of a spend limit: nested JSON, words, a header, and the month's end are understood."""
    assert stated_reset_unix_ms(message, headers, counted=False, monthly=monthly, now_unix_ms=NOW) == found


def test_the_months_end_needs_to_know_the_present() -> None:
    """Protects an error event, read without a clock, from a deadline in the year 1970."""
    assert stated_reset_unix_ms("", {}, counted=True, monthly=True, now_unix_ms=0) is None


USED_UP = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2026-12-20T10:00:20Z",
    "anthropic-ratelimit-tokens-limit": "80000",
    "anthropic-ratelimit-tokens-remaining": "7000",
    "anthropic-ratelimit-tokens-reset": "2026-12-20T10:00:55Z",
}


def test_a_limit_ends_with_the_reset_of_what_is_used_up() -> None:
    """Protects a credential from resting by guess, or until limits it has not run into are full again."""
    found = stated_reset_unix_ms("", USED_UP, counted=True, monthly=False, now_unix_ms=NOW)
    assert found == NOW + 20_000


def test_an_empty_balance_does_not_end_with_a_rate_limit() -> None:
    """Protects credit, which takes hours to come back, from the seconds of a limit that is full as well."""
    assert stated_reset_unix_ms("", USED_UP, counted=False, monthly=False, now_unix_ms=NOW) is None


@given(st.text() | st.text().map(lambda text: "{" + text), st.text(), st.integers(1, 4_000_000_000_000))
def test_no_text_raises(message: str, header: str, now_unix_ms: int) -> None:
    """Protects the pool from whatever an upstream writes into a message."""
    headers = {"anthropic-ratelimit-unified-reset": header}
    found = stated_reset_unix_ms(message, headers, counted=True, monthly=True, now_unix_ms=now_unix_ms)
    assert found is None or found > 0
