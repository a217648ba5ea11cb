"""Who judges the history of several replicas sees what must not be, and excuses only what may be."""

from dataclasses import replace

import pytest

from tests.support.history import (
    REDIS,
    STOPPED,
    Ban,
    History,
    Patience,
    Span,
    at_once,
    overdrawn,
    twice,
    used_in_spite,
)

_PATIENCE = Patience(heard_s=1.5, settled_s=5)
_BAN = Ban("k1", 10.0, 60.0)


@pytest.mark.parametrize(
    ("troubles", "began_s", "seen"),
    [
        ([], 9.0, False),
        ([], 11.4, False),
        ([], 11.6, True),
        ([], 61.0, False),
        # it was not over when the order was given, or began before all had heard
        ([Span(REDIS, 8.0, 20.0)], 24.9, False),
        ([Span(REDIS, 8.0, 20.0)], 25.1, True),
        ([Span(STOPPED, 11.0, 31.0)], 35.9, False),
        ([Span(STOPPED, 11.0, 31.0)], 36.1, True),
        # what all have heard no trouble takes back
        ([Span(REDIS, 12.0, 20.0)], 15.0, True),
        # one trouble after the other
        ([Span(REDIS, 8.0, 20.0), Span(STOPPED, 24.0, 40.0)], 44.9, False),
        ([Span(REDIS, 8.0, 20.0), Span(STOPPED, 26.0, 40.0)], 44.9, True),
    ],
)
def test_a_use_in_spite_of_a_ban_is_seen(troubles: list[Span], began_s: float, *, seen: bool) -> None:
    """Protects the five minutes under faults from finding nothing because nothing could be found."""
    use = Span("k1", began_s, began_s + 1)
    history = History(troubles=troubles, bans=[_BAN], uses=[use, replace(use, what="k2")])
    assert used_in_spite(history, _PATIENCE) == ([(_BAN, use)] if seen else [])


@pytest.mark.parametrize(
    ("troubles", "count", "seen"),
    [
        ([], 15, False),
        ([], 16, True),
        ([Span(REDIS, 70.0, 71.0)], 45, False),
        ([Span(REDIS, 70.0, 71.0)], 46, True),
    ],
)
def test_a_limit_that_was_overdrawn_is_seen(troubles: list[Span], count: int, *, seen: bool) -> None:
    """Protects the same for limits: a loss of Redis may cost so much and no more."""
    history = History(troubles=troubles, granted_s=[100 + number for number in range(count)])
    assert bool(overdrawn(history, 10, 60.0, 1.5)) is seen
    spread = replace(history, granted_s=[100 + 10 * number for number in range(count)])
    assert overdrawn(spread, 10, 60.0, 1.5) == []


def test_calls_at_once_and_work_done_twice_are_seen() -> None:
    """Protects the same for trials, accounts and uploads."""
    first, second, third = Span("a", 1.0, 2.0), Span("b", 1.5, 3.0), Span("a", 3.5, 4.0)
    assert at_once([third, second, first], lambda *_: False) == [(first, second)]
    assert at_once([first, second], lambda *_: True) == []
    assert twice([first, second, third], lambda *_: False) == [(first, third)]
    assert twice([first, third], lambda *_: True) == []
