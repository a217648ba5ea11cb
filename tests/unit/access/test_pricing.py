"""What budgets are charged."""

import msgspec
import pytest

from proxy.access.pricing import BudgetPricing, CatalogPricing
from proxy.model.catalog import Catalog
from proxy.model.message import CacheCreation, Usage

_CATALOG = Catalog.load(
    msgspec.json.encode(
        {
            "models": [
                {
                    "id": "claude-opus-9",
                    "family": "opus",
                    "limit_class": "opus-9",
                    "context_tokens": 1000,
                    "max_output_tokens": 1000,
                    "prices": [
                        {
                            "input": 2,
                            "output": 10,
                            "cache_write_5m": 3,
                            "cache_write_1h": 4,
                            "cache_read": 0.5,
                            "up_to_prompt_tokens": 100,
                        },
                        {
                            "input": 20,
                            "output": 1000,
                            "cache_write_5m": 30,
                            "cache_write_1h": 40,
                            "cache_read": 5,
                        },
                    ],
                }
            ]
        }
    )
)


@pytest.mark.parametrize(
    ("usage", "micro_usd"),
    [
        (Usage(), 0),
        (Usage(input_tokens=10, output_tokens=3), 50),
        (Usage(cache_creation_input_tokens=10), 30),
        (
            Usage(cache_creation_input_tokens=10, cache_creation=CacheCreation(ephemeral_1h_input_tokens=4)),
            34,
        ),
        (Usage(cache_read_input_tokens=3), 2),
        (Usage(input_tokens=50, cache_read_input_tokens=51, output_tokens=1), 2255),
    ],
)
def test_every_sort_of_token_has_its_price_by_the_length_of_the_prompt(usage: Usage, micro_usd: int) -> None:
    """Protects budgets from a price of the wrong tier, or of the wrong sort of token."""
    assert CatalogPricing(_CATALOG).cost_micro_usd("claude-opus-9", usage) == micro_usd


def test_a_model_without_a_price_costs_a_budget_what_the_dearest_of_its_family_does() -> None:
    """Protects a budget from a model nobody knows, which would be free."""
    usage, plain = Usage(output_tokens=2), CatalogPricing(_CATALOG)
    assert plain.cost_micro_usd("claude-opus-unknown", usage) is None
    assert BudgetPricing(plain, _CATALOG).cost_micro_usd("claude-opus-unknown", usage) == 2000
    assert BudgetPricing(plain, _CATALOG).cost_micro_usd("claude-opus-9", usage) == 20
