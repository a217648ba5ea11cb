"""Leases, the queue, and what the pool says about itself."""

import random

import pytest

from proxy.credentials import Kind
from proxy.pool.failure import FailureClass
from proxy.pool.health import Reason, State
from proxy.pool.members import Lease
from proxy.pool.outcomes import (
    Abandoned,
    Exhausted,
    ExhaustedReason,
    Failed,
    Saturated,
    Success,
    Ticket,
    Want,
)
from proxy.pool.pool import Pool
from proxy.secrets import Secret
from proxy.settings import Policy
from tests.support.clock import FakeClock
from tests.unit.pool.building import (
    AUTH,
    OTHER_CLASS,
    RATE,
    RESET,
    WANT,
    Bench,
    bench,
    credential,
    failure,
)


def queue(table: Bench, want: Want = WANT) -> Ticket:
    """A fresh request that waits."""
    ticket = table.pool.enqueue(want, table.walk())
    assert ticket is not None
    return ticket


def deadline(table: Bench) -> float | None:
    """When a sweep is of use next."""
    return table.pool.next_deadline_s


def test_a_lease_is_given_back_once() -> None:
    """Protects the count of places: a second return would free somebody else's."""
    table = bench(credential("a", max_concurrency=1))
    lease = table.lease()
    table.pool.settle(lease, Success())
    with pytest.raises(RuntimeError, match="lease 1 was given back before"):
        table.pool.settle(lease, Abandoned())
    assert table.pool.in_flight == 0


def test_outcomes_are_counted_apart() -> None:
    """Protects the numbers an operator sees."""
    table = bench("a")
    for outcome in (Success(), Success(), Failed(RESET), Abandoned()):
        table.end(outcome)
    view = table.pool.snapshot()[0]
    assert (view.succeeded, view.failed, view.abandoned, view.in_flight) == (2, 1, 1, 0)


def test_places_are_never_exceeded() -> None:
    """Protects `max_concurrency`: a full pool says so, and an abandoned lease frees its place."""
    table = bench(credential("a", max_concurrency=2), credential("b", max_concurrency=1))
    leases = [table.lease() for _ in range(3)]
    assert sorted(lease.name for lease in leases) == ["a", "a", "b"]
    assert table.pick() == Saturated(0)
    table.pool.settle(leases[0], Abandoned())
    assert table.lease().name == leases[0].name


def test_own_overload_blames_nobody() -> None:
    """Protects health from what is our own doing: saturation and departing clients change nothing."""
    table = bench(credential("a", max_concurrency=1))
    for _ in range(50):
        lease = table.lease()
        assert isinstance(table.pick(), Saturated)
        assert table.pool.settle(lease, Abandoned()).changes == ()
    assert table.word("a") == "ready"


def test_whoever_waits_longest_is_next() -> None:
    """Protects the queue's order."""
    table = bench(credential("a", max_concurrency=1))
    lease = table.lease()
    first, second = queue(table), queue(table)
    ((ticket, granted),) = table.pool.settle(lease, Success()).grants
    assert ticket is first
    ((ticket, _),) = table.pool.settle(granted, Success()).grants
    assert ticket is second


def test_the_queue_has_an_end() -> None:
    """Protects memory and patience: one request more than the queue holds is refused at once."""
    table = bench(credential("a", max_concurrency=1), queue_length=2)
    table.lease()
    queue(table)
    queue(table)
    assert table.pool.enqueue(WANT, table.walk()) is None
    assert table.pick() == Saturated(2)


def test_who_leaves_the_queue_is_not_served() -> None:
    """Protects places from being given to clients that have gone."""
    table = bench(credential("a", max_concurrency=1))
    lease = table.lease()
    gone, stays = queue(table), queue(table)
    assert table.pool.withdraw(gone)
    assert not table.pool.withdraw(gone)
    ((ticket, _),) = table.pool.settle(lease, Success()).grants
    assert ticket is stays


