"""Cost in whole micro-dollars: each sort of token at its own price, rounded once."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.catalog import Catalog, ModelFacts
from proxy.model.message import CacheCreation, OutputTokensDetails, ServerToolUse, Usage
from proxy.model.pricing import MOST, Priced, Pricing, Tokens

_CATALOG = Catalog.load()
_PRICING = Pricing(_CATALOG)
_MILLION = 1_000_000
_OPUS, _SONNET, _HAIKU = "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (Usage(), Tokens()),
        (Usage(input_tokens=3, output_tokens=7), Tokens(input=3, output=7)),
        (Usage(cache_read_input_tokens=5), Tokens(cache_read=5)),
        (Usage(cache_creation_input_tokens=9), Tokens(cache_write_5m=9)),
        (Usage(cache_creation=CacheCreation(4, 6)), Tokens(cache_write_5m=4, cache_write_1h=6)),
        (
            Usage(cache_creation_input_tokens=10, cache_creation=CacheCreation(4, 6)),
            Tokens(cache_write_5m=4, cache_write_1h=6),
        ),
        (
            Usage(cache_creation_input_tokens=15, cache_creation=CacheCreation(4, 6)),
            Tokens(cache_write_5m=9, cache_write_1h=6),
        ),
        (
            Usage(cache_creation_input_tokens=2, cache_creation=CacheCreation(4, 6)),
            Tokens(cache_write_5m=4, cache_write_1h=6),
        ),
        (Usage(output_tokens=8, output_tokens_details=OutputTokensDetails(5)), Tokens(output=8)),
        (Usage(server_tool_use=ServerToolUse(2, 3)), Tokens(web_searches=2)),
        (Usage(input_tokens=-4, output_tokens=10**30), Tokens(output=MOST)),
    ],
)
def test_no_token_is_counted_under_two_prices(usage: Usage, tokens: Tokens) -> None:
    """Protects against paying twice for what is told twice, and the sums from counts that no answer can have."""
    assert Tokens.of(usage) == tokens


@pytest.mark.parametrize(
    ("model", "usage", "priced"),
    [
        # the prices of a million tokens, one sort at a time
        (_OPUS, Usage(input_tokens=_MILLION), ("standard", 4_000_000)),
        (_OPUS, Usage(output_tokens=_MILLION), ("standard", 20_000_000)),
        (_OPUS, Usage(cache_creation=CacheCreation(_MILLION, 0)), ("standard", 5_000_000)),
        (_OPUS, Usage(cache_creation=CacheCreation(0, _MILLION)), ("standard", 8_000_000)),
        (_OPUS, Usage(cache_read_input_tokens=_MILLION), ("standard", 200_000)),
        # reading is no fixed part of the input's price
        (_SONNET, Usage(cache_read_input_tokens=_MILLION), ("standard", 100_000)),
        ("claude-sonnet-5", Usage(cache_read_input_tokens=_MILLION), ("standard", 200_000)),
        ("claude-fable-5-1", Usage(cache_read_input_tokens=_MILLION), ("standard", 250_000)),
        # the other name of a model
        ("claude-opus-4-5", Usage(input_tokens=_MILLION), ("standard", 5_000_000)),
        ("claude-opus-4-5-20251101", Usage(input_tokens=_MILLION), ("standard", 5_000_000)),
        # the tier goes by the whole prompt, cached tokens included, and holds for all tokens of the answer
        (_HAIKU, Usage(input_tokens=100_000, output_tokens=1000), ("standard", 10_500)),
        (_HAIKU, Usage(input_tokens=100_001, output_tokens=1000), ("over_100000", 52_501)),
        (_HAIKU, Usage(input_tokens=1, cache_read_input_tokens=100_000), ("over_100000", 5001)),
        (
            _HAIKU,
            Usage(cache_creation=CacheCreation(50_000, 50_000), cache_read_input_tokens=8),
            ("over_100000", 81_250),
        ),
        # what multiplies a price
        (_OPUS, Usage(input_tokens=1000, inference_geo="us"), ("standard+us", 4400)),
        (_OPUS, Usage(input_tokens=1000, inference_geo="global"), ("standard", 4000)),
        (_OPUS, Usage(input_tokens=1000, service_tier="batch"), ("standard+batch", 2000)),
        (_OPUS, Usage(input_tokens=1000, service_tier="standard"), ("standard", 4000)),
        (_OPUS, Usage(input_tokens=1000, output_tokens=1000, speed="fast"), ("fast", 48_000)),
        (_OPUS, Usage(cache_read_input_tokens=1000, speed="fast"), ("fast", 400)),
        (_OPUS, Usage(input_tokens=1000, speed="fast", inference_geo="us"), ("fast+us", 8800)),
        (_OPUS, Usage(input_tokens=1000, speed="standard"), ("standard", 4000)),
        # searches cost by the piece, whatever multiplies the tokens
        (_OPUS, Usage(server_tool_use=ServerToolUse(3), inference_geo="us"), ("standard+us", 30_000)),
        (_OPUS, Usage(), ("standard", 0)),
        # half a micro-dollar is one
        (_HAIKU, Usage(input_tokens=4), ("standard", 0)),
        (_HAIKU, Usage(input_tokens=5), ("standard", 1)),
        (_HAIKU, Usage(input_tokens=14), ("standard", 1)),
        # no price
        ("gpt-5", Usage(input_tokens=5), None),
        ("claude-opus-9", Usage(input_tokens=5), None),
        ("claude-mythos-preview", Usage(input_tokens=5), None),
        (_SONNET, Usage(input_tokens=5, speed="fast"), None),
        ("", Usage(), None),
    ],
)
def test_what_an_answer_costs(model: str, usage: Usage, priced: tuple[str, int] | None) -> None:
    """Protects the bill: every price of the list, its tiers, and what there is no price for."""
    found = _PRICING.priced(model, usage, Tokens.of(usage))
    assert found == (None if priced is None else Priced(*priced))
    assert _PRICING.cost_micro_usd(model, usage) == (None if priced is None else priced[1])


def test_a_model_without_a_price_is_known_all_the_same() -> None:
    """Protects the name of a model whose price has not been told from being lumped together with the others."""
    assert "claude-mythos-preview" in _PRICING
    assert "claude-opus-4-5" in _PRICING
    assert "gpt-5" not in _PRICING


def test_an_operators_prices_count() -> None:
    """Protects those who use another provider's model, or have prices of their own."""
    model = {
        "id": "gpt-9",
        "family": "gpt",
        "limit_class": "gpt-9",
        "context_tokens": 400_000,
        "max_output_tokens": 64_000,
        "prices": [
            {"input": 1.5, "output": 6, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 0.0125}
        ],
    }
    catalog = Catalog.load(msgspec.json.encode({"web_search_usd": 0.025, "models": [model]}))
    usage = Usage(
        input_tokens=10, output_tokens=10, cache_read_input_tokens=80, server_tool_use=ServerToolUse(1)
    )
    assert Pricing(catalog).cost_micro_usd("gpt-9", usage) == 15 + 60 + 1 + 25_000


