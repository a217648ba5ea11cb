"""A credential's requests a minute: as a full place, never as ill health."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.pool.members import Lease
from proxy.pool.minute import MINUTE_S, MinuteQuota, quota_of
from proxy.pool.outcomes import Saturated, Success
from tests.unit.pool.building import WANT, bench, credential


@given(most=st.integers(1, 6), gaps_s=st.lists(st.floats(0.0, 70.0), max_size=60))
def test_no_minute_has_more_than_the_number(most: int, gaps_s: list[float]) -> None:
    """Protects a key from its provider's refusals: whenever requests come, any 60 seconds hold `most` at most."""
    quota, now_s, granted = MinuteQuota(most), 1000.0, list[float]()
    for gap_s in gaps_s:
        now_s += gap_s
        in_minute = [each for each in granted if now_s < each + MINUTE_S]
        assert quota.full(now_s) is (len(in_minute) == most)
        if not quota.full(now_s):
            quota.add(now_s)
            granted.append(now_s)


@pytest.mark.parametrize(("most", "full"), [(1, True), (2, True), (3, False)])
def test_another_number_goes_on_from_what_was_counted(most: int, *, full: bool) -> None:
    """Protects the minute in which the operator changes the file: its requests still count."""
    quota = MinuteQuota(4)
    quota.add(1.0)
    quota.add(2.0)
    changed = quota_of(most, quota)
    assert changed is not None
    assert changed.full(3.0) is full


def test_a_credential_that_has_had_its_minute_is_passed_over_until_it_is_over() -> None:
    """Protects the operator's number, and the others' turn: they answer meanwhile, and nothing is out of use."""
    table = bench(credential("a", requests_per_minute=2), "b")
    assert sorted(table.names(6)) == ["a", "a", "b", "b", "b", "b"]
    assert table.word("a") == "ready"
    table.clock.advance(MINUTE_S - 0.001)
    assert set(table.names(4)) == {"b"}
    table.clock.advance(0.001)
    assert table.names(4).count("a") == 2


def test_requests_wait_for_the_minute_to_move_on() -> None:
    """Protects waiting requests: the pool knows when there is room again, and the sweep of that moment serves them."""
    table = bench(credential("a", requests_per_minute=1))
    table.names(1)
    assert table.pick() == Saturated(0)
    ticket = table.pool.enqueue(WANT, table.walk())
    assert table.pool.next_deadline_s == table.clock.now_s + MINUTE_S
    table.clock.advance(1.0)
    assert not table.pool.sweep().grants
    table.clock.advance(MINUTE_S - 1.0)
    ((served, lease),) = table.pool.sweep().grants
    assert served is ticket
    table.pool.settle(lease, Success())
    assert table.pool.next_deadline_s == table.clock.now_s + MINUTE_S


def test_an_operator_reads_why_such_a_credential_is_not_asked() -> None:
    """Protects from a puzzle: free places, good health, and no requests."""
    table = bench(credential("a", requests_per_minute=1), "b")
    while table.names(1) != ["a"]:
        pass
    told = {each.name: each for each in table.pool.outlook(WANT.model, WANT.limit_class).credentials}
    assert told["a"].sentence == "It has had its requests of this minute (1)."
    assert told["a"].until_unix_ms == table.clock.wall_ms + 60_000
    assert told["b"].usability == "usable"


def test_a_changed_file_does_not_forget_the_minute() -> None:
    """Protects the number from being doubled by touching the file, also where the key gets another way out."""
    table = bench(credential("a", requests_per_minute=1))
    table.names(1)
    table.pool.replace([credential("a", requests_per_minute=1, weight=2)])
    assert isinstance(table.pick(), Saturated)
    table.pool.replace([credential("a", requests_per_minute=1, working_dir="/elsewhere")])
    assert isinstance(table.pick(), Saturated)
    table.pool.replace([credential("a")])
    assert isinstance(table.pick(), Lease)
