"""What an answer cost, in whole millionths of a US dollar.

A price of so many dollars for a million tokens is a price of so many micro-dollars for one. Everything is counted in
whole picodollars and rounded once, at the end of one answer: sums over answers are exact, however they are grouped.

Source: the pricing page of Anthropic's documentation, for which kinds of tokens are priced apart, for what is
multiplied with what, and for the prompt that decides on a tier: cached tokens are part of it.
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from proxy.model.catalog import Catalog, ModelFacts, Price
from proxy.model.message import CacheCreation, Usage

__all__ = ["Priced", "Pricing", "Tokens"]

MOST: Final = 1_000_000_000
"""No answer has more tokens than this; a larger count is a mistake of the upstream's and is cut down to it."""

_PICO_IN_MICRO: Final = 1_000_000
_HALF_A_MICRO: Final = _PICO_IN_MICRO // 2
_STANDARD: Final = "standard"
_FAST: Final = "fast"
_NOTHING_WRITTEN: Final = CacheCreation(0, 0)


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """What an answer used, by how it is priced. Nothing is counted twice, and nothing is negative.

    Attributes:
        input: of the prompt, neither read from the cache nor written to it.
        output: of the answer, its thinking included.
        cache_write_5m: of the prompt, written to the cache for five minutes, or for a time that was not told.
        cache_write_1h: of the prompt, written to the cache for an hour.
        cache_read: of the prompt, read from the cache.
        web_searches: searches the provider made for it; no tokens, but priced.
    """

    input: int = 0
    output: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0
    web_searches: int = 0

    @classmethod
    def of(cls, usage: Usage) -> "Tokens":
        """What a usage tells; what it does not tell counts as none."""
        split, tools = usage.cache_creation, usage.server_tool_use
        written = _count(usage.cache_creation_input_tokens) if usage.cache_creation_input_tokens else 0
        written_1h = 0
        if split is not None:
            # the total may be told again later in a stream, and grow; the split is told once
            written_1h = _count(split.ephemeral_1h_input_tokens)
            written = max(written - written_1h, _count(split.ephemeral_5m_input_tokens))
        return cls(
            _count(usage.input_tokens),
            _count(usage.output_tokens),
            written,
            written_1h,
            _count(usage.cache_read_input_tokens) if usage.cache_read_input_tokens else 0,
            _count(tools.web_search_requests) if tools is not None else 0,
        )

    @property
    def prompt(self) -> int:
        """All tokens of the prompt."""
        return self.input + self.cache_write_5m + self.cache_write_1h + self.cache_read

    @property
    def total(self) -> int:
        """All tokens."""
        return self.prompt + self.output


class Priced(msgspec.Struct, frozen=True, gc=False):
    """What an answer cost.

    Attributes:
        tier: the price list it fell under: ``standard``, ``over_N`` for prompts of more than N tokens, or ``fast``;
            ``+us`` and ``+batch`` are added where those multiply it.
        micro_usd: millionths of a US dollar.
    """

    tier: str
    micro_usd: int


class _Rates(msgspec.Struct, frozen=True, gc=False):
    """Picodollars for one token of each sort."""

    tier: str
    up_to_prompt_tokens: int | None
    input: int
    output: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int


