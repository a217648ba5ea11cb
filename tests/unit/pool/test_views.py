"""The pool as people see it."""

import msgspec

from proxy.credentials import Kind
from proxy.pool.failure import FailureClass
from proxy.pool.health import Reason, State
from proxy.pool.outcomes import Failed, Success
from proxy.pool.views import StateView, word_of
from proxy.secrets import Secret
from tests.unit.pool.building import AUTH, OTHER_CLASS, RATE, RESET, WANT, bench, credential, failure
from tests.unit.pool.limits import lease_of, left, tell


def test_a_member_is_shown_with_its_place_and_its_use() -> None:
    """Protects the admin's list: alias, kind, order, places and use, and never a secret."""
    table = bench(
        credential("a", secret=Secret("sk-canary"), weight=3, tier=2, max_concurrency=4, organization="org")
    )
    table.lease()
    (view,) = table.pool.snapshot()
    assert (view.name, view.kind, view.organization, view.workspace) == ("a", Kind.ANTHROPIC, "org", None)
    assert (view.tier, view.weight, view.max_concurrency, view.in_flight) == (2, 3, 4, 1)
    assert view.state == StateView(state=State.READY)
    assert b"canary" not in msgspec.json.encode(view)


def test_a_state_is_shown_with_reason_cause_and_wall_clock_times() -> None:
    """Protects what an operator reads: since and until are moments, and a jump of the clock moves both."""
    table = bench("a")
    since = table.clock.wall_ms
    table.end(failure(FailureClass.RATE, retry_after_s=60.0))
    assert table.pool.snapshot()[0].classes[WANT.limit_class] == StateView(
        state=State.COOLING,
        reason=Reason.RATE_LIMIT,
        cause="rate",
        since_unix_ms=since,
        until_unix_ms=since + 60_000,
    )
    table.clock.jump(3600)
    assert table.pool.snapshot()[0].classes[WANT.limit_class].until_unix_ms == since + 3_660_000


def test_a_trial_is_shown_with_the_end_of_its_permit() -> None:
    """Protects the reading of a trial: who waits for it knows until when at most."""
    table = bench("a")
    table.end(RATE)
    table.clock.advance(7)
    due = table.pool.snapshot()[0].classes[WANT.limit_class]
    assert (due.state, due.until_unix_ms) == (State.TRIAL, table.clock.wall_ms - 2000)
    table.lease()
    out = table.pool.snapshot()[0].classes[WANT.limit_class]
    assert (out.state, out.until_unix_ms) == (State.TRIAL, table.clock.wall_ms + 30_000)


def test_a_limit_learned_during_a_trial_is_shown_with_its_own_deadline() -> None:
    """Protects the reading of a state: the end of a trial that is out says nothing about a limit that came since."""
    table = bench(credential("a", organization="org"), credential("b", organization="org"))
    table.end(RATE, "a")
    table.clock.advance(5)
    trial, sibling = table.lease(), table.lease()
    assert trial.trial
    table.pool.settle(sibling, Failed(failure(FailureClass.RATE, retry_after_s=12.0)))
    state = table.pool.snapshot()[0].classes[WANT.limit_class]
    assert (state.state, state.until_unix_ms) == (State.COOLING, table.clock.wall_ms + 12_000)


def test_a_disabled_credential_has_no_deadline() -> None:
    """Protects the promise that only disabling is without an end."""
    table = bench("a")
    table.end(failure(FailureClass.AUTH_DEAD))
    state = table.pool.snapshot()[0].state
    assert (state.state, state.reason, state.until_unix_ms) == (State.DISABLED, Reason.AUTH, None)


def test_closed_models_are_listed() -> None:
    """Protects the answer to why one model is not served."""
    table = bench("a")
    table.end(failure(FailureClass.NO_MODEL))
    (closed,) = table.pool.snapshot()[0].closed_models.items()
    assert closed[0] == WANT.model
    assert (closed[1].reason, closed[1].cause) == (Reason.PERMISSION, "no_model")


