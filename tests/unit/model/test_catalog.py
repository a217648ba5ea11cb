"""What is known of the models, at fixed dates."""

import datetime as dt

import msgspec
import pytest

from proxy.model.catalog import (
    AliasRules,
    Catalog,
    CatalogError,
    ForcedToolChoice,
    Price,
    Sampling,
    ThinkingMode,
)

_BEFORE = dt.date(2026, 11, 29)
_AFTER = dt.date(2026, 11, 30)
_CATALOG = Catalog.load()
_ON = AliasRules()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("opus", "claude-opus-5-5"),
        ("sonnet", "claude-sonnet-5-5"),
        ("haiku", "claude-haiku-5-5"),
        ("fable", "claude-fable-5-2"),
        ("claude-code", "claude-sonnet-5-5"),
        ("claude-3-haiku-20240307", "claude-haiku-5-5"),
        ("claude-3-5-haiku-20241022", "claude-haiku-5-5"),
        ("claude-3-5-sonnet-20241022", "claude-sonnet-5-5"),
        ("claude-3-7-sonnet-20250219", "claude-sonnet-5-5"),
        ("claude-3-sonnet-20240229", "claude-sonnet-5-5"),
        ("claude-3-opus-20240229", "claude-opus-5-5"),
        ("claude-opus-4-20250514", "claude-opus-5-5"),
        ("claude-opus-4-1-20250805", "claude-opus-5-5"),
        ("claude-sonnet-4-20250514", "claude-sonnet-5-5"),
    ],
)
def test_words_and_retired_ids_become_the_present_model(name: str, model: str) -> None:
    """Configurations of the past go on working, and off means off."""
    found = _CATALOG.resolve(name, today=_BEFORE, aliases=_ON)
    assert (found.model, found.alias_of, found.known, found.think) == (model, name, True, False)
    off = _CATALOG.resolve(name, today=_BEFORE, aliases=AliasRules(families=False))
    assert (off.model, off.alias_of, off.known) == (name, None, False)


@pytest.mark.parametrize(
    "name",
    [
        "claude-sonnet-4-6",
        "claude-opus-4-5",
        "claude-haiku-4-5-20251001",
        "claude-opus-4-6",
        "claude-opus-5-5",
    ],
)
@pytest.mark.parametrize("today", [_BEFORE, _AFTER])
def test_living_ids_and_real_aliases_stay(name: str, today: dt.date) -> None:
    """What the provider answers to is sent as it was written, on either side of the retirement."""
    found = _CATALOG.resolve(name, today=today, aliases=_ON)
    assert (found.model, found.alias_of, found.known) == (name, None, True)


@pytest.mark.parametrize("name", ["claude-sonnet-4-5", "claude-sonnet-4-5-20250929"])
def test_retirement_goes_by_the_date(name: str) -> None:
    """The day before it is itself, from the day on it is its successor."""
    assert _CATALOG.resolve(name, today=_BEFORE, aliases=_ON).model == name
    after = _CATALOG.resolve(name, today=_AFTER, aliases=_ON)
    assert (after.model, after.alias_of) == ("claude-sonnet-5-5", name)
    off = _CATALOG.resolve(name, today=_AFTER, aliases=AliasRules(families=False))
    assert (off.model, off.known) == (name, False)


