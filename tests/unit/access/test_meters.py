"""The limits that bind a client are told in the words of OpenAI's headers."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access.meters import Meters
from proxy.access.refusals import duration, headers_of
from proxy.access.rules import Rules
from proxy.errors import GatewayError
from proxy.settings import LimitSettings
from tests.unit.access.test_rules import NO_LIMITS


def _limits(**limits: int) -> LimitSettings:
    return dataclasses.replace(NO_LIMITS, **limits)  # type: ignore[arg-type]  # numbers of it, by name


def test_of_each_sort_the_limit_with_the_least_left_is_told() -> None:
    """Protects clients from waiting for their own limit while the server's is the one that is reached."""
    meters = Meters(_limits(requests_per_minute=3, tokens_per_minute=500))
    rules = Rules(requests_per_minute=2, tokens_per_minute=400)
    first, second = meters.meter_of("a", rules), meters.meter_of("b", rules)
    for meter, tokens in ((first, 100), (second, 300)):
        for each in meter.requests:
            each.window.add(1000.0)
        for other in meter.tokens:
            other.window.add(tokens, 1000.0)
    assert headers_of(first.fields(1020.0, tokens=True)) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "40s",
        "x-ratelimit-limit-tokens": "500",
        "x-ratelimit-remaining-tokens": "100",
        "x-ratelimit-reset-tokens": "1m0s",
    }
    assert headers_of(second.fields(1020.0, tokens=True))["x-ratelimit-limit-tokens"] == "400"
    first.requests[1].window.add(1020.0)
    assert headers_of(second.fields(1020.0, tokens=False)) == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "40s",
    }


