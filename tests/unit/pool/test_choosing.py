"""Rotation and tiers."""

from collections import Counter

import pytest

from proxy.credentials import Kind
from proxy.pool.failure import FailureClass
from proxy.pool.members import Lease
from proxy.pool.outcomes import Exhausted, Failed, Saturated, Success
from tests.unit.pool.building import OTHER_CLASS, RATE, RESET, WANT, bench, credential, failure


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