@pytest.mark.parametrize(
    ("setting", "name", "expected"),
    [
        ("", "claude-opus-5-5-think", ("claude-opus-5-5", True, None, True)),
        ("", "sonnet-think", ("claude-sonnet-5-5", True, "sonnet", True)),
        ("gpt-*=sonnet", "gpt-5", ("claude-sonnet-5-5", False, "gpt-5", True)),
        ("gpt-*=sonnet-think", "gpt-5", ("claude-sonnet-5-5", True, "gpt-5", True)),
        ("opus=claude-opus-4-6", "opus", ("claude-opus-4-6", False, "opus", True)),
        ("off,fast=claude-haiku-4-5", "fast", ("claude-haiku-4-5", False, "fast", True)),
        ("off,fast=haiku", "fast", ("haiku", False, "fast", False)),
        ("", "claude-omega-9", ("claude-omega-9", False, None, False)),
        ("", "gpt-5", ("gpt-5", False, None, False)),
        ("", "", ("", False, None, False)),
    ],
)
def test_the_order_of_the_rules(
    setting: str, name: str, expected: tuple[str, bool, str | None, bool]
) -> None:
    """The operator first, then the suffix, then the catalog, then words and dates."""
    found = _CATALOG.resolve(name, today=_BEFORE, aliases=AliasRules.parse(setting))
    assert (found.model, found.think, found.alias_of, found.known) == expected


def test_every_model_has_consistent_facts() -> None:
    """Numbers and rules that contradict each other would be a slip of the file."""
    for facts in _CATALOG:
        assert 64_000 <= facts.max_output_tokens < facts.context_tokens
        assert facts.default_effort is None or facts.default_effort in facts.effort_levels
        assert facts.thinking_off is None or facts.thinking_off in facts.thinking_modes
        manual = ThinkingMode.ADAPTIVE not in facts.thinking_modes
        assert facts.prefill is manual
        assert (facts.sampling is Sampling.ACCEPTED) is (ThinkingMode.ENABLED in facts.thinking_modes)
        assert facts.id == "claude-mythos-preview" or facts.prices
        assert all(tier.cache_read < tier.input < tier.cache_write_5m for tier in facts.prices)


@pytest.mark.parametrize(
    ("model", "forced", "sampling", "mid", "prefix"),
    [
        ("claude-opus-5-5", ForcedToolChoice.REFUSED, Sampling.REFUSED, True, 512),
        ("claude-opus-5", ForcedToolChoice.ACCEPTED, Sampling.REFUSED, True, 512),
        ("claude-opus-4-7", ForcedToolChoice.ACCEPTED, Sampling.REFUSED, False, 2048),
        ("claude-sonnet-5-5", ForcedToolChoice.REFUSED, Sampling.DEFAULTS_ONLY, True, 512),
        ("claude-sonnet-5", ForcedToolChoice.ACCEPTED, Sampling.DEFAULTS_ONLY, False, 1024),
        ("claude-haiku-5-5", ForcedToolChoice.ACCEPTED, Sampling.DEFAULTS_ONLY, True, 512),
        ("claude-sonnet-4-6", ForcedToolChoice.UNLESS_ENABLED, Sampling.ACCEPTED, False, 1024),
        ("claude-haiku-4-5", ForcedToolChoice.UNLESS_ENABLED, Sampling.ACCEPTED, False, 4096),
    ],
)
def test_rules_by_model(
    model: str,
    forced: ForcedToolChoice,
    sampling: Sampling,
    mid: bool,
    prefix: int,
) -> None:
    """A sample of the published table."""
    facts = _CATALOG.facts(model)
    assert (facts.forced_tool_choice, facts.sampling) == (forced, sampling)
    assert (facts.mid_conversation_system, facts.min_cache_prefix_tokens) == (mid, prefix)


def test_prices_have_tiers() -> None:
    """Haiku 5.5 costs five times as much for prompts over 100,000 tokens."""
    facts = _CATALOG.facts("claude-haiku-5-5")
    cheap, dear = facts.price(100_000), facts.price(100_001)
    assert cheap is not None
    assert dear is not None
    assert (cheap.input, dear.input) == (0.1, 0.5)
    assert _CATALOG.facts("claude-opus-5-5").price(10**6) == Price(4, 20, 5, 8, 0.2)


