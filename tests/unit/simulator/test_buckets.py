"""Limits that are counted."""

import pytest

from proxy.errors import GatewayError
from proxy.simulator.buckets import Buckets, Limits
from tests.support.clock import FakeClock

MODEL = "claude-sonnet-5-5"


def limited(**limits: int) -> tuple[Buckets, FakeClock]:
    """One organization with these limits."""
    clock = FakeClock()
    buckets = Buckets(clock)
    buckets.limit("org", Limits(**limits))
    return buckets, clock


def told(buckets: Buckets, field: str, model: str = MODEL) -> dict[str, str]:
    """One field of all limits, by their names."""
    prefix = "anthropic-ratelimit-"
    return {
        name.removeprefix(prefix).removesuffix(f"-{field}"): value
        for name, value in buckets.headers("org", model)
        if name.endswith(field)
    }


def test_what_is_used_is_told() -> None:
    """Protects the truth of the headers: each call, prompt and answer is taken off its limit."""
    buckets, _ = limited(requests=60, input_tokens=100_000, output_tokens=10_000)
    buckets.admit("org", MODEL, 30_000)
    buckets.charge("org", MODEL, 4000)
    assert told(buckets, "limit") == {
        "requests": "60",
        "tokens": "10000",
        "input-tokens": "100000",
        "output-tokens": "10000",
    }
    assert told(buckets, "remaining") == {
        "requests": "59",
        "tokens": "6000",
        "input-tokens": "70000",
        "output-tokens": "6000",
    }
    # 11:06:40 and a second for the call, 18 for the prompt, 24 for the answer
    assert told(buckets, "reset") == {
        "requests": "2026-11-18T11:06:41Z",
        "tokens": "2026-11-18T11:07:04Z",
        "input-tokens": "2026-11-18T11:06:58Z",
        "output-tokens": "2026-11-18T11:07:04Z",
    }


def test_a_bucket_refills_bit_by_bit_and_no_further_than_its_limit() -> None:
    """Protects the shape of the limit: it is no window that opens at once."""
    buckets, clock = limited(requests=6)
    for _ in range(6):
        buckets.admit("org", MODEL, 1)
    assert told(buckets, "remaining")["requests"] == "0"
    clock.advance(20)
    assert told(buckets, "remaining")["requests"] == "2"
    clock.advance(600)
    assert told(buckets, "remaining")["requests"] == "6"


@pytest.mark.parametrize(
    ("limits", "tokens", "wait_s", "name"),
    [
        ({"requests": 1}, 1, 60, "1 requests"),
        ({"input_tokens": 6000}, 5000, 40, "6000 input tokens"),
        ({"input_tokens": 6000}, 50_000, 60, "6000 input tokens"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_time_to_wait(
    limits: dict[str, int], tokens: int, wait_s: float, name: str
) -> None:
    """Protects the refusal: it names the limit, and when there will be room."""
    buckets, clock = limited(**limits)
    buckets.admit("org", MODEL, min(tokens, limits.get("input_tokens", tokens)))
    with pytest.raises(GatewayError, match=f"rate limit of {name} per minute") as refused:
        buckets.admit("org", MODEL, tokens)
    error = refused.value
    assert error.status == 429
    assert error.retry_after_s == pytest.approx(wait_s)
    clock.advance(wait_s + 0.001)
    buckets.admit("org", MODEL, tokens)


def test_an_answer_over_the_limit_is_paid_off_first() -> None:
    """Protects the output limit: it is known only afterwards, so the next call waits for it."""
    buckets, clock = limited(output_tokens=600)
    buckets.admit("org", MODEL, 1)
    buckets.charge("org", MODEL, 900)
    with pytest.raises(GatewayError):
        buckets.admit("org", MODEL, 1)
    clock.advance(30.2)
    buckets.admit("org", MODEL, 1)


def test_classes_have_limits_of_their_own() -> None:
    """Protects the sharing: within generation 4 a line has one limit, later models have their own."""
    buckets, _ = limited(requests=10)
    buckets.admit("org", "claude-opus-4-8", 1)
    left = {
        model: told(buckets, "remaining", model)["requests"]
        for model in ("claude-opus-4-8", "claude-opus-4-7", "claude-sonnet-4-6", "claude-opus-5")
    }
    assert left == {
        "claude-opus-4-8": "9",
        "claude-opus-4-7": "9",
        "claude-sonnet-4-6": "10",
        "claude-opus-5": "10",
    }


def test_limits_are_given_and_taken_away() -> None:
    """Protects tests from each other."""
    buckets, _ = limited(requests=1)
    buckets.admit("org", MODEL, 1)
    buckets.limit("org", Limits(requests=5))
    assert told(buckets, "remaining")["requests"] == "5"
    assert (buckets.has("org"), buckets.has("other")) == (True, False)
    buckets.clear()
    assert not buckets.has("org")
    with pytest.raises(ValueError, match="at least 1"):
        Limits(requests=0)