class Pricing:
    """The prices of a catalog, ready to be multiplied."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._us = Fraction(str(catalog.us_inference_factor))
        self._batch = Fraction(str(catalog.batch_factor))
        self._search_micro_usd = _million_times(catalog.web_search_usd)
        self._lists: dict[str, tuple[_Rates, ...]] = {}
        self._fast: dict[str, _Rates] = {}
        for facts in catalog:
            rates, fast = tuple(_tiers(facts)), _fast(facts)
            for name in (facts.id, *facts.aliases):
                self._lists[name] = rates
                if fast is not None:
                    self._fast[name] = fast

    def __contains__(self, model: str) -> bool:
        """Whether the catalog has the model, with a price or without one."""
        return model in self._lists

    def cost_micro_usd(self, model: str, usage: Usage) -> int | None:
        """What an answer cost; None where no price is known."""
        priced = self.priced(model, usage, Tokens.of(usage))
        return priced.micro_usd if priced is not None else None

    def assumed_micro_usd(self, model: str, usage: Usage) -> int:
        """The same for budgets: a model without a price costs what the dearest of its family does."""
        asked, answered, read = usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens or 0
        if (
            asked is not None
            and answered is not None
            and asked >= 0
            and answered >= 0
            and read >= 0
            and asked + answered + read <= MOST
            and not usage.cache_creation_input_tokens
            and usage.server_tool_use is None
            and usage.speed != _FAST
            and usage.inference_geo != "us"
            and usage.service_tier != "batch"
            and ((written := usage.cache_creation) is None or written == _NOTHING_WRITTEN)
        ):
            # in one step, as most answers have nothing else that is priced apart, or that changes the prices
            for rates in self._lists.get(model, ()):
                if rates.up_to_prompt_tokens is None or asked + read <= rates.up_to_prompt_tokens:
                    pico = asked * rates.input + answered * rates.output + read * rates.cache_read
                    return (pico + _HALF_A_MICRO) // _PICO_IN_MICRO
        known = self.cost_micro_usd(model, usage)
        if known is not None:
            return known
        price = self._catalog.dearest(self._catalog.facts(model).family)
        if price is None:
            return 0
        return _rounded(_pico(Tokens.of(usage), _list("", price, Fraction(1), _million_times(price.output))))

    def expected_micro_usd(self, model: str, input_tokens: int, output_tokens: int) -> int:
        """The same for an answer that is yet to come, of which nothing but its size can be told."""
        for rates in self._lists.get(model, ()):
            if rates.up_to_prompt_tokens is None or input_tokens <= rates.up_to_prompt_tokens:
                pico = input_tokens * rates.input + output_tokens * rates.output
                return (pico + _HALF_A_MICRO) // _PICO_IN_MICRO
        return self.assumed_micro_usd(model, Usage(input_tokens=input_tokens, output_tokens=output_tokens))

    def priced(self, model: str, usage: Usage, tokens: Tokens) -> Priced | None:
        """What an answer cost, and under which list; None where no price is known.

        Args:
            model: the id that was asked.
            usage: as the upstream told it; it says whether the answer was fast, a batch's, or from the United States.
            tokens: those of `usage`.
        """
        rates = self._rates(model, usage, tokens)
        if rates is None:
            return None
        pico: int | Fraction = _pico(tokens, rates)
        tier = rates.tier
        if usage.inference_geo == "us":
            tier, pico = f"{tier}+us", pico * self._us
        if usage.service_tier == "batch":
            tier, pico = f"{tier}+batch", pico * self._batch
        return Priced(tier, _rounded(pico) + tokens.web_searches * self._search_micro_usd)

    def _rates(self, model: str, usage: Usage, tokens: Tokens) -> _Rates | None:
        if usage.speed == _FAST:
            return self._fast.get(model)
        for rates in self._lists.get(model, ()):
            if rates.up_to_prompt_tokens is None or tokens.prompt <= rates.up_to_prompt_tokens:
                return rates
        return None


def _pico(tokens: Tokens, rates: _Rates) -> int:
    return (
        tokens.input * rates.input
        + tokens.output * rates.output
        + tokens.cache_write_5m * rates.cache_write_5m
        + tokens.cache_write_1h * rates.cache_write_1h
        + tokens.cache_read * rates.cache_read
    )


def _tiers(facts: ModelFacts) -> Iterator[_Rates]:
    tier = _STANDARD
    for price in facts.prices:
        yield _list(tier, price, Fraction(1), _million_times(price.output))
        tier = f"over_{price.up_to_prompt_tokens}"


def _fast(facts: ModelFacts) -> _Rates | None:
    """The list of fast mode: what is read from and written to the cache costs more by as much as the input does."""
    if facts.fast_price is None or not facts.prices:
        return None
    price = facts.prices[-1]
    factor = Fraction(str(facts.fast_price.input)) / Fraction(str(price.input))
    return _list(_FAST, price, factor, _million_times(facts.fast_price.output))


def _list(tier: str, price: Price, factor: Fraction, output: int) -> _Rates:
    return _Rates(
        tier,
        price.up_to_prompt_tokens,
        round(_million_times(price.input) * factor),
        output,
        round(_million_times(price.cache_write_5m) * factor),
        round(_million_times(price.cache_write_1h) * factor),
        round(_million_times(price.cache_read) * factor),
    )


def _million_times(figure: float) -> int:
    """A figure as it was written, times a million: of dollars micro-dollars, of micro-dollars picodollars."""
    return round(Decimal(str(figure)) * 1_000_000)


def _rounded(pico: int | Fraction) -> int:
    """The nearest whole micro-dollar; from the middle, the higher one."""
    return (2 * pico + _PICO_IN_MICRO) // (2 * _PICO_IN_MICRO)


def _count(told: int | None) -> int:
    return told if told is not None and 0 <= told <= MOST else min(max(told or 0, 0), MOST)
