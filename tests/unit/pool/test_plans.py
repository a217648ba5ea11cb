"""Who can serve each sort of request."""

from proxy.credentials import Kind
from proxy.exchange import Operation
from proxy.pool import Exhausted, ExhaustedReason, Failed, FailureClass, Want
from tests.unit.pool.building import WANT, bench, credential, failure

FILES = Want(Operation.FILES, Operation.FILES, "client")


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