def test_faults_in_a_row_are_counted_for_each_limit_class() -> None:
    """Protects the warning an operator gets before a credential goes out of use."""
    table = bench("a")
    table.end(RESET)
    table.end(RESET)
    table.end(RESET, want=OTHER_CLASS)
    assert table.pool.snapshot()[0].strikes == {WANT.limit_class: 2, OTHER_CLASS.limit_class: 1}
    table.end(Success())
    assert table.pool.snapshot()[0].strikes == {OTHER_CLASS.limit_class: 1}


def test_what_is_left_of_the_limits_is_shown() -> None:
    """Protects the reader from guessing: the least share of any limit, and nothing where nothing was told."""
    table = bench("a", "b")
    tell(table, "a", 40)
    lease = lease_of(table, "a", OTHER_CLASS)
    table.pool.learn(lease, None, None, left(75))
    assert [view.headroom for view in table.pool.snapshot()] == [0.4, None]
    table.clock.advance(30)
    assert [view.headroom for view in table.pool.snapshot()] == [1.0, None]


def test_the_worst_state_is_the_word_for_all() -> None:
    """Protects the summary: disabled before cooling before trial before ready, the later deadline first."""
    table = bench("a")
    member = table.pool._members[0]
    assert word_of(member, table.clock) == "ready"
    first, second, third = table.lease(), table.lease(), table.lease()
    table.pool.settle(first, Failed(RATE))
    assert word_of(member, table.clock) == "cooling(rate_limit)"
    table.pool.settle(second, Failed(AUTH))
    assert word_of(member, table.clock) == "cooling(auth)"
    longer = failure(FailureClass.RATE, retry_after_s=90.0)
    table.pool.settle(third, Failed(longer))
    assert word_of(member, table.clock) == "cooling(rate_limit)"
    table.clock.advance(89)
    assert word_of(member, table.clock) == "cooling(rate_limit)"
    table.clock.advance(1)
    assert word_of(member, table.clock) == "trial(rate_limit)"
    table.end(Success())
    assert word_of(member, table.clock) == "ready"
    table.pool.disable("a")
    assert word_of(member, table.clock) == "disabled(manual)"


def test_each_limit_is_shown_with_the_least_that_is_left_of_it() -> None:
    """Protects the bars an operator reads: the scarcest class counts, and a limit that is full again says so."""
    table = bench(credential("a"))
    tell(table, "a", 40)
    lease = lease_of(table, "a", OTHER_CLASS)
    table.pool.learn(lease, None, None, left(10))
    table.pool.settle(lease, Success())
    (limit,) = table.pool.snapshot()[0].limits
    assert (limit.name, limit.share_left) == ("requests", 0.1)
    assert limit.reset_unix_ms is not None
    table.clock.wall_ms = limit.reset_unix_ms
    (again,) = table.pool.snapshot()[0].limits
    assert (again.share_left, again.reset_unix_ms) == (1.0, None)


def test_the_worst_state_is_that_of_the_worst_class() -> None:
    """Protects alerts: a credential that is out of use for one class of models is not counted as ready."""
    table = bench("a")
    assert table.pool.snapshot()[0].worst is State.READY
    table.end(RATE)
    (view,) = table.pool.snapshot()
    assert (view.state.state, view.worst) == (State.READY, State.COOLING)
    table.pool.disable("a")
    assert table.pool.snapshot()[0].worst is State.DISABLED


def test_a_credential_is_usable_as_long_as_something_of_it_is() -> None:
    """Protects readiness: one closed limit class leaves the others, and an order by hand leaves nothing."""
    table = bench("a")
    assert table.pool.snapshot()[0].usable
    table.end(RATE)
    assert not table.pool.snapshot()[0].usable
    table.lease(OTHER_CLASS)
    assert table.pool.snapshot()[0].usable
    table.pool.disable("a")
    assert not table.pool.snapshot()[0].usable
