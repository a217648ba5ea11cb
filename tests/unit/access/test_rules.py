"""What a key may, and the periods of budgets."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access.rules import Period, Rules, in_force
from proxy.settings import LimitSettings

NO_LIMITS = LimitSettings(
    requests_per_minute=None,
    client_requests_per_minute=None,
    tokens_per_minute=None,
    wrong_keys_per_minute=10,
    wrong_keys_block_s=900.0,
    cors_origins=(),
    trusted_proxies=(),
)


def _ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("period", "now", "began", "ends"),
    [
        (Period.HOUR, "2026-11-21T08:59:59.999Z", "2026-11-21T08:00Z", "2026-11-21T09:00Z"),
        (Period.DAY, "2026-11-21T00:00Z", "2026-11-21T00:00Z", "2026-11-22T00:00Z"),
        (Period.WEEK, "2026-11-22T23:59Z", "2026-11-16T00:00Z", "2026-11-23T00:00Z"),
        (Period.WEEK, "2026-11-23T00:00Z", "2026-11-23T00:00Z", "2026-11-30T00:00Z"),
        (Period.MONTH, "2026-11-30T23:59Z", "2026-11-01T00:00Z", "2026-12-01T00:00Z"),
        (Period.MONTH, "2026-12-31T12:00Z", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
        (Period.MONTH, "2028-02-29T12:00Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"),
    ],
)
def test_a_period_begins_and_ends_by_the_calendar(period: Period, now: str, began: str, ends: str) -> None:
    """Protects budgets from periods that drift, or end in the middle of a day."""
    assert period.bounds(_ms(now)) == (_ms(began), _ms(ends))


def test_a_total_never_ends() -> None:
    """Protects a budget that is given once."""
    assert Period.TOTAL.bounds(_ms("2026-11-21T08:00Z")) == (0, None)


@given(
    st.sampled_from([each for each in Period if each is not Period.TOTAL]), st.integers(0, 4_000_000_000_000)
)
def test_every_moment_lies_in_its_period_and_all_of_it_has_the_same_bounds(
    period: Period, now_ms: int
) -> None:
    """Protects spending from being counted in no period, or in two."""
    began_ms, ends_ms = period.bounds(now_ms)
    assert ends_ms is not None
    assert began_ms <= now_ms < ends_ms
    assert period.bounds(began_ms) == period.bounds(ends_ms - 1) == (began_ms, ends_ms)
    assert period.bounds(ends_ms)[0] == ends_ms


@pytest.mark.parametrize(
    ("models", "model", "permitted"),
    [
        ((), "claude-opus-5-5", True),
        (("claude-haiku-*",), "claude-haiku-4-5", True),
        (("claude-haiku-*",), "claude-opus-5-5", False),
        (("a", "claude-opus-5-5"), "claude-opus-5-5", True),
        (("claude-opus-5",), "claude-opus-5-5", False),
        (("CLAUDE-*",), "claude-opus-5-5", False),
    ],
)
def test_models_are_permitted_by_pattern(models: tuple[str, ...], model: str, permitted: bool) -> None:
    """Protects dear models from keys that are meant for cheap ones."""
    assert Rules(models=models).permits(model) is permitted


def test_a_key_ends_at_its_moment() -> None:
    """Protects against a key that lives on."""
    rules = Rules(expires_unix_ms=1000)
    assert not rules.expired(999)
    assert rules.expired(1000)
    assert not Rules().expired(10**15)


@pytest.mark.parametrize(
    ("rules", "counts", "reads"),
    [
        (Rules(), False, False),
        (Rules(requests_per_minute=1, concurrency=1, expires_unix_ms=1), False, False),
        (Rules(credentials=frozenset({"a"})), False, False),
        (Rules(tokens_per_minute=1), True, False),
        (Rules(budget_micro_usd=1), True, True),
        (Rules(models=("a",)), False, True),
    ],
)
def test_only_what_matters_is_looked_at(rules: Rules, counts: bool, reads: bool) -> None:
    """Protects the verbatim lane and the hot path from work that no rule needs."""
    assert (rules.counts_tokens, rules.reads_model) == (counts, reads)


@pytest.mark.parametrize(
    ("own", "limits", "found"),
    [
        (None, {}, None),
        (Rules(), {}, None),
        (Rules(concurrency=1), {}, Rules(concurrency=1)),
        (None, {"client_requests_per_minute": 5}, Rules(requests_per_minute=5)),
        (Rules(requests_per_minute=9), {"client_requests_per_minute": 5}, Rules(requests_per_minute=9)),
        (None, {"requests_per_minute": 5}, Rules()),
        (None, {"tokens_per_minute": 5}, Rules()),
    ],
)
def test_the_servers_limits_bind_every_key_and_nothing_is_nothing(
    own: Rules | None, limits: dict[str, int], found: Rules | None
) -> None:
    """Protects the hot path: where nothing is set there is nothing to look at."""
    fields = {name: getattr(NO_LIMITS, name) for name in LimitSettings.__slots__} | limits
    assert in_force(own, LimitSettings(**fields)) == found