def test_what_was_counted_stays_when_the_rules_are_read_again() -> None:
    """Protects limits from being whole again whenever keys are loaded from the store."""
    meters = Meters(NO_LIMITS)
    before = meters.meter_of("a", Rules(requests_per_minute=2, tokens_per_minute=100))
    assert meters.meter_of("a", before.rules) is before
    before.requests[0].window.add(1000.0)
    before.tokens[0].window.add(60, 1000.0)
    after = meters.meter_of("a", Rules(requests_per_minute=5, tokens_per_minute=200))
    assert (after.requests[0].left(1000.0), after.tokens[0].left(1000.0)) == (4, 140)
    assert meters.meter_of("b", after.rules).requests[0].left(1000.0) == 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.12, "120ms"),
        (1, "1s"),
        (59.1, "1m0s"),
        (12, "12s"),
        (360, "6m0s"),
        (61, "1m1s"),
        (120, "2m0s"),
        (120.5, "2m1s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    """Protects clients that parse the reset headers."""
    assert duration(seconds) == text


def test_what_is_past_is_not_told() -> None:
    """Protects clients that read the headers of a refusal which nothing but another limit brought about."""
    meter = Meters(NO_LIMITS).meter_of("a", Rules(requests_per_minute=2, tokens_per_minute=100))
    untouched = headers_of(meter.fields(1000.0, tokens=True))
    meter.requests[0].window.add(1000.0)
    meter.requests[0].window.add(1030.0)
    meter.tokens[0].window.add(100, 1000.0)
    meter.tokens[0].window.add(50, 1030.0)
    assert headers_of(meter.fields(1060.0, tokens=True)) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "16",
        "x-ratelimit-reset-tokens": "1m20s",
    }
    assert headers_of(meter.fields(1200.0, tokens=True)) == untouched
    assert untouched["x-ratelimit-remaining-requests"] == "2"
    assert untouched["x-ratelimit-reset-tokens"] == "0ms"


def _seconds(told: str) -> float:
    found = re.fullmatch(r"(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?", told)
    assert found is not None
    minutes, seconds, thousandths = (int(found[name] or 0) for name in ("m", "s", "ms"))
    return minutes * 60 + seconds + thousandths / 1000


@given(
    st.lists(st.tuples(st.floats(0, 90), st.integers(0, 2000)), min_size=1, max_size=20),
    st.floats(0, 130),
)
def test_a_limit_has_more_left_when_it_is_told_to_and_not_before(
    steps: list[tuple[float, int]], later_s: float
) -> None:
    """Protects clients that plan by the headers: what is left, and when nothing counts any more."""
    now_s, meter = (
        600.0,
        Meters(NO_LIMITS).meter_of("a", Rules(requests_per_minute=9, tokens_per_minute=10_000)),
    )
    (requests,), (tokens,) = meter.requests, meter.tokens
    for step, added in steps:
        now_s += step
        requests.window.add(now_s)
        tokens.window.add(added, now_s)
    now_s += later_s
    told = headers_of(meter.fields(now_s, tokens=True))
    for limit, sort in ((requests, "requests"), (tokens, "tokens")):
        assert told[f"x-ratelimit-limit-{sort}"] == str(limit.limit)
        assert told[f"x-ratelimit-remaining-{sort}"] == str(limit.left(now_s))
        whole_in_s = _seconds(told[f"x-ratelimit-reset-{sort}"])
        used = limit.window.used(now_s)
        assert whole_in_s == 0 or used > 0
        if whole_in_s > 1.01:
            assert limit.window.used(now_s + whole_in_s - 1.01) > 0
        # of requests the next one is told that is past, of tokens the last
        left_over = limit.window.used(now_s + whole_in_s + 0.01)
        assert left_over < used or not used
        assert sort == "requests" or left_over == 0


@given(
    st.lists(st.tuples(st.integers(0, 45), st.booleans(), st.integers(0, 300)), min_size=1, max_size=25),
    st.sampled_from([{}, {"requests_per_minute": 6}]),
)
def test_who_is_let_in_is_told_what_whoever_looks_would_be(
    steps: list[tuple[int, bool, int]], server: dict[str, int]
) -> None:
    """Protects the short way of a request that is let in: it counts and tells what the windows do, refused or not."""
    now_s, meters = 600.0, Meters(_limits(**server))
    clients = [
        meters.meter_of("a", Rules(requests_per_minute=7, tokens_per_minute=1000)),
        meters.meter_of("b", Rules(tokens_per_minute=500)),
    ]
    for step, second, tokens in steps:
        now_s, meter = now_s + step, clients[second]
        before = meter.fields(now_s, tokens=True)
        (counted,) = meter.tokens
        used = counted.window.used(now_s)
        room = counted.limit - used - tokens if tokens and used >= 1 else 1.0
        free = all(each.left(now_s) for each in meter.requests)
        try:
            told = headers_of(meter.reserve(tokens, now_s))
        except GatewayError:
            assert not free or room < 0.001
            assert meter.fields(now_s, tokens=True) == before
            continue
        assert free
        assert room > -0.001
        found = headers_of(meter.fields(now_s, tokens=tokens > 0))
        if tokens:
            # which side of a whole token a sum of fractions falls on depends on its order
            left = [int(each.pop("x-ratelimit-remaining-tokens")) for each in (told, found)]
            assert abs(left[0] - left[1]) <= 1
        assert told == found


@pytest.mark.parametrize(
    ("others", "limit", "left"), [(0, "400", "300"), (300, "500", "100"), (100, "400", "300")]
)
def test_who_is_let_in_is_told_of_the_limit_with_the_least_left(others: int, limit: str, left: str) -> None:
    """Protects clients from going by their own limit of tokens where the server's is the nearer one, or as near."""
    meters = Meters(_limits(tokens_per_minute=500))
    meters.meter_of("b", Rules()).reserve(others, 1000.0)
    told = headers_of(meters.meter_of("a", Rules(tokens_per_minute=400)).reserve(100, 1000.0))
    assert (told["x-ratelimit-limit-tokens"], told["x-ratelimit-remaining-tokens"]) == (limit, left)
