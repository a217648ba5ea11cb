"""Rotation and tiers."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.credentials import Kind
from proxy.pool.failure import FailureClass
from proxy.pool.members import Lease
from proxy.pool.outcomes import Abandoned, Exhausted, Failed, Saturated, Success
from proxy.settings import Strategy
from tests.unit.pool.building import OTHER_CLASS, RATE, RESET, WANT, Bench, bench, credential, failure
from tests.unit.pool.limits import lease_of, left, tell


def test_three_equal_keys_share_three_hundred_requests_equally() -> None:
    """Protects the distribution: each of three keys gets a hundred, in turn."""
    found = bench("a", "b", "c").names(300)
    assert Counter(found) == {"a": 100, "b": 100, "c": 100}
    assert found == ["a", "b", "c"] * 100


def test_weights_are_shared_out_smoothly() -> None:
    """Protects weights: 2:1:1 gives twice the share, and the lighter keys go between."""
    found = bench(credential("a", weight=2), "b", "c").names(400)
    assert found == ["a", "b", "c", "a"] * 100


def test_a_heavy_key_never_takes_all_its_turns_in_a_row() -> None:
    """Protects the smoothness: with 5:1:1 no more than two turns of the heavy key come together in a round."""
    found = bench(credential("a", weight=5), "b", "c").names(7)
    assert found == ["a", "a", "b", "a", "c", "a", "a"]


def test_classes_rotate_apart() -> None:
    """Protects each limit's share: requests of two classes in turn do not each stick to one key."""
    table = bench("a", "b")
    found = [(table.names(1)[0], table.names(1, OTHER_CLASS)[0]) for _ in range(10)]
    assert Counter(first for first, _ in found) == {"a": 5, "b": 5}
    assert Counter(second for _, second in found) == {"a": 5, "b": 5}


def test_a_lower_tier_is_used_while_any_of_it_is_usable() -> None:
    """Protects tiers: a backup is asked only when the first tier is out of use."""
    table = bench(credential("a"), credential("b"), credential("backup", tier=1))
    assert set(table.names(10)) == {"a", "b"}
    table.end(RATE, "a")
    assert set(table.names(10)) == {"b"}
    table.end(RATE, "b")
    assert set(table.names(10)) == {"backup"}


def test_a_full_tier_is_waited_for_unless_told_to_pass_on() -> None:
    """Protects the meaning of a tier under load, and the way out for a request that waited long enough."""
    table = bench(credential("a", max_concurrency=1), credential("backup", tier=1))
    held = table.lease()
    assert isinstance(table.pick(), Saturated)
    spilled = table.pool.pick(WANT, table.walk(), spill=True)
    assert isinstance(spilled, Lease)
    assert (held.name, spilled.name) == ("a", "backup")


def test_a_trial_under_way_holds_no_other_tier_back() -> None:
    """Protects requests from waiting for a verdict while a healthy backup is there."""
    table = bench(credential("a"), credential("backup", tier=1))
    table.end(RATE, "a")
    table.clock.advance(5)
    assert [table.lease().name, table.lease().name] == ["a", "backup"]


def test_a_lone_trial_is_waited_for() -> None:
    """Protects a pool of one: while its trial is out, others queue instead of failing."""
    table = bench("a")
    table.end(RATE)
    assert isinstance(table.pick(), Exhausted)
    table.clock.advance(5)
    assert table.lease().trial
    assert isinstance(table.pick(), Saturated)


@pytest.mark.parametrize("tier", [0, 1])
def test_a_fallback_comes_after_every_claude_credential(tier: int) -> None:
    """Protects the last resort: whatever its tier, it is asked only when no Claude credential is usable."""
    table = bench(credential("last", kind=Kind.OPENAI, tier=0), credential("claude", tier=tier))
    assert set(table.names(4)) == {"claude"}
    table.end(RATE, "claude")
    assert set(table.names(4)) == {"last"}


def test_fallbacks_follow_their_tiers() -> None:
    """Protects the order of several last resorts."""
    table = bench(
        credential("second", kind=Kind.OPENAI, tier=2), credential("first", kind=Kind.OPENAI, tier=1)
    )
    assert set(table.names(4)) == {"first"}


def test_a_retry_goes_to_a_backup_rather_than_to_the_key_that_just_failed() -> None:
    """Protects a retry: a credential that failed this request is asked again only when there is no other."""
    table = bench(credential("a"), credential("backup", tier=1))
    walk = table.walk()
    first = table.pool.pick(WANT, walk)
    assert isinstance(first, Lease)
    table.pool.settle(first, Failed(RESET))
    walk.after(RESET, first)
    second = table.pool.pick(WANT, walk)
    assert isinstance(second, Lease)
    table.pool.settle(second, Failed(RESET))
    walk.after(failure(FailureClass.SERVER), second)
    third = table.pool.pick(WANT, walk)
    assert isinstance(third, Lease)
    assert (first.name, second.name, third.name) == ("a", "backup", "a")
    table.pool.settle(third, Success())


