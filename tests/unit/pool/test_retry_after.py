"""Reading how long an upstream asks to be left alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.pool.retry_after import parse_retry_after

NOW = 1_795_000_000_000  # Wed, 18 Nov 2026 11:06:40 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "1000000000"}, 366 * 86_400.0),
        ({"retry-after": "abc"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "Wed, 18 Nov 2026 11:07:40 GMT"}, 60.0),
        ({"retry-after": "Wed, 18 Nov 2026 11:07:40 -0000"}, 60.0),
        ({"retry-after": "Wednesday, 18-Nov-26 11:07:40 GMT"}, 60.0),
        ({"retry-after": "Wed Nov 18 11:07:40 2026"}, 60.0),
        ({"retry-after": " 30 "}, 30.0),
        ({"retry-after": "Wed, 18 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Nov 2026 11:07:40 GMT"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "30"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "30"}, 30.0),
        ({"retry-after-ms": "-1"}, 0.0),
    ],
)
def test_every_form_is_read_or_left_alone(headers: dict[str, str], seconds: float | None) -> None:
    """Protects the deadline of a rate limit: seconds, milliseconds and dates count, rubbish does not."""
    assert parse_retry_after(headers, now_unix_ms=NOW) == seconds


@given(st.text(), st.text())
def test_any_text_gives_none_or_a_bounded_time(seconds: str, milliseconds: str) -> None:
    """Protects against an upstream's rubbish: nothing raises, nothing is negative, endless or no number."""
    found = parse_retry_after({"retry-after": seconds, "retry-after-ms": milliseconds}, now_unix_ms=NOW)
    assert found is None or (math.isfinite(found) and 0 <= found <= 366 * 86_400)
