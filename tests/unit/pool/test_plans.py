"""Who can serve a request, by what its client key may use."""

import msgspec
import pytest

from proxy.pool.outcomes import Exhausted, ExhaustedReason, Want
from tests.unit.pool.building import WANT, bench, credential

_TWO = frozenset({"b", "c"})


def _only(*names: str) -> Want:
    return msgspec.structs.replace(WANT, only=frozenset(names))


def test_a_request_that_is_kept_to_some_credentials_turns_round_among_those() -> None:
    """Protects credentials that were bought for other clients."""
    table = bench("a", "b", "c")
    found = [table.pool.pick(msgspec.structs.replace(WANT, only=_TWO), table.walk()) for _ in range(4)]
    assert [getattr(lease, "name", None) for lease in found] == ["b", "c", "b", "c"]
    assert table.pool.sorts(_only("b")).anybody
    assert not table.pool.sorts(_only("nobody")).anybody


def test_two_keys_of_one_name_and_other_credentials_have_plans_of_their_own() -> None:
    """Protects a key from the plan that was made for the same client under other rules."""
    table = bench("a", "b")
    for name in ("a", "b", "a"):
        assert getattr(table.pool.pick(_only(name), table.walk()), "name", None) == name


def test_who_may_use_nobody_is_told_that_nobody_has_the_model() -> None:
    """Protects the pool's words, which the dispatcher tells apart."""
    table = bench("a")
    assert table.pool.pick(_only("b"), table.walk()) == Exhausted(ExhaustedReason.NO_MODEL)


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_home_is_no_way_past_what_a_key_may_use(name: str) -> None:
    """Protects credentials from a conversation that once was answered by them."""
    table = bench("a", "b")
    found = table.pool.pick_at(name, _only("b"), table.walk())
    assert (found is None) is (name == "a")


def test_both_lists_count_that_of_the_key_and_that_of_the_credential() -> None:
    """Protects a credential's own list of clients."""
    table = bench(credential("a", clients=frozenset({"another"})), "b")
    assert not table.pool.sorts(_only("a")).anybody
