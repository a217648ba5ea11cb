"""What a model's name means is looked up once a day."""

from proxy.server.context import Services
from tests.support.clock import FakeClock
from tests.unit.server.building import services


def _clock(shared: Services) -> FakeClock:
    assert isinstance(shared.clock, FakeClock)
    return shared.clock


def test_a_name_means_what_the_catalog_says_today() -> None:
    """Protects clients from a name that was right yesterday: models retire at midnight UTC."""
    shared = services()
    clock = _clock(shared)
    retired = [facts for facts in shared.catalog if facts.retires_at is not None]
    for facts in retired:
        assert facts.retires_at is not None
        days = facts.retires_at.toordinal() - 719_163
        clock.wall_ms = days * 86_400_000 - 1
        assert shared.resolve(facts.id).model == facts.id
        clock.wall_ms += 1
        assert shared.resolve(facts.id).model != facts.id
    assert retired


def test_a_name_is_looked_up_once_a_day() -> None:
    """Protects each request from reading the catalog."""
    shared = services()
    first = shared.resolve("sonnet")
    assert shared.resolve("sonnet") is first
    _clock(shared).jump(86_400)
    assert shared.resolve("sonnet") == first
    assert shared.resolve("sonnet") is not first


def test_names_of_clients_take_a_bounded_memory() -> None:
    """Protects memory from a thousand names, and from one very long one."""
    shared = services()
    for number in range(5000):
        shared.resolve(f"model-{number}")
    shared.resolve("x" * 100_000)
    assert len(shared._resolved) <= 1024
    assert max(map(len, shared._resolved)) <= 128


def test_a_suffix_that_asks_for_thinking_is_split_off() -> None:
    """Protects the upstream from a model it does not know."""
    found = services().resolve("claude-sonnet-5-5-think")
    assert (found.model, found.think) == ("claude-sonnet-5-5", True)
