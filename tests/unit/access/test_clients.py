"""A presented key belongs to one client or to none."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access import clients
from proxy.access.clients import ANONYMOUS, Client, ClientKeys
from proxy.secrets import Secret

SHARED = "sk-carousel-" + "s" * 28
ONE, TWO = Client("env-1"), Client("env-2")


def keys(*, require_auth: bool = True) -> ClientKeys:
    """Two keys whose first 40 characters are the same."""
    return ClientKeys([(Secret(SHARED + "1"), ONE), (Secret(SHARED + "2"), TWO)], require_auth=require_auth)


def test_keys_with_a_long_common_beginning_never_cross() -> None:
    """Protects tenants from each other: a shortened key once stood for all keys of its beginning elsewhere."""
    assert len(SHARED) == 40
    assert keys().match(SHARED + "1") == ONE
    assert keys().match(SHARED + "2") == TWO
    for wrong in (SHARED, SHARED + "3", SHARED + "1 ", SHARED + "12", SHARED.upper() + "1", ""):
        assert keys().match(wrong) is None


@given(st.text(max_size=60))
def test_whatever_is_presented_is_no_key_unless_it_is_one(presented: str) -> None:
    """Protects the door from odd characters, lone surrogates among them."""
    assert keys().match(presented) is (ONE if presented == SHARED + "1" else None)


def test_bytes_that_are_no_utf8_are_a_wrong_key() -> None:
    """Protects against a crash: such header bytes arrive as lone surrogates."""
    assert keys().match(b"\xff\xfe".decode("utf-8", "surrogateescape")) is None


def test_a_match_looks_at_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects against learning from the time of an answer how many keys there are before one's own."""
    compared: list[bytes] = []

    def compare(known: bytes, presented: bytes) -> bool:
        compared.append(known)
        return hmac.compare_digest(known, presented)

    subject = keys()
    monkeypatch.setattr(clients, "hmac", type("spy", (), {"compare_digest": staticmethod(compare)}))
    assert subject.match(SHARED + "1") == ONE
    digests = [hashlib.sha256(f"{SHARED}{end}".encode()).digest() for end in "12"]
    assert compared == digests


def test_no_key_is_nobody() -> None:
    """Protects the routes that need a client key."""
    assert keys().match(None) is None


@pytest.mark.parametrize(
    ("presented", "client"), [(None, ANONYMOUS), ("not-needed", ANONYMOUS), (SHARED + "2", TWO)]
)
def test_without_authentication_everyone_comes_in_and_known_keys_keep_their_name(
    presented: str | None, client: Client
) -> None:
    """Protects clients that send any key, and the accounting of those with one of ours."""
    assert keys(require_auth=False).match(presented) == client


def test_no_key_shows_in_the_keys() -> None:
    """Protects logs; the clients' names are all there is to see."""
    assert repr(keys()) == "<ClientKeys [env-1, env-2]>"
    assert SHARED not in str([getattr(keys(), name) for name in ClientKeys.__slots__])


@pytest.mark.parametrize(("require_auth", "expected"), [(True, {"work"}), (False, {"work", "anonymous"})])
def test_the_names_are_those_of_all_who_may_come_in(*, require_auth: bool, expected: set[str]) -> None:
    """Protects operators who ask about a client: a slip in its name is noticed."""
    keys = ClientKeys([(Secret("first-key"), Client("work"))], require_auth=require_auth)
    assert keys.names == expected
