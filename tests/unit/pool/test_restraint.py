"""Who is asked only when there is no other: short of a limit, starting slowly, not reached."""

from collections import Counter

import pytest

from proxy.credentials import Kind
from proxy.pool.failure import FailureClass, Fault, classify_fault
from proxy.pool.members import Lease
from proxy.pool.outcomes import Abandoned, Failed, Saturated, Success
from proxy.pool.restraint import Rank, rank_of
from tests.unit.pool.building import OTHER_CLASS, RATE, RESET, WANT, Bench, bench, credential, failure
from tests.unit.pool.limits import lease_of, left, tell

UNREACHED = classify_fault(Fault.CONNECT_REFUSED)
LATE = "2026-11-18T12:00:00Z"
FAR = {"base_url": "https://far.test"}


def rank(table: Bench, name: str) -> Rank:
    """What holds a credential back in the class of `WANT`."""
    seat = table.pool._by_name[name].seats[WANT.limit_class]
    return rank_of(seat, table.clock.now_s)


def back_from_faults(table: Bench, name: str) -> None:
    """Put a credential out of use for faults and bring it back."""
    for _ in range(5):
        table.end(RESET, name)
    table.clock.advance(30)
    table.end(Success(), name)
    assert table.word(name) == "ready"


def hold(table: Bench, count: int) -> list[Lease]:
    """So many requests at one time."""
    return [table.lease() for _ in range(count)]


def test_a_short_credential_is_passed_over_while_another_has_room() -> None:
    """Protects clients from a refusal that could be seen coming."""
    table = bench("a", "b", "c")
    table.names(3)
    tell(table, "a", 1)
    assert Counter(table.names(20)) == {"b": 10, "c": 10}
    assert table.word("a") == "ready"


def test_it_is_back_with_the_reset() -> None:
    """Protects the share of a credential whose limit is full again."""
    table = bench("a", "b")
    table.names(2)
    tell(table, "a", 0)
    table.clock.advance(29.9)
    assert set(table.names(4)) == {"b"}
    table.clock.advance(0.1)
    assert Counter(table.names(10)) == {"a": 5, "b": 5}


def test_it_is_back_with_an_answer_that_tells_of_room() -> None:
    """Protects the share of a credential that turned out to have more left."""
    table = bench("a", "b")
    table.names(2)
    lease = lease_of(table, "a")
    tell(table, "a", 0)
    table.pool.learn(lease, None, None, left(50))
    assert Counter(table.names(10)) == {"a": 5, "b": 5}


def test_if_all_are_short_they_are_used_in_rotation() -> None:
    """Protects clients: what is left is used up, and a limit is only believed when it refuses."""
    table = bench("a", "b")
    table.names(2)
    held = [lease_of(table, name) for name in "ab"]
    for lease in held:
        table.pool.learn(lease, None, None, left(0))
    assert Counter(table.names(10)) == {"a": 5, "b": 5}


def test_a_short_credential_is_used_while_the_others_are_full() -> None:
    """Protects clients from waiting for a place while one is free."""
    table = bench("a", credential("b", max_concurrency=1))
    table.names(2)
    tell(table, "a", 0)
    assert [lease.name for lease in hold(table, 2)] == ["b", "a"]


def test_a_short_tier_is_used_before_the_next_one() -> None:
    """Protects the meaning of tiers: a backup is for when the first tier is out of use."""
    table = bench("a", credential("backup", tier=1))
    table.names(1)
    tell(table, "a", 0)
    assert set(table.names(4)) == {"a"}


def test_credentials_of_one_organization_share_what_is_left() -> None:
    """Protects siblings: the answer to one tells what is left for all, in its class alone."""
    table = bench(credential("a", organization="org"), credential("b", organization="org"), "c")
    for want in (WANT, OTHER_CLASS):
        table.names(3, want)
    tell(table, "a", 0, organization="org")
    assert set(table.names(6)) == {"c"}
    assert set(table.names(6, OTHER_CLASS)) == {"a", "b", "c"}


def test_a_sibling_is_short_from_the_answer_that_names_its_organization() -> None:
    """Protects against asking a second key of a short organization just because it was unknown."""
    table = bench("a", "b", "c")
    table.names(3)
    tell(table, "a", 0, organization="org")
    assert set(table.names(4)) == {"b", "c"}
    lease = lease_of(table, "b")
    table.pool.learn(lease, "org", None)
    assert set(table.names(4)) == {"c"}
    table.pool.learn(lease, "other", None)
    assert set(table.names(4)) == {"b", "c"}


