"""What requests cost, as budgets count it: in millionths of a US dollar."""

import math
from typing import Protocol

from proxy.model.catalog import Catalog, Price
from proxy.model.message import Usage


class Pricing(Protocol):
    """Knows prices."""

    def cost_micro_usd(self, model: str, usage: Usage) -> int | None:
        """What an answer cost, in millionths of a US dollar, rounded up; None where no price is known."""
        ...


class CatalogPricing:
    """Prices as the catalog of models has them: US dollars a million tokens are millionths a token."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def cost_micro_usd(self, model: str, usage: Usage) -> int | None:
        """See `Pricing.cost_micro_usd`."""
        price = self._catalog.facts(model).price(_prompt_tokens(usage))
        return None if price is None else _cost(price, usage)


class BudgetPricing:
    """The same for budgets: a model without a price costs what the dearest of its family does."""

    def __init__(self, pricing: Pricing, catalog: Catalog) -> None:
        self._pricing = pricing
        self._catalog = catalog

    def cost_micro_usd(self, model: str, usage: Usage) -> int:
        """What is taken off a budget."""
        known = self._pricing.cost_micro_usd(model, usage)
        if known is not None:
            return known
        price = self._catalog.dearest(self._catalog.facts(model).family)
        return 0 if price is None else _cost(price, usage)


def _prompt_tokens(usage: Usage) -> int:
    return (
        (usage.input_tokens or 0)
        + (usage.cache_creation_input_tokens or 0)
        + (usage.cache_read_input_tokens or 0)
    )


def _cost(price: Price, usage: Usage) -> int:
    written = usage.cache_creation_input_tokens or 0
    for_an_hour = 0
    if (creation := usage.cache_creation) is not None:
        for_an_hour = min(creation.ephemeral_1h_input_tokens or 0, written)
    return math.ceil(
        (usage.input_tokens or 0) * price.input
        + (usage.output_tokens or 0) * price.output
        + (written - for_an_hour) * price.cache_write_5m
        + for_an_hour * price.cache_write_1h
        + (usage.cache_read_input_tokens or 0) * price.cache_read
    )