def test_a_request_nobody_can_serve_now_does_not_hold_up_the_others() -> None:
    """Protects the queue from being blocked by its head."""
    table = bench(
        credential("a", max_concurrency=1, models=("claude-sonnet-*",)),
        credential("b", max_concurrency=1, models=("claude-opus-*",)),
    )
    table.lease()
    opus = table.lease(OTHER_CLASS)
    queue(table)
    later = queue(table, OTHER_CLASS)
    ((ticket, lease),) = table.pool.settle(opus, Success()).grants
    assert (ticket, lease.name) == (later, "b")


def test_of_many_that_want_the_same_only_as_many_are_served_as_there_are_places() -> None:
    """Protects the limit when the queue is served: one place freed is one request served."""
    table = bench(credential("a", max_concurrency=1))
    lease = table.lease()
    tickets = [queue(table) for _ in range(10)]
    grants = table.pool.settle(lease, Success()).grants
    assert [ticket for ticket, _ in grants] == tickets[:1]


def test_a_waiting_walk_is_not_given_what_it_has_been_refused() -> None:
    """Protects a walk that waits: the credential that refused it goes to the next in line."""
    table = bench(credential("a", max_concurrency=1), credential("b", max_concurrency=1))
    permission = failure(FailureClass.PERMISSION)
    walk = table.walk()
    lease = table.pool.pick(WANT, walk)
    assert isinstance(lease, Lease)
    table.pool.settle(lease, Abandoned())
    walk.after(permission, lease)
    held = {each.name: each for each in (table.lease(), table.lease())}
    assert table.pool.enqueue(WANT, walk) is not None
    plain = queue(table)
    ((ticket, granted),) = table.pool.settle(held[lease.name], Success()).grants
    assert (ticket, granted.name) == (plain, lease.name)


def test_a_walk_that_is_left_with_fallbacks_is_not_held_up_by_who_waits_for_claude() -> None:
    """Protects the queue: requests for the same model that may use different credentials are looked at apart."""
    table = bench(credential("a", max_concurrency=1), credential("last", kind=Kind.OPENAI, max_concurrency=1))
    walk = table.walk()
    first = table.pool.pick(WANT, walk)
    assert isinstance(first, Lease)
    last = table.pool.pick(WANT, table.walk(), spill=True)
    assert isinstance(last, Lease)
    walk.after(failure(FailureClass.SERVER, should_retry=False), first)
    queue(table)
    mine = table.pool.enqueue(WANT, walk)
    ((ticket, lease),) = table.pool.settle(last, Success()).grants
    assert (ticket, lease.name) == (mine, "last")


def test_two_classes_are_not_tried_at_once() -> None:
    """Protects a credential that comes back: one request tries it, whatever was out of use."""
    table = bench("a")
    held = [table.lease(), table.lease(OTHER_CLASS)]
    for lease in held:
        table.pool.settle(lease, Failed(RATE))
    table.clock.advance(5)
    trial = table.lease()
    assert isinstance(table.pick(OTHER_CLASS), Saturated)
    table.pool.answered(trial)
    assert table.lease(OTHER_CLASS).trial


def test_a_model_that_was_closed_long_ago_is_forgotten() -> None:
    """Protects the common path from models nobody asks for any more."""
    table = bench("a")
    table.end(failure(FailureClass.NO_MODEL))
    table.clock.advance(1199)
    table.pool.sweep()
    assert table.pool.snapshot()[0].closed_models
    table.clock.advance(1)
    table.pool.sweep()
    assert not table.pool.snapshot()[0].closed_models


def test_a_sweep_serves_who_waits_for_a_deadline() -> None:
    """Protects waiting requests when nothing happens but time, and newcomers do not pass them by."""
    table = bench("a")
    table.end(RATE)
    table.clock.advance(5)
    table.lease()
    ticket = queue(table)
    assert table.pool.sweep().grants == ()
    assert table.pool.next_deadline_s == table.clock.now_s + 30
    table.clock.advance(30)
    assert table.pick() == Saturated(1)
    ((granted, lease),) = table.pool.sweep().grants
    assert (granted, lease.trial) == (ticket, True)
    assert table.pool.sweep().grants == ()