def test_a_workspace_has_limits_of_its_own() -> None:
    """Protects other workspaces of an organization."""
    table = bench("a", "b")
    leases = {lease.name: lease for lease in hold(table, 2)}
    table.pool.learn(leases["b"], "org", "second")
    table.pool.learn(leases["a"], "org", "first", left(0))
    assert set(table.names(4)) == {"b"}


def test_a_conversation_leaves_its_short_home_while_another_has_room() -> None:
    """Protects a continuing conversation from the refusal; with nobody else free it stays at home."""
    table = bench("a", "b")
    table.names(2)
    tell(table, "a", 0)
    assert table.pool.pick_at("a", WANT, table.walk()) is None
    assert lease_of(table, "b").name == "b"
    alone = bench("a", credential("backup", tier=1))
    alone.names(1)
    tell(alone, "a", 0)
    assert lease_of(alone, "a").name == "a"


def test_a_flood_of_classes_does_not_lose_what_is_short() -> None:
    """Protects the figures of a class in use from model ids that clients invent."""
    table = bench("a", "b")
    table.names(2)
    tell(table, "a", 0)
    for number in range(1100):
        table.names(1, WANT.__class__(f"claude-{number}", f"class-{number}", "client"))
    assert set(table.names(4)) == {"b"}


def test_after_faults_places_open_bit_by_bit() -> None:
    """Protects an upstream that has just come back: one call, then two, then four at a time."""
    table = bench("a", "b", slow_start_places=8)
    back_from_faults(table, "a")
    for places in (1, 2, 4):
        leases = hold(table, 20)
        mine = [lease for lease in leases if lease.name == "a"]
        assert len(mine) == places
        for lease in leases:
            table.pool.settle(lease, Success())
    assert Counter(lease.name for lease in hold(table, 40)) == {"a": 20, "b": 20}


def test_a_slow_start_ends_by_itself() -> None:
    """Protects a credential from being held back for ever by calls that never end."""
    table = bench("a", "b")
    back_from_faults(table, "a")
    hold(table, 10)
    assert rank(table, "a") is Rank.STARTING
    table.clock.advance(60)
    assert rank(table, "a") is Rank.OPEN
    assert Counter(lease.name for lease in hold(table, 10)) == {"a": 5, "b": 5}


def test_a_fault_starts_it_anew() -> None:
    """Protects an upstream that is not well yet; a refusal and a client that left say nothing."""
    table = bench("a", "b")
    back_from_faults(table, "a")
    seat = table.pool._by_name["a"].seats[WANT.limit_class]
    assert seat.slow_start is not None
    for outcome in (Success(), Success(), Abandoned(), Failed(failure(FailureClass.REQUEST))):
        table.end(outcome, "a")
    assert seat.slow_start.places == 3
    table.end(RESET, "a")
    assert (seat.slow_start.places, seat.slow_start.taken) == (1, 0)


def test_a_credential_alone_is_used_in_full_from_the_start() -> None:
    """Protects clients: holding back is for when there is somebody else."""
    table = bench("a", "b")
    back_from_faults(table, "a")
    table.pool.disable("b")
    assert {lease.name for lease in hold(table, 10)} == {"a"}


def test_a_limit_is_no_fault() -> None:
    """Protects a credential whose limit is over from starting slowly: its upstream was well all the time."""
    table = bench("a", "b")
    table.end(RATE, "a")
    table.clock.advance(5)
    table.end(Success(), "a")
    assert Counter(lease.name for lease in hold(table, 10)) == {"a": 5, "b": 5}


def test_a_slow_start_can_be_turned_off() -> None:
    """Protects operators who know better."""
    table = bench("a", "b", slow_start_s=0.0)
    back_from_faults(table, "a")
    assert Counter(lease.name for lease in hold(table, 10)) == {"a": 5, "b": 5}


def test_a_starting_credential_is_asked_before_a_short_one() -> None:
    """Protects limits: a call more on a slow start is less harm than a refusal."""
    table = bench("a", "b")
    back_from_faults(table, "a")
    tell(table, "b", 0, reset=LATE)
    assert {lease.name for lease in hold(table, 5)} == {"a"}


@pytest.mark.parametrize("tier", [0, 1])
def test_an_endpoint_that_cannot_be_reached_is_avoided(tier: int) -> None:
    """Protects clients from waiting for a connection that was not made five times, whatever the tiers."""
    table = bench("a", "b", credential("far", tier=tier, **FAR))
    for _ in range(4):
        table.end(UNREACHED, "a")
    assert rank(table, "b") is Rank.OPEN
    table.end(UNREACHED, "b")
    assert set(table.names(6)) == {"far"}
    assert table.word("a") == table.word("b") == "ready"