STRATEGIES: tuple[Strategy, ...] = ("round_robin", "least_busy", "weighted", "fill_first")


def test_the_least_busy_is_asked() -> None:
    """Protects even loads: calls that last long at one credential send the next ones to the others."""
    table = bench("a", "b", "c", strategy="least_busy")
    long = [table.lease() for _ in range(3)]
    assert [lease.name for lease in long] == ["a", "b", "c"]
    table.pool.settle(long[1], Success())
    assert table.names(3) == ["b", "b", "b"]


def test_the_least_busy_is_the_one_with_the_fewest_calls_for_its_weight() -> None:
    """Protects weights: twice the weight carries twice the calls."""
    table = bench(credential("a", weight=2), "b", strategy="least_busy")
    assert Counter(table.lease().name for _ in range(30)) == {"a": 20, "b": 10}


def test_equally_busy_credentials_take_turns() -> None:
    """Protects quiet times, when nobody is busy, from always asking the same one."""
    assert bench("a", "b", "c", strategy="least_busy").names(6) == ["a", "b", "c"] * 2


def test_a_draw_follows_weights_and_what_is_left() -> None:
    """Protects limits from being run into: who has a quarter left is drawn a quarter as often."""
    table = bench(credential("a", weight=2), "b", strategy="weighted")
    counted = Counter(table.names(3000))
    assert 1850 < counted["a"] < 2150
    tell(table, "a", 25)
    counted = Counter(table.names(3000))
    assert 850 < counted["a"] < 1150


def test_a_draw_among_credentials_that_have_nothing_left_is_a_rotation() -> None:
    """Protects against a draw without lots."""
    table = bench("a", "b", strategy="weighted")
    held = {lease.name: lease for lease in (lease_of(table, "a"), lease_of(table, "b"))}
    for lease in held.values():
        table.pool.learn(lease, None, None, left(0))
    assert Counter(table.names(10)) == {"a": 5, "b": 5}


def test_the_first_is_filled_before_the_next() -> None:
    """Protects those who want one credential used up before another is touched."""
    table = bench(credential("a", max_concurrency=2), "b", "c", strategy="fill_first")
    assert [table.lease().name for _ in range(4)] == ["a", "a", "b", "b"]
    table.end(RATE, "b")
    assert set(table.names(3)) == {"c"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_says_what_is_missing(strategy: Strategy) -> None:
    """Protects clients that have to wait, and those that need not."""
    table = bench(credential("a", max_concurrency=1), strategy=strategy)
    lease = table.lease()
    assert isinstance(table.pick(), Saturated)
    table.pool.settle(lease, Failed(RATE))
    assert isinstance(table.pick(), Exhausted)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_leaves_the_short_and_the_excluded_out(strategy: Strategy) -> None:
    """Protects the rules that no strategy may break."""
    table = bench("a", "b", credential("backup", tier=1), strategy=strategy)
    table.names(1)
    tell(table, "a", 0)
    assert set(table.names(10)) == {"b"}
    walk = table.walk()
    walk.after(RATE, lease_of(table, "b"))
    found = table.pool.pick(WANT, walk)
    assert isinstance(found, Lease)
    assert found.name == "a"


@given(st.integers(2, 7), st.lists(st.booleans(), max_size=80), st.sampled_from(STRATEGIES[:2]))
def test_equals_get_equal_shares(members: int, waits: list[bool], strategy: Strategy) -> None:
    """Protects fairness: after any number of requests no equal has had over one more than another."""
    table = bench(*"abcdefg"[:members], strategy=strategy)
    counted = Counter(dict.fromkeys("abcdefg"[:members], 0))
    for _ in waits:
        counted.update(table.names(1))
        assert max(counted.values()) - min(counted.values()) <= 1


def free_with_room(table: Bench, used: Counter[str], short: set[str], places: int) -> set[str]:
    """Who of all is free and not short."""
    names = {member.name for member in table.pool._members}
    return {name for name in names - short if used[name] < places}


@given(st.data(), st.sampled_from(STRATEGIES), st.integers(1, 3))
def test_who_is_short_is_never_chosen_while_one_with_room_is_free(
    data: st.DataObject, strategy: Strategy, places: int
) -> None:
    """Protects limits whatever the strategy, and whatever came before."""
    table = bench(*(credential(name, max_concurrency=places) for name in "abcd"), strategy=strategy)
    out: list[Lease] = []
    short: set[str] = set()
    for _ in range(data.draw(st.integers(0, 40))):
        used = Counter(lease.name for lease in out)
        roomy = free_with_room(table, used, short, places)
        found = table.pick()
        if isinstance(found, Lease):
            out.append(found)
            assert not roomy or found.name in roomy
        if data.draw(st.booleans()) and out:
            lease = out.pop(data.draw(st.integers(0, len(out) - 1)))
            requests = data.draw(st.sampled_from([0, 1, 2, 100]))
            table.pool.learn(lease, None, None, left(requests))
            (short.add if requests < 2 else short.discard)(lease.name)
            table.pool.settle(lease, Abandoned())