def test_who_waits_for_what_can_no_longer_come_is_told_why() -> None:
    """Protects clients from waiting their longest for the verdict of a trial that has failed by then."""
    table = bench("a")
    table.end(RATE)
    table.clock.advance(5)
    trial = table.lease()
    ticket = queue(table)
    settled = table.pool.settle(trial, Failed(failure(FailureClass.RATE, retry_after_s=20.0)))
    assert settled.grants == ()
    assert settled.hopeless == ((ticket, Exhausted(ExhaustedReason.RATE_LIMITED, 20.0)),)
    assert not table.pool.withdraw(ticket)


def test_a_sweep_knows_when_the_next_one_is_of_use() -> None:
    """Protects the timer: deadlines of cooling and of permits both count, and none means none."""
    table = bench("a")
    assert deadline(table) is None
    table.end(RATE)
    table.clock.advance(5)
    trial = table.lease()
    table.pool.sweep()
    assert deadline(table) == table.clock.now_s + 30
    table.pool.settle(trial, Success())
    table.clock.advance(30)
    table.pool.sweep()
    assert deadline(table) is None


def test_a_first_event_ends_a_trial_long_before_the_answer_does() -> None:
    """Protects throughput after a limit: others need not wait for the end of a long stream."""
    table = bench("a")
    table.end(RATE)
    table.clock.advance(5)
    trial = table.lease()
    ticket = queue(table)
    settled = table.pool.answered(trial)
    assert [each.state for each in settled.changes] == [State.READY]
    assert [granted for granted, _ in settled.grants] == [ticket]
    assert table.pool.answered(trial).changes == ()
    assert not table.lease().trial


def test_a_first_event_does_not_clear_a_credential_of_faults() -> None:
    """Protects against answers that begin well and break off: their trial needs the whole answer."""
    table = bench("a", "b")
    for _ in range(5):
        table.end(RESET, "a")
    table.clock.advance(30)
    trial = next(lease for lease in (table.lease(), table.lease()) if lease.trial)
    assert table.pool.answered(trial).changes == ()
    assert table.word("a") == "trial(faults)"
    assert table.pool.settle(trial, Success()).changes[0].state is State.READY


def test_an_answer_without_a_trial_changes_nothing() -> None:
    """Protects the common path."""
    table = bench("a")
    lease = table.lease()
    assert table.pool.answered(lease).changes == ()
    table.pool.settle(lease, Success())
    assert table.pool.answered(lease).grants == ()


def test_an_organization_is_learned_and_not_unlearned() -> None:
    """Protects what is known: an answer that names nobody takes nothing back."""
    table = bench("a")
    lease = table.lease()
    table.pool.learn(lease, "org", "w")
    table.pool.learn(lease, None, None)
    view = table.pool.snapshot()[0]
    assert (view.organization, view.workspace, lease.organization) == ("org", "w", "org")


def test_a_credential_that_is_off_is_never_asked() -> None:
    """Protects the operator's ``enabled: false``."""
    table = bench(credential("a", enabled=False), "b")
    assert set(table.names(4)) == {"b"}
    assert table.word("a") == "disabled(manual)"


def test_an_operator_takes_a_credential_out_and_brings_it_back() -> None:
    """Protects manual disabling: at once, for good, and exempt from every rule that spares the last one."""
    table = bench("a")
    (change,) = table.pool.disable("a").changes
    assert (change.state, change.reason, change.durable) == (State.DISABLED, Reason.MANUAL, True)
    assert table.pool.disable("a").changes == ()
    assert table.pick() == Exhausted(ExhaustedReason.UNUSABLE)
    assert table.pool.reset("a").changes[0].state is State.READY
    assert table.names(1) == ["a"]
    with pytest.raises(KeyError):
        table.pool.disable("nobody")