_counts = st.integers(0, 2_000_000)


@given(
    st.sampled_from([facts for facts in _CATALOG if facts.prices]),
    st.builds(Tokens, _counts, _counts, _counts, _counts, _counts),
    st.sampled_from([None, "us"]),
)
def test_the_cost_is_the_exact_one_to_the_nearest_micro_dollar(
    facts: ModelFacts, tokens: Tokens, geo: str | None
) -> None:
    """Protects against floats on the way: the price list, in fractions, is at most half a micro-dollar away."""
    price = facts.price(tokens.prompt)
    assert price is not None
    parts = (
        (tokens.input, price.input),
        (tokens.output, price.output),
        (tokens.cache_write_5m, price.cache_write_5m),
        (tokens.cache_write_1h, price.cache_write_1h),
        (tokens.cache_read, price.cache_read),
    )
    plain = sum((count * Fraction(str(usd)) for count, usd in parts), start=Fraction(0))
    exact = plain * Fraction("1.1") if geo else plain
    usage = Usage(
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_creation=CacheCreation(tokens.cache_write_5m, tokens.cache_write_1h),
        cache_read_input_tokens=tokens.cache_read,
        inference_geo=geo,
    )
    found = _PRICING.cost_micro_usd(facts.id, usage)
    assert found is not None
    assert abs(found - exact) <= Fraction(1, 2)


