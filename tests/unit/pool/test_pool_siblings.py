"""Credentials of one organization share its limits, whenever that comes out."""

from dataclasses import replace

from proxy.pool.failure import FailureClass
from proxy.pool.health import Reason
from proxy.pool.outcomes import (
    Exhausted,
    ExhaustedReason,
    Failed,
    Success,
    Want,
)
from tests.unit.pool.building import (
    OTHER_CLASS,
    RATE,
    WANT,
    bench,
    credential,
    failure,
)


def test_a_limit_holds_for_who_turns_out_to_share_it() -> None:
    """Protects siblings from a useless call: the organization's limit was met before they were known to be of it."""
    table = bench("a", "b", "c")
    held = {lease.name: lease for lease in (table.lease(OTHER_CLASS) for _ in range(3))}
    mine = {lease.name: lease for lease in (table.lease() for _ in range(3))}
    table.pool.learn(mine["a"], "org", None)
    table.pool.settle(mine["a"], Failed(failure(FailureClass.RATE, retry_after_s=60.0)))
    table.pool.learn(held["b"], "org", None)
    table.pool.learn(held["c"], "other", None)
    (change,) = table.pool.settle(held["b"], Success()).changes
    assert (change.name, change.limit_class, change.reason) == ("b", WANT.limit_class, Reason.RATE_LIMIT)
    assert table.left_s(change) == 60
    assert set(table.names(4)) == {"c"}
    # what began before says nothing about it
    table.pool.settle(mine["b"], Success())
    assert table.word("b") == "cooling(rate_limit)"


def test_the_class_that_has_just_answered_is_not_closed_by_it() -> None:
    """Protects against taking a credential out of use for a limit it has been shown to be within."""
    table = bench("a", "b")
    mine = {lease.name: lease for lease in (table.lease(), table.lease())}
    table.pool.learn(mine["a"], "org", None)
    table.pool.settle(mine["a"], Failed(RATE))
    table.pool.learn(mine["b"], "org", None)
    assert table.word("b") == "ready"


def test_a_limit_holds_for_who_is_asked_in_its_class_for_the_first_time() -> None:
    """Protects siblings that serve other clients, and so had no part in the class when its limit was met."""
    table = bench(
        credential("a", organization="org"),
        credential("b", organization="org", clients=frozenset({"friend"})),
    )
    table.end(failure(FailureClass.RATE, retry_after_s=60.0), "a")
    found = table.pick(Want(WANT.model, WANT.limit_class, "friend"))
    assert found == Exhausted(ExhaustedReason.RATE_LIMITED, 60.0)


def test_ten_thousand_other_things_that_are_remembered_end_no_cooldown() -> None:
    """Protects a limit from being forgotten because much else is remembered meanwhile."""
    table = bench("a", "b")
    table.end(replace(RATE, retry_after_s=600.0), "a")
    for number in range(10_000):
        want = Want(f"claude-model-{number}", OTHER_CLASS.limit_class, "client")
        table.end(failure(FailureClass.NO_MODEL, status=404), "a", want)
    assert table.word("a") == "cooling(rate_limit)"
    assert set(table.names(10)) == {"b"}
    table.clock.advance(600)
    assert set(table.names(10)) == {"a", "b"}
