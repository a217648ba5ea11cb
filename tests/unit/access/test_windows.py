"""Requests are counted one by one, tokens in two buckets of a minute."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from proxy.access.windows import ClockedStorage, TokenWindow
from tests.support.clock import FakeClock

_LIMIT = 60


def test_sixty_a_minute_pass_in_each_of_three_minutes_under_eight_clients() -> None:
    """Protects both sides of a limit: never more than it says, and as much as it says."""
    clock = FakeClock(now_s=0.0)
    subject = MovingWindowRateLimiter(ClockedStorage(clock))
    item = RateLimitItemPerMinute(_LIMIT)
    passed = [0, 0, 0]
    for tick in range(3 * 60 * 10):
        clock.now_s = tick / 10
        for _ in range(8):
            passed[tick // 600] += subject.hit(item, "shared")
    assert all(_LIMIT - 1 <= count <= _LIMIT + 1 for count in passed), passed


@given(st.lists(st.floats(0, 20), max_size=200), st.integers(1, 10))
def test_no_minute_anywhere_has_more_than_the_limit(steps: list[float], limit: int) -> None:
    """Protects an upstream from two bursts at the seam of two minutes."""
    clock = FakeClock(now_s=0.0)
    subject = MovingWindowRateLimiter(ClockedStorage(clock))
    passed: list[float] = []
    for step in steps:
        clock.now_s += step
        if subject.hit(RateLimitItemPerMinute(limit), "k"):
            passed.append(clock.now_s)
        recent = [at for at in passed if at > clock.now_s - 60]
        assert len(recent) <= limit
        stats = subject.get_window_stats(RateLimitItemPerMinute(limit), "k")
        assert stats.remaining == limit - len(recent)
        assert stats.reset_time == (recent[0] if recent else clock.now_s) + 60


def test_keys_are_counted_apart_and_can_be_forgotten() -> None:
    """Protects one client from another's requests, and memory from times that no longer count."""
    clock = FakeClock()
    storage = ClockedStorage(clock)
    assert [storage.acquire_entry("a", 1, 60), storage.acquire_entry("b", 1, 60)] == [True, True]
    assert not storage.acquire_entry("a", 1, 60)
    assert storage.get_expiry("a") == clock.now_s
    storage.clear("a")
    assert storage.acquire_entry("a", 1, 60)
    assert storage.reset() == 2
    assert (storage.get("a"), storage.get("b")) == (0, 0)
    assert storage.incr("a", 60, 3) == 3
    clock.advance(60)
    assert storage.incr("a", 60) == 1


def test_a_full_minute_fades_over_the_next_one() -> None:
    """Protects against twice the limit at the seam of two minutes."""
    clock = FakeClock(now_s=600.0)
    subject = TokenWindow(clock)
    subject.add(1000)
    used = []
    for _ in range(5):
        used.append(round(subject.used()))
        clock.advance(30)
    assert used == [1000, 1000, 1000, 500, 0]


@pytest.mark.parametrize(
    ("passed_s", "difference", "used"),
    [(0, -900, 100), (0, 50, 1050), (60, -900, 100), (60, 500, 1500), (120, -900, 0), (120, 500, 500)],
)
def test_what_was_reserved_is_corrected_where_it_was_counted(
    passed_s: int, difference: int, used: int
) -> None:
    """Protects the sum: what was too much is free again, what was too little counts, however late it is known."""
    clock = FakeClock(now_s=600.0)
    subject = TokenWindow(clock)
    bucket = subject.add(1000)
    clock.advance(passed_s)
    subject.correct(bucket, difference)
    assert subject.used() == used


@given(
    st.lists(st.tuples(st.floats(0, 90), st.integers(0, 2000)), min_size=1, max_size=20), st.integers(1, 1000)
)
def test_after_the_wait_that_is_told_the_tokens_fit_and_before_it_they_do_not(
    steps: list[tuple[float, int]], tokens: int
) -> None:
    """Protects clients, which come back exactly when they are told to."""
    clock = FakeClock(now_s=600.0)
    subject, limit = TokenWindow(clock), 1000
    for step, added in steps:
        clock.now_s += step
        subject.add(added)
    wait_s = subject.wait_s(tokens, limit)
    assert 0 <= wait_s <= 120
    if wait_s > 0.01:
        assert subject.used() + tokens > limit
    clock.now_s += wait_s
    assert math.floor(subject.used()) + tokens <= limit + 1
