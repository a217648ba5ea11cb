"""An overloaded provider is asked less, and as before as soon as it has recovered."""

import random

import pytest

from proxy.pool.breaker import Breaker, Breakers
from proxy.settings import Policy
from tests.support.clock import FakeClock


def _breaker(clock: FakeClock) -> Breaker:
    return Breaker(Policy(), clock, random.Random(1))


def _record(breaker: Breaker, good: int, overloaded: int) -> bool:
    for _ in range(good):
        breaker.record(overloaded=False)
    return [breaker.record(overloaded=True) for _ in range(overloaded)][-1] if overloaded else False


@pytest.mark.parametrize(
    ("good", "overloaded", "opens"),
    [(0, 19, False), (0, 20, True), (11, 10, False), (10, 10, True), (40, 39, False)],
)
def test_half_of_twenty_answers_open_it(good: int, overloaded: int, opens: bool) -> None:
    """Protects the provider from a storm, and clients from a breaker that opens for a handful of answers."""
    breaker = _breaker(FakeClock())
    assert _record(breaker, good, overloaded) is opens
    assert (breaker.open_for_s > 0) is opens


def test_while_open_one_in_five_passes() -> None:
    """Protects recovery: without a few calls nobody would learn that the overload is over."""
    breaker = _breaker(FakeClock())
    _record(breaker, 0, 20)
    passed = sum(breaker.admits() for _ in range(2000))
    assert 300 < passed < 500


def test_it_closes_by_itself() -> None:
    """Protects clients from a breaker nobody closes."""
    clock = FakeClock()
    breaker = _breaker(clock)
    _record(breaker, 0, 20)
    assert breaker.open_for_s == 10.0
    clock.advance(10.0)
    assert breaker.open_for_s == 0.0
    assert all(breaker.admits() for _ in range(100))


def test_answers_while_it_is_open_do_not_prolong_it() -> None:
    """Protects the bound: it is never open longer than its time without being judged anew."""
    clock = FakeClock()
    breaker = _breaker(clock)
    _record(breaker, 0, 20)
    clock.advance(5.0)
    assert not breaker.record(overloaded=True)
    assert breaker.open_for_s == 5.0


def test_it_opens_again_when_the_overload_lasts() -> None:
    """Protects the provider after the first ten seconds too."""
    clock = FakeClock()
    breaker = _breaker(clock)
    _record(breaker, 0, 20)
    clock.advance(10.5)
    assert _record(breaker, 0, 19) is False
    assert breaker.record(overloaded=True)


def test_answers_older_than_the_window_do_not_count() -> None:
    """Protects a morning's calls from the night's overload."""
    clock = FakeClock()
    breaker = _breaker(clock)
    _record(breaker, 0, 19)
    clock.advance(10.0)
    assert not breaker.record(overloaded=True)
    assert breaker.open_for_s == 0.0


def test_each_class_has_its_own() -> None:
    """Protects the small models from the overload of the large ones."""
    breakers = Breakers(Policy(), FakeClock(), random.Random(1))
    for _ in range(20):
        breakers.record("opus", overloaded=True)
    assert any(breakers.turned_away_s("opus") == 10.0 for _ in range(20))
    assert all(breakers.turned_away_s("haiku") == 0.0 for _ in range(20))


def test_a_class_without_an_overload_costs_nothing() -> None:
    """Protects the ordinary day, and memory from models clients make up."""
    breakers = Breakers(Policy(), FakeClock(), random.Random(1))
    for number in range(1000):
        assert not breakers.record(f"class-{number}", overloaded=False)
    assert not breakers._breakers
    for number in range(1000):
        breakers.record(f"class-{number}", overloaded=True)
    assert len(breakers._breakers) <= 256
