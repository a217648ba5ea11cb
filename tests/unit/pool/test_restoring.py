"""States that were kept over a restart."""

from dataclasses import replace

import pytest

from proxy.credentials import Kind
from proxy.pool.failure import Failure, FailureClass
from proxy.pool.health import HealthChange, Reason, State
from proxy.pool.outcomes import Exhausted, ExhaustedReason, Success
from tests.unit.pool.building import AUTH, OTHER_CLASS, RATE, RESET, WANT, Bench, bench, credential, failure

NOW = 1_795_000_000_000
ROW = HealthChange(
    name="a",
    state=State.COOLING,
    reason=Reason.RATE_LIMIT,
    since_unix_ms=NOW - 1000,
    until_unix_ms=NOW + 60_000,
    limit_class=WANT.limit_class,
)


def restored(*rows: HealthChange) -> Bench:
    """A pool of two started with these rows."""
    table = bench("a", "b")
    table.pool.restore(rows)
    return table


@pytest.mark.parametrize(
    "found",
    [RATE, AUTH, failure(FailureClass.BILLING), failure(FailureClass.AUTH_DEAD), failure(FailureClass.RATE)],
)
def test_a_state_survives_a_restart(found: Failure) -> None:
    """Protects cooling and disabled credentials from being forgotten, to the second."""
    table = bench("a", "b")
    changes = table.end(found, "a").changes
    after = restored(*changes)
    assert after.word("a") == table.word("a")
    assert after.pool.snapshot()[0].state == table.pool.snapshot()[0].state
    assert (
        after.pool.snapshot()[0].classes.get(WANT.limit_class)
        == table.pool.snapshot()[0].classes.get(WANT.limit_class)
        or table.word("a") != "cooling(rate_limit)"
    )


def test_the_rest_of_the_time_is_waited_for() -> None:
    """Protects the deadline: what has passed while we were down counts."""
    table = restored(replace(ROW, until_unix_ms=NOW + 10_000))
    assert set(table.names(4)) == {"b"}
    assert table.pool.next_deadline_s == table.clock.now_s + 10
    assert set(table.names(4, OTHER_CLASS)) == {"a", "b"}
    table.clock.advance(10)
    assert "a" in table.names(2)


@pytest.mark.parametrize(
    ("reason", "limit_class", "longest_s"),
    [
        (Reason.RATE_LIMIT, "sonnet-5", 3605),
        (Reason.FAULTS, "sonnet-5", 300),
        (Reason.AUTH, "", 300),
        (Reason.BILLING, "", 32 * 86_400),
        (Reason.BLOCKED, "", 900),
    ],
)
def test_a_deadline_far_ahead_is_brought_back_to_its_bound(
    reason: Reason, limit_class: str, longest_s: float
) -> None:
    """Protects against a wall clock that jumped: nothing is out of use for ever."""
    row = replace(
        ROW, reason=reason, limit_class=limit_class, until_unix_ms=NOW + 10**12, since_unix_ms=10**15
    )
    table = restored(row, replace(row, name="b"))
    found = table.pick()
    assert isinstance(found, Exhausted)
    assert found.retry_after_s == longest_s
    view = table.pool.snapshot()[0]
    state = view.classes[limit_class] if limit_class else view.state
    assert state.since_unix_ms == NOW


def test_a_deadline_in_the_past_leaves_a_trial() -> None:
    """Protects the first traffic after a restart: one request tries what was out of use."""
    table = restored(replace(ROW, until_unix_ms=NOW - 1), replace(ROW, name="b", until_unix_ms=NOW - 1))
    assert [table.lease().trial, table.lease().trial] == [True, True]


def test_a_ladder_goes_on_where_it_was() -> None:
    """Protects against a restart that starts a flapping credential's times anew."""
    table = bench("a", "b")
    for _ in range(4):
        table.end(RESET, "a")
    after = restored(*table.end(RESET, "a").changes)
    after.clock.advance(30)
    assert after.left_s(after.end(RESET, "a").changes[0]) == 60


def test_a_key_refused_before_the_restart_is_disabled_by_the_next_refusal() -> None:
    """Protects the rule of two refusals over a restart."""
    table = restored(*bench("a", "b").end(AUTH, "a").changes)
    table.clock.advance(60)
    assert table.end(AUTH, "a").changes[0].state is State.DISABLED


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, name="nobody"),
        replace(ROW, state=State.READY),
        replace(ROW, reason=None),
        replace(ROW, until_unix_ms=None),
        replace(ROW, limit_class=""),
        replace(ROW, model="claude-sonnet-5"),
        replace(ROW, reason=Reason.AUTH),
        replace(ROW, reason=Reason.MANUAL, limit_class=""),
        replace(ROW, reason=Reason.PERMISSION, limit_class=""),
        replace(ROW, state=State.DISABLED),
        replace(ROW, state=State.DISABLED, reason=Reason.BILLING, limit_class=""),
    ],
)
def test_a_row_that_makes_no_sense_is_passed_over(row: HealthChange) -> None:
    """Protects the start from what an older or a damaged store may hold."""
    table = restored(row)
    assert sorted(table.names(2)) == ["a", "b"]
    assert table.pool.next_deadline_s is None


def test_a_closed_model_can_be_restored() -> None:
    """Protects callers that keep them all the same."""
    table = bench("a")
    (change,) = table.end(failure(FailureClass.PERMISSION)).changes
    assert not change.durable
    after = bench("a")
    after.pool.restore([change])
    assert after.pick() == Exhausted(ExhaustedReason.PERMISSION)


def test_what_the_configuration_turned_off_stays_off_for_that_reason() -> None:
    """Protects the word an operator reads: the file says off, whatever the store remembers."""
    table = bench(credential("a", enabled=False), credential("web", kind=Kind.CLAUDE_WEB))
    dead = replace(ROW, state=State.DISABLED, reason=Reason.AUTH, limit_class="", until_unix_ms=None)
    table.pool.restore([dead, replace(dead, name="web")])
    assert (table.word("a"), table.word("web")) == ("disabled(manual)", "disabled(auth)")
    table.pool.reset("web")
    assert table.end(Success()).grants == ()


def test_a_long_step_of_a_ladder_of_the_operators_own_survives() -> None:
    """Protects settings: a time the pool itself gave is never cut short by a restart."""
    table = bench("a", "b", rate_ladder_s=(7200.0,), retry_after_max_s=60.0)
    changes = table.end(RATE, "a").changes
    after = bench("a", "b", rate_ladder_s=(7200.0,), retry_after_max_s=60.0)
    after.pool.restore(changes)
    assert after.pool.next_deadline_s == after.clock.now_s + 7200
