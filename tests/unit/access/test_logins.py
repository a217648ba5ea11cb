"""Logins are known again by whoever has the keys, and by nobody else made."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access.logins import _ENDED_MAX, LOGIN_S, Logins
from tests.support.clock import FakeClock

_KEY = b"k" * 32


def test_a_login_is_known_to_another_process_of_the_same_keys() -> None:
    """Protects administrators from having to log in again after a restart, and for each of several workers."""
    clock = FakeClock()
    value = Logins(_KEY, clock).log_in()
    found = Logins(_KEY, clock).recognize(value)
    assert found is not None
    assert found.until_unix_ms == clock.wall_ms + LOGIN_S * 1000


def test_another_admin_key_ends_all_logins() -> None:
    """Protects a server whose admin key was changed because somebody had it."""
    clock = FakeClock()
    assert Logins(b"o" * 32, clock).recognize(Logins(_KEY, clock).log_in()) is None


def test_a_login_is_over_after_its_time() -> None:
    """Protects a cookie that was left behind somewhere."""
    clock = FakeClock()
    subject = Logins(_KEY, clock)
    value = subject.log_in()
    clock.advance(LOGIN_S - 1)
    login = subject.recognize(value)
    assert login is not None
    assert subject.good(login)
    clock.advance(1)
    assert subject.recognize(value) is None
    assert not subject.good(login)


def test_a_login_that_was_ended_stays_so() -> None:
    """Protects those who log out on a machine of others: the cookie's value is worth nothing afterwards."""
    subject = Logins(_KEY, FakeClock())
    value, other = subject.log_in(), subject.log_in()
    login = subject.recognize(value)
    assert login is not None
    subject.end(login)
    assert subject.recognize(value) is None
    assert not subject.good(login)
    assert subject.recognize(other) is not None


def test_what_is_kept_of_ended_logins_is_bounded() -> None:
    """Protects the memory from somebody with the key who logs in and out for ever."""
    subject = Logins(_KEY, FakeClock())
    for _ in range(_ENDED_MAX + 5):
        login = subject.recognize(subject.log_in())
        assert login is not None
        subject.end(login)
    assert len(subject._ended) == _ENDED_MAX


def test_each_login_has_a_token_of_its_own() -> None:
    """Protects the orders of one page from the token of another login."""
    subject = Logins(_KEY, FakeClock())
    one, other = subject.recognize(subject.log_in()), subject.recognize(subject.log_in())
    assert one is not None
    assert other is not None
    assert one.sent(one.token)
    assert not one.sent(other.token)
    assert not one.sent("")
    assert not one.sent("\udcff")
    assert one.token not in repr(subject)


@pytest.mark.parametrize("position", range(0, 75, 5))
def test_a_changed_character_makes_it_worthless(position: int) -> None:
    """Protects time and nonce alike: nobody prolongs a login, or makes one out of another."""
    subject = Logins(_KEY, FakeClock())
    value = subject.log_in()
    changed = "A" if value[position] != "A" else "B"
    assert subject.recognize(value[:position] + changed + value[position + 1 :]) is None


@given(st.one_of(st.text(max_size=100), st.binary(min_size=56, max_size=56)))
def test_no_other_text_is_a_login(value: str | bytes) -> None:
    """Protects the gate from whatever a client puts into a cookie: it is no login, and no mistake of ours."""
    text = value if isinstance(value, str) else urlsafe_b64encode(value).decode().rstrip("=")
    assert Logins(_KEY, FakeClock()).recognize(text) is None


def test_the_time_is_part_of_what_is_signed() -> None:
    """Protects against a value whose end was moved while its signature was kept."""
    subject = Logins(_KEY, FakeClock())
    raw = bytearray(urlsafe_b64decode(subject.log_in() + "="))
    raw[16:24] = (2**62).to_bytes(8)
    assert subject.recognize(urlsafe_b64encode(bytes(raw)).decode().rstrip("=")) is None
