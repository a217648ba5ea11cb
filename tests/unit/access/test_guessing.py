"""Wrong keys are counted by address, and only wrong ones."""

import pytest

from proxy.access.guessing import ADDRESSES_MAX, Guesses, site_of
from proxy.errors import GatewayError
from tests.support.clock import FakeClock


def _guesses(clock: FakeClock) -> Guesses:
    return Guesses(clock, per_minute=10, longest_block_s=900.0)


def _tried(subject: Guesses, times: int, address: str = "192.0.2.1") -> list[float | None]:
    """For each try the seconds it was told to wait, or None."""
    found: list[float | None] = []
    for _ in range(times):
        try:
            subject.wrong(address)
        except GatewayError as error:
            found.append(error.retry_after_s)
        else:
            found.append(None)
    return found


def test_ten_a_minute_pass_and_the_eleventh_waits() -> None:
    """Protects keys from being tried by the thousand."""
    clock = FakeClock()
    subject = _guesses(clock)
    assert _tried(subject, 12) == [None] * 10 + [60, 60]
    clock.advance(20)
    with pytest.raises(GatewayError) as caught:
        subject.wrong("192.0.2.1")
    assert (caught.value.status, caught.value.retry_after_s, caught.value.should_retry) == (429, 40, False)


def test_a_slip_now_and_then_never_waits() -> None:
    """Protects a person who mistypes a key."""
    clock = FakeClock()
    subject = _guesses(clock)
    for _ in range(20):
        assert _tried(subject, 5) == [None] * 5
        clock.advance(60)


def test_the_wait_doubles_up_to_its_longest_and_is_forgotten() -> None:
    """Protects against a guesser who waits for the end of each block."""
    clock = FakeClock()
    subject = _guesses(clock)
    waits = []
    for _ in range(6):
        waits.append(_tried(subject, 11)[-1])
        clock.advance(float(waits[-1] or 0))
    assert waits == [60, 120, 240, 480, 900, 900]
    clock.advance(961)
    assert _tried(subject, 11)[-1] == 60


def test_each_address_is_counted_for_itself() -> None:
    """Protects everyone else from one guesser."""
    subject = _guesses(FakeClock())
    assert _tried(subject, 11, "192.0.2.1")[-1] == 60
    assert _tried(subject, 1, "192.0.2.2") == [None]


def test_many_addresses_take_a_bounded_room_and_the_oldest_goes() -> None:
    """Protects memory from a guesser with a million addresses."""
    subject = _guesses(FakeClock())
    _tried(subject, 11, "192.0.2.1")
    for number in range(ADDRESSES_MAX):
        subject.wrong(f"host-{number}")
    assert len(subject) == ADDRESSES_MAX
    assert _tried(subject, 1, "192.0.2.1") == [None]


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_a_network_of_ipv6_is_one_guesser(address: str, site: str) -> None:
    """Protects against a guesser who has as many addresses as there are keys."""
    assert site_of(address) == site


def test_who_guesses_is_turned_away_before_a_key_is_looked_at_where_that_is_asked() -> None:
    """Protects keys that only an upstream can tell right from wrong, from being tried there."""
    clock = FakeClock()
    subject = _guesses(clock)
    subject.demand_none("192.0.2.1")
    _tried(subject, 11)
    with pytest.raises(GatewayError) as caught:
        subject.demand_none("192.0.2.1")
    assert (caught.value.status, caught.value.retry_after_s) == (429, 60)
    subject.demand_none("192.0.2.2")
    clock.advance(60)
    subject.demand_none("192.0.2.1")
