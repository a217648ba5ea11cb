"""What a model's name means is looked up once a day, and which model stands in for it."""

import pytest

from proxy.model.aliases import AliasRules
from proxy.model.catalog import Catalog
from proxy.model.names import ModelNames
from tests.support.clock import FakeClock

CATALOG = Catalog.load(None)


def names(*fallbacks: tuple[str, str], aliases: str = "on", clock: FakeClock | None = None) -> ModelNames:
    """The built-in catalog under these rules."""
    return ModelNames(CATALOG, AliasRules.parse(aliases), clock or FakeClock(), fallbacks)


def test_a_name_means_what_the_catalog_says_today() -> None:
    """Protects clients from a name that was right yesterday: models retire at midnight UTC."""
    clock = FakeClock()
    found = names(clock=clock)
    retired = [facts for facts in CATALOG if facts.retires_at is not None]
    for facts in retired:
        assert facts.retires_at is not None
        days = facts.retires_at.toordinal() - 719_163
        clock.wall_ms = days * 86_400_000 - 1
        assert found.resolve(facts.id).model == facts.id
        clock.wall_ms += 1
        assert found.resolve(facts.id).model != facts.id
    assert retired


def test_a_name_is_looked_up_once_a_day() -> None:
    """Protects each request from reading the catalog."""
    clock = FakeClock()
    found = names(clock=clock)
    first = found.resolve("sonnet")
    assert found.resolve("sonnet") is first
    clock.jump(86_400)
    assert found.resolve("sonnet") == first
    assert found.resolve("sonnet") is not first


def test_names_of_clients_take_a_bounded_memory() -> None:
    """Protects memory from a thousand names, and from one very long one."""
    found = names()
    for number in range(5000):
        found.resolve(f"model-{number}")
    found.resolve("x" * 100_000)
    assert len(found._resolved) <= 1024
    assert max(map(len, found._resolved)) <= 128


@pytest.mark.parametrize(
    ("model", "instead"),
    [
        ("claude-opus-5-5", ["claude-sonnet-5-5", "claude-haiku-5-5"]),
        ("claude-opus-5", ["claude-sonnet-5-5", "claude-haiku-5-5"]),
        ("claude-sonnet-5-5", ["claude-haiku-5-5"]),
        ("claude-haiku-5-5", []),
    ],
)
def test_a_model_is_stood_in_for_by_those_its_patterns_name(model: str, instead: list[str]) -> None:
    """Protects the order of a chain, the aliases in it, and that no model stands in for itself or comes twice."""
    found = names(
        ("claude-opus-*", "sonnet"),
        ("claude-*", "haiku"),
        ("claude-opus-5-5", "claude-sonnet-5-5"),
        ("claude-opus-5", "claude-opus-5"),
    )
    assert list(found.instead_of(model)) == instead


def test_without_a_rule_nothing_stands_in() -> None:
    """Protects clients from another model than they asked for."""
    assert list(names().instead_of("claude-opus-5-5")) == []


def test_names_alone_mean_the_same_and_nothing_stands_in() -> None:
    """Protects those for whom only the model they asked for may answer."""
    found = names(("claude-*", "haiku")).alone()
    assert found.resolve("opus").model == names().resolve("opus").model
    assert list(found.instead_of("claude-opus-5-5")) == []