def test_a_model_without_a_price_is_assumed_to_cost_what_the_dearest_of_its_family_does() -> None:
    """Protects a budget from a model nobody knows, which would be free."""
    usage = Usage(output_tokens=1_000_000)
    pricing, dearest = _PRICING, _CATALOG.dearest("opus")
    assert dearest is not None
    assert pricing.cost_micro_usd("claude-opus-99", usage) is None
    assert pricing.assumed_micro_usd("claude-opus-99", usage) == round(dearest.output * 1_000_000)
    assert pricing.assumed_micro_usd("claude-opus-5-5", usage) == pricing.cost_micro_usd(
        "claude-opus-5-5", usage
    )


@given(
    st.sampled_from((*_CATALOG, *(None,) * 3)),
    st.integers(0, MOST),
    st.integers(0, MOST),
)
def test_an_answer_to_come_is_priced_as_one_of_its_size_that_came(
    facts: ModelFacts | None, asked: int, answered: int
) -> None:
    """Protects budgets: what is set apart is what the answer will cost, also for models nobody knows."""
    model = "claude-opus-99" if facts is None else facts.id
    usage = Usage(input_tokens=asked, output_tokens=answered)
    expected = _PRICING.expected_micro_usd(model, asked, answered)
    assert expected == _PRICING.assumed_micro_usd(model, usage)


_told = st.one_of(st.none(), st.integers(-2, 300_000), st.integers(MOST - 1, MOST + 2))


@given(
    st.sampled_from([facts for facts in _CATALOG if facts.prices]),
    st.builds(
        Usage,
        input_tokens=_told,
        output_tokens=_told,
        cache_creation_input_tokens=_told,
        cache_read_input_tokens=_told,
        cache_creation=st.one_of(st.none(), st.builds(CacheCreation, _told, _told)),
        server_tool_use=st.one_of(st.none(), st.builds(ServerToolUse, st.integers(0, 3))),
        service_tier=st.sampled_from([None, "standard", "batch"]),
        speed=st.sampled_from([None, "standard"]),
        inference_geo=st.sampled_from([None, "global", "us"]),
    ),
)
def test_a_budget_pays_what_an_answer_cost(facts: ModelFacts, usage: Usage) -> None:
    """Protects budgets from a shorter way to a price that leads elsewhere."""
    assert _PRICING.assumed_micro_usd(facts.id, usage) == _PRICING.cost_micro_usd(facts.id, usage)


@pytest.mark.parametrize(
    "more",
    [
        {"cache_creation_input_tokens": 700},
        {"cache_creation": CacheCreation(0, 700)},
        {"server_tool_use": ServerToolUse(2)},
        {"service_tier": "batch"},
        {"inference_geo": "us"},
        {"speed": "fast"},
        {"cache_read_input_tokens": 5000},
    ],
)
def test_whatever_changes_a_price_changes_what_a_budget_pays(more: dict[str, object]) -> None:
    """Protects budgets: each sort of extra is seen by itself, too."""
    model = next(facts.id for facts in _CATALOG if facts.fast_price is not None and facts.prices)
    plain = Usage(input_tokens=1000, output_tokens=1000)
    usage = msgspec.structs.replace(plain, **more)
    assert _PRICING.assumed_micro_usd(model, usage) == _PRICING.cost_micro_usd(model, usage)
    assert _PRICING.assumed_micro_usd(model, usage) != _PRICING.assumed_micro_usd(model, plain)