def test_models_that_can_be_asked_for_are_told() -> None:
    """Protects the list of models: only what a credential in use serves to this client."""
    table = bench(
        credential("a", models=("claude-haiku-*",)),
        credential("b", clients=frozenset({"friend"})),
        credential("c", kind=Kind.CLAUDE_CODE, enabled=False),
    )
    models = ("claude-haiku-5", "claude-opus-5", "claude-code", "gpt-4o")
    assert table.pool.servable(models, "client") == ("claude-haiku-5",)
    assert table.pool.servable(models) == ("claude-haiku-5", "claude-opus-5")


def test_what_clients_ask_for_is_not_remembered_for_ever() -> None:
    """Protects memory: model ids are the client's to invent."""
    table = bench("a", "b")
    for number in range(3000):
        table.names(1, Want(f"claude-{number}", f"class-{number}", "client"))
    assert len(table.pool._plans) <= 1024
    assert all(len(member.seats) <= 1024 for member in table.pool._members)


def test_a_class_with_a_state_outlives_the_forgetting() -> None:
    """Protects a limit from being lost to a flood of invented models."""
    table = bench("a", "b")
    table.end(failure(FailureClass.RATE, retry_after_s=600.0), "a")
    for number in range(3000):
        table.names(1, Want(f"claude-{number}", f"class-{number}", "client"))
    assert set(table.names(4)) == {"b"}


def test_the_pool_shows_itself_as_a_sentence_without_secrets() -> None:
    """Protects logs and failing assertions: counts and words, never a key."""
    table = bench(credential("a", secret=Secret("sk-canary"), way_out=Secret("socks5://u:pw@h:1")), "b", "c")
    table.end(RATE, "a")
    lease = table.lease()
    queue(table)
    shown = repr(table.pool)
    assert shown == "<Pool [3 members: 1 cooling(rate_limit), 2 ready | Leases: 1 | Queue: 1]>"
    assert not lease.trial
    assert repr(bench().pool) == "<Pool [0 members: none | Leases: 0 | Queue: 0]>"


def test_the_same_seed_gives_the_same_times() -> None:
    """Protects reproducible tests and drills: all chance comes from the generator that is handed in."""

    def until() -> int | None:
        pool = Pool([credential("a")], policy=Policy(), clock=FakeClock(), rng=random.Random(7))
        table = Bench(pool, FakeClock(), Policy(), bench().budget, random.Random(7))
        return table.end(RATE).changes[0].until_unix_ms

    assert until() == until()


@pytest.mark.parametrize("by", ["operator", "upstream"])
def test_enabling_brings_a_disabled_credential_back_whoever_disabled_it(by: str) -> None:
    """Protects the operator's way back, and that it is written down."""
    table = bench("a", "b")
    if by == "operator":
        table.pool.disable("a")
    else:
        table.end(failure(FailureClass.AUTH_DEAD), "a")
    assert table.names(2) == ["b", "b"]
    changes = table.pool.enable("a").changes
    assert [(each.name, each.state, each.reason) for each in changes] == [("a", State.READY, None)]
    assert sorted(table.names(2)) == ["a", "b"]


def test_enabling_leaves_what_rests_at_rest_and_changes_nothing_twice() -> None:
    """Protects upstreams from a credential that was not disabled at all: forgetting a rest is what reset is for."""
    table = bench("a")
    table.end(RATE)
    assert table.pool.enable("a").changes == ()
    assert table.word("a") == "cooling(rate_limit)"
    table.pool.disable("a")
    assert table.pool.disable("a").changes == ()
    table.pool.enable("a")
    assert table.pool.enable("a").changes == ()
    assert table.word("a") == "cooling(rate_limit)"


def test_a_key_that_was_enabled_again_has_a_clean_record() -> None:
    """Protects a mended key from being disabled by the first refusal after it came back."""
    table = bench("a", "b", "c")
    table.end(AUTH, "a")
    table.clock.advance(61)
    table.end(AUTH, "a")
    assert table.word("a") == "disabled(auth)"
    table.pool.enable("a")
    table.clock.advance(10)
    table.end(AUTH, "a")
    assert table.word("a") == "cooling(auth)"


def test_an_unknown_alias_cannot_be_enabled() -> None:
    """Protects operators from believing that something happened."""
    with pytest.raises(KeyError):
        bench("a").pool.enable("b")