def test_it_is_avoided_for_the_sake_of_a_last_resort_too() -> None:
    """Protects clients of a pool behind one endpoint that has a fallback."""
    table = bench("a", credential("last", kind=Kind.OPENAI, **FAR))
    for _ in range(5):
        table.end(UNREACHED, "a")
    assert set(table.names(3)) == {"last"}


def test_with_no_other_endpoint_it_is_asked_all_the_same() -> None:
    """Protects clients: the true failure is told, and the endpoint found again as soon as it is back."""
    table = bench("a", "b")
    for _ in range(9):
        table.end(UNREACHED)
    assert Counter(table.names(4)) == {"a": 2, "b": 2}


def test_one_request_at_a_time_tries_an_endpoint_again() -> None:
    """Protects all others from a connection that may hang: they wait for what the one finds out."""
    table = bench("a", "b", credential("far", **FAR))
    for _ in range(5):
        table.end(UNREACHED, "a")
    table.clock.advance(10)
    probe = next(lease for lease in hold(table, 3) if lease.name != "far")
    assert probe.trial
    assert {lease.name for lease in hold(table, 5)} == {"far"}
    table.pool.answered(probe)
    assert {lease.name for lease in hold(table, 6)} == {"a", "b", "far"}


def test_a_try_that_fails_avoids_it_anew_and_one_that_is_given_up_says_nothing() -> None:
    """Protects against both mistakes: believing too early, and waiting for a verdict that never comes."""
    table = bench("a", credential("far", **FAR))
    for _ in range(5):
        table.end(UNREACHED, "a")
    table.clock.advance(10)
    table.end(Abandoned(), "a")
    table.end(UNREACHED, "a")
    assert set(table.names(4)) == {"far"}
    table.clock.advance(10)
    table.end(failure(FailureClass.REQUEST), "a")
    assert set(table.names(4)) == {"a", "far"}


def test_failures_to_connect_count_in_a_row() -> None:
    """Protects an endpoint that answers from a failure now and then."""
    table = bench("a", credential("far", **FAR))
    for _ in range(3):
        for _ in range(4):
            table.end(UNREACHED, "a")
        table.end(Success(), "a")
    assert set(table.names(4)) == {"a", "far"}


def test_who_is_held_back_is_looked_up_only_while_there_is_somebody() -> None:
    """Protects the ordinary case: after a sweep, when all is well again, nobody looks."""
    table = bench("a", credential("far", **FAR))
    restraints = table.pool._restraints
    assert restraints.until_s == 0
    table.names(2)
    tell(table, "a", 0)
    assert restraints.until_s == table.clock.now_s + 30
    for lease in [lease_of(table, "far") for _ in range(5)]:
        table.pool.settle(lease, Failed(UNREACHED))
    table.pool.sweep()
    assert restraints.until_s == float("inf")
    table.clock.advance(10)
    table.pool.settle(lease_of(table, "far"), Success())
    table.pool.sweep()
    assert restraints.until_s == table.clock.now_s + 20
    table.clock.advance(20)
    table.pool.sweep()
    assert restraints.until_s == 0


def test_a_reset_by_hand_ends_everything() -> None:
    """Protects the operator's last word."""
    table = bench("a", credential("far", **FAR), endpoint_strikes=1)
    back_from_faults(table, "a")
    lease = lease_of(table, "a")
    table.pool.learn(lease, None, None, left(0, reset=LATE))
    table.pool.settle(lease, Failed(UNREACHED))
    assert rank(table, "a") is Rank.UNREACHED
    table.pool.reset("a")
    assert rank(table, "a") is Rank.OPEN
    assert Counter(lease.name for lease in hold(table, 6)) == {"a": 3, "far": 3}


def test_a_full_endpoint_is_waited_for_rather_than_one_that_is_not_reached() -> None:
    """Protects a request in the queue from failing at once on an endpoint that is away."""
    table = bench("a", credential("far", max_concurrency=1, **FAR))
    for _ in range(5):
        table.end(UNREACHED, "a")
    assert lease_of(table, "far").name == "far"
    assert isinstance(table.pick(), Saturated)
    spilled = table.pool.pick(WANT, table.walk(), spill=True)
    assert isinstance(spilled, Lease)
