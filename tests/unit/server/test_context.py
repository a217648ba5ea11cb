"""What handlers share."""

from tests.unit.server.building import services


def test_a_suffix_that_asks_for_thinking_is_split_off() -> None:
    """Protects the upstream from a model it does not know."""
    found = services().resolve("claude-sonnet-5-5-think")
    assert (found.model, found.think) == ("claude-sonnet-5-5", True)
