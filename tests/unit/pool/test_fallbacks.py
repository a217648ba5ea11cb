"""Last resorts: when they are asked, how often, and that they never speak for those they stand in for."""

import pytest

from proxy.credentials import Kind
from proxy.exchange import Operation
from proxy.pool.choosing import Sorts
from proxy.pool.failure import FailureClass
from proxy.pool.members import Lease
from proxy.pool.outcomes import Exhausted, ExhaustedReason, Failed, Want
from proxy.pool.retry import Again, Stop, StopReason, Walk
from tests.unit.pool.building import AUTH, RATE, SERVER, WANT, Bench, bench, credential, failure

OWN = credential("own", kind=Kind.OPENAI)
OTHER = credential("other", kind=Kind.OPENAI, tier=1)
UNKNOWN = failure(FailureClass.UNKNOWN, status=418)
BAD = failure(FailureClass.REQUEST, status=400)


def _next(table: Bench, walk: Walk, want: Want = WANT) -> Lease:
    lease = table.pool.pick(want, walk)
    assert isinstance(lease, Lease), lease
    return lease


def test_a_last_resort_of_any_kind_comes_after_every_other_credential() -> None:
    """Protects the order where the last resort is Anthropic's own API under a key of its own."""
    table = bench(credential("last", fallback=True), credential("a", tier=9))
    assert set(table.names(3)) == {"a"}
    table.end(RATE, "a")
    assert set(table.names(3)) == {"last"}


@pytest.mark.parametrize("found", [SERVER, RATE, AUTH, UNKNOWN])
def test_what_a_last_resort_says_is_not_the_pools_word(found: object) -> None:
    """Protects the client's answer: that Claude's limits end in five seconds, whatever else failed meanwhile."""
    assert isinstance(found, type(SERVER))
    table = bench("a", OWN, OTHER)
    table.end(RATE, "a")
    walk = table.walk()
    for name in ("own", "other"):
        lease = _next(table, walk)
        assert lease.name == name
        table.pool.settle(lease, Failed(found))
        assert walk.after(found, lease) == Again()
    assert table.pool.pick(WANT, walk) == Exhausted(ExhaustedReason.RATE_LIMITED, 5)
    assert walk.last_failure is None


def test_a_credential_that_has_recovered_meanwhile_is_asked_after_a_last_resort_failed() -> None:
    """Protects the client: a walk that began with a last resort is not bound to it."""
    table = bench("a", OWN)
    table.end(RATE, "a")
    walk = table.walk()
    lease = _next(table, walk)
    table.clock.advance(6)
    table.pool.settle(lease, Failed(SERVER))
    assert walk.after(SERVER, lease) == Again()
    assert _next(table, walk).name == "a"


def test_where_there_is_nothing_but_last_resorts_their_word_counts() -> None:
    """Protects clients of a pool that speaks to other APIs alone: its failures are told as they are."""
    table = bench(OWN, OTHER)
    walk = table.walk()
    first = _next(table, walk)
    table.pool.settle(first, Failed(RATE))
    assert walk.after(RATE, first) == Again()
    second = _next(table, walk)
    table.pool.settle(second, Failed(SERVER))
    assert walk.after(SERVER, second) == Stop(StopReason.REFUSED)
    assert walk.last_failure is SERVER


def test_a_request_a_last_resort_refuses_is_answered_with_that() -> None:
    """Protects other APIs from a request that was wrong: it goes no further."""
    table = bench("a", OWN, OTHER)
    table.end(RATE, "a")
    walk = table.walk()
    lease = _next(table, walk)
    assert walk.after(BAD, lease) == Stop(StopReason.NOT_RETRYABLE)
    assert walk.last_failure is BAD


def test_while_the_provider_is_spared_only_last_resorts_are_asked() -> None:
    """Protects an overloaded provider, and its clients, who can be answered elsewhere."""
    table = bench("a", OWN)
    walk = table.walk()
    walk.spare_the_provider()
    assert _next(table, walk).name == "own"
    assert isinstance(table.pool.pick(WANT, walk), Exhausted)


def test_under_another_model_a_last_resort_is_not_asked_again() -> None:
    """Protects the promise of one attempt each for a whole request, whichever models it is asked under."""
    table = bench(credential("a", models=("claude-sonnet-*",)), OWN, OTHER)
    walk = table.walk()
    for name in ("a", "own"):
        lease = _next(table, walk)
        assert lease.name == name
        found = failure(FailureClass.OVERLOADED, should_retry=False)
        table.pool.settle(lease, Failed(found))
        walk.after(found, lease)
    following = walk.for_next_model()
    assert _next(table, following, Want("claude-opus-5", "opus-5", "client")).name == "other"
    assert isinstance(table.pool.pick(Want("claude-opus-5", "opus-5", "client"), following), Exhausted)


def test_no_other_api_counts_tokens() -> None:
    """Protects a count from being asked of an API that has no such call."""
    want = Want("claude-sonnet-5", Operation.COUNT_TOKENS, "client")
    table = bench(OWN)
    assert table.pick(want) == Exhausted(ExhaustedReason.NO_MODEL)
    assert table.lease().name == "own"


@pytest.mark.parametrize(
    ("credentials", "sorts"),
    [
        (("a",), Sorts(ordinary=True, fallback=False)),
        (("a", OWN), Sorts(ordinary=True, fallback=True)),
        ((OWN,), Sorts(ordinary=False, fallback=True)),
        ((credential("a", fallback=True),), Sorts(ordinary=False, fallback=True)),
        ((credential("a", models=("x",)),), Sorts(ordinary=False, fallback=False)),
    ],
)
def test_the_pool_tells_which_sorts_can_serve(credentials: tuple[object, ...], sorts: Sorts) -> None:
    """Protects the choice of what to prepare a request for, which does not depend on anybody's health."""
    table = bench(*credentials)  # type: ignore[arg-type]  # names and credentials, as `bench` takes them
    assert table.pool.sorts(WANT) == sorts
