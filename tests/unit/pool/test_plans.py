"""Who can serve each sort of request."""

import msgspec
import pytest

from proxy.credentials import Kind
from proxy.exchange import Operation
from proxy.pool import Exhausted, ExhaustedReason, Failed, FailureClass, Want
from tests.unit.pool.building import WANT, bench, credential, failure

FILES = Want(Operation.FILES, Operation.FILES, "client")
_TWO = frozenset({"b", "c"})


def test_a_request_for_one_credential_is_served_by_no_other() -> None:
    """Protects objects: only who holds one can be asked for it, and its state is told as it is."""
    table = bench("a", "b", "c")
    bound = Want(WANT.model, WANT.limit_class, "client", "b")
    assert table.names(4, bound) == ["b"] * 4
    assert set(table.names(3)) == {"a", "b", "c"}
    walk = table.walk()
    lease = table.pool.pick(bound, walk)
    assert not isinstance(lease, Exhausted)
    table.end(failure(FailureClass.RATE, retry_after_s=60.0), "b")
    assert table.pick(bound) == Exhausted(ExhaustedReason.RATE_LIMITED, 60.0)
    assert set(table.names(4)) == {"a", "c"}


def test_a_credential_that_is_gone_leaves_its_objects_to_nobody() -> None:
    """The same for one that is no longer configured."""
    bound = Want(WANT.model, WANT.limit_class, "client", "gone")
    assert bench("a").pick(bound) == Exhausted(ExhaustedReason.NO_MODEL)


def test_files_and_batches_belong_to_a_key_whatever_its_models() -> None:
    """Protects uploads: a list of models does not speak of files, a list of clients does, and no other API has them."""
    table = bench(
        credential("a", models=("claude-haiku-*",)),
        credential("b", kind=Kind.OPENAI),
        credential("c", clients=frozenset({"friend"})),
    )
    assert set(table.names(4, FILES)) == {"a"}
    assert set(table.names(4, Want(Operation.BATCHES, Operation.BATCHES, "friend"))) == {"a", "c"}


def test_a_limit_on_files_leaves_messages_alone() -> None:
    """Protects answers from a limit of uploads: the two are classes of their own."""
    table = bench("a")
    table.pool.settle(table.lease(FILES), Failed(failure(FailureClass.RATE, retry_after_s=60.0)))
    assert table.pick(FILES) == Exhausted(ExhaustedReason.RATE_LIMITED, 60.0)
    assert table.names(1) == ["a"]


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


def test_a_request_for_one_credential_keeps_to_those_its_key_may_use() -> None:
    """Protects credentials that were bought for other clients, also where they hold what is asked for."""
    table = bench("a", "b")
    bound = msgspec.structs.replace(_only("b"), credential="a")
    assert table.pick(bound) == Exhausted(ExhaustedReason.NO_MODEL)
    assert table.names(2, msgspec.structs.replace(_only("a", "b"), credential="a")) == ["a", "a"]
