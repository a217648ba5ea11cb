"""Requests are counted one by one, tokens in two buckets of a minute."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access.windows import RequestWindow, TokenWindow
from tests.support.clock import FakeClock

_LIMIT = 60


def _hit(subject: RequestWindow, limit: int, now_s: float) -> bool:
    if subject.used(now_s) >= limit:
        return False
    subject.add(now_s)
    return True


def test_sixty_a_minute_pass_in_each_of_three_minutes_under_eight_clients() -> None:
    """Protects both sides of a limit: never more than it says, and as much as it says."""
    subject = RequestWindow()
    passed = [0, 0, 0]
    for tick in range(3 * 60 * 10):
        for _ in range(8):
            passed[tick // 600] += _hit(subject, _LIMIT, tick / 10)
    assert all(_LIMIT - 1 <= count <= _LIMIT + 1 for count in passed), passed


@given(st.lists(st.floats(0, 20), max_size=200), st.integers(1, 10))
def test_no_minute_anywhere_has_more_than_the_limit(steps: list[float], limit: int) -> None:
    """Protects an upstream from two bursts at the seam of two minutes."""
    subject, now_s = RequestWindow(), 0.0
    passed: list[float] = []
    for step in steps:
        now_s += step
        if _hit(subject, limit, now_s):
            passed.append(now_s)
        recent = [at for at in passed if at + 60 > now_s]
        assert len(recent) <= limit
        assert subject.used(now_s) == len(recent)
        assert subject.wait_s(now_s) == (recent[0] + 60 - now_s if recent else 0)


def test_a_full_minute_fades_over_the_next_one() -> None:
    """Protects against twice the limit at the seam of two minutes."""
    clock = FakeClock(now_s=600.0)
    subject = TokenWindow()
    subject.add(1000, clock.now_s)
    used = []
    for _ in range(5):
        used.append(round(subject.used(clock.now_s)))
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
    subject = TokenWindow()
    bucket = subject.add(1000, clock.now_s)
    clock.advance(passed_s)
    subject.correct(bucket, difference, clock.now_s)
    assert subject.used(clock.now_s) == used


@given(
    st.lists(st.tuples(st.floats(0, 90), st.integers(0, 2000)), min_size=1, max_size=20), st.integers(1, 1000)
)
def test_after_the_wait_that_is_told_the_tokens_fit_and_before_it_they_do_not(
    steps: list[tuple[float, int]], tokens: int
) -> None:
    """Protects clients, which come back exactly when they are told to."""
    clock = FakeClock(now_s=600.0)
    subject, limit = TokenWindow(), 1000
    for step, added in steps:
        clock.now_s += step
        subject.add(added, clock.now_s)
    wait_s = subject.wait_s(tokens, limit, clock.now_s)
    assert 0 <= wait_s <= 120
    if wait_s > 0.01:
        assert subject.used(clock.now_s) + tokens > limit
    clock.now_s += wait_s
    assert math.floor(subject.used(clock.now_s)) + tokens <= limit + 1