def test_unknown_models_get_cautious_facts() -> None:
    """No price, no shared limits, and the rules of the family's newest; never an exception."""
    facts = _CATALOG.facts("claude-opus-9-20300101")
    newest = _CATALOG.facts("claude-opus-5-5")
    assert (facts.id, facts.price(1), facts.limit_class) == ("claude-opus-9-20300101", None, "opus-other")
    assert (facts.forced_tool_choice, facts.sampling) == (newest.forced_tool_choice, newest.sampling)
    assert _CATALOG.facts("gpt-5").limit_class == "sonnet-other"
    assert _CATALOG.facts("").limit_class == "sonnet-other"


def test_limit_classes_group_what_shares_its_limits() -> None:
    """Opus 4 models share one bucket, Opus 5 has its own."""
    assert _CATALOG.limit_class("claude-opus-4-8") == _CATALOG.limit_class("claude-opus-4-5")
    assert _CATALOG.limit_class("claude-opus-5") != _CATALOG.limit_class("claude-opus-4-8")
    assert _CATALOG.limit_class("claude-mythos-5") == _CATALOG.limit_class("claude-mythos-5-2")
    assert _CATALOG.limit_class("claude-fable-5") == _CATALOG.limit_class("claude-fable-5-1")
    assert _CATALOG.limit_class("claude-fable-5-2") != _CATALOG.limit_class("claude-fable-5-1")


def test_the_list_follows_the_calendar() -> None:
    """A retired model is listed no more."""
    gone = set(_CATALOG.known_ids(_BEFORE)) - set(_CATALOG.known_ids(_AFTER))
    assert gone == {"claude-sonnet-4-5-20250929"}
    assert _CATALOG.default_model == "claude-sonnet-5-5"


def test_the_dearest_price_is_what_budgets_assume() -> None:
    """An unknown model is never cheaper than its family."""
    haiku, everything = _CATALOG.dearest("haiku"), _CATALOG.dearest("unheard")
    assert haiku is not None
    assert everything is not None
    assert (haiku.output, everything.output) == (5, 50)


def test_an_overlay_changes_what_it_names() -> None:
    """New models come first, known ones change field by field, retired ids are added."""
    new = {"id": "claude-sonnet-6", "family": "sonnet", "limit_class": "sonnet-6"}
    limits = {"context_tokens": 10**6, "max_output_tokens": 128_000}
    overlay = {
        "as_of": "2027-01-01",
        "models": [new | limits, {"id": "claude-opus-5-5", "retires_at": "2027-02-01"}],
        "retired": [{"family": "haiku", "retired_at": "2027-01-01", "ids": ["claude-haiku-old"]}],
    }
    catalog = Catalog.load(msgspec.json.encode(overlay))
    today = dt.date(2027, 2, 1)
    assert catalog.as_of == dt.date(2027, 1, 1)
    assert catalog.default_model == "claude-sonnet-6"
    assert catalog.resolve("opus", today=today, aliases=_ON).model == "claude-opus-5"
    assert catalog.resolve("claude-haiku-old", today=today, aliases=_ON).model == "claude-haiku-5-5"
    assert catalog.resolve("claude-opus-4-20250514", today=today, aliases=_ON).model == "claude-opus-5"
    assert catalog.facts("claude-opus-5-5").max_output_tokens == 128_000


@pytest.mark.parametrize(
    "overlay",
    [
        b"",
        b"[]",
        b"{",
        b'{"models":[{}]}',
        b'{"models":[{"id":3}]}',
        b'{"models":[{"id":"new"}]}',
        b'{"models":[{"id":"claude-opus-5-5","colour":"red"}]}',
        b'{"as_of":"yesterday"}',
        b'{"surprise":1}',
    ],
)
def test_a_wrong_overlay_is_refused(overlay: bytes) -> None:
    """A slip in the operator's file stops the start instead of the first request."""
    with pytest.raises(CatalogError):
        Catalog.load(overlay)


def test_facts_are_old_after_ninety_days() -> None:
    """Protects operators from costs at prices that have changed since."""
    assert not _CATALOG.outdated(_CATALOG.as_of + dt.timedelta(days=90))
    assert _CATALOG.outdated(_CATALOG.as_of + dt.timedelta(days=91))
