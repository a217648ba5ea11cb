"""Secrets are never shown, compared in constant time, and named without being told."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.secrets import Secret

CANARY = "sk-ant-api03-canary-5f2b"


@pytest.mark.parametrize(
    "shown",
    [repr, str, "{}".format, "{!r:>40}".format, "{:>40}".format, "%s".__mod__, lambda secret: f"{[secret]}"],
)
def test_no_way_of_printing_a_secret_shows_it(shown: object) -> None:
    """Protects logs and error texts, whichever way a value gets into them."""
    assert callable(shown)
    assert CANARY not in shown(Secret(CANARY))
    assert "canary" not in shown(Secret(CANARY))


def test_a_secret_is_not_pickled() -> None:
    """Protects against a key in a file of another library's making."""
    with pytest.raises(TypeError, match="not pickled") as caught:
        pickle.dumps(Secret(CANARY))
    assert CANARY not in str(caught.value)


def test_reveal_gives_the_value_back() -> None:
    """Protects the one way by which a key reaches its upstream."""
    assert Secret(CANARY).reveal() == CANARY


@given(left=st.text(max_size=60), right=st.text(max_size=60))
def test_secrets_are_equal_exactly_if_their_values_are(left: str, right: str) -> None:
    """Protects uniting the credentials of several places, which compares and hashes secrets."""
    try:
        left.encode(), right.encode()
    except UnicodeEncodeError:
        return
    assert (Secret(left) == Secret(right)) is (left == right)
    assert (hash(Secret(left)) == hash(Secret(right))) is (left == right)


def test_a_secret_never_equals_the_plain_text() -> None:
    """Protects against a comparison that would not be in constant time."""
    assert Secret(CANARY) != CANARY


@pytest.mark.parametrize(("value", "truth"), [("", False), ("x", True)])
def test_an_empty_secret_is_false(value: str, truth: bool) -> None:
    """Protects the places that ask whether there is a secret at all."""
    assert bool(Secret(value)) is truth


def test_a_fingerprint_depends_on_value_key_and_purpose() -> None:
    """Protects stored rows from being tied to another key, another installation or another use."""
    base = Secret(CANARY).fingerprint(b"k" * 32, "health")
    assert len(base) == 32
    assert base == Secret(CANARY).fingerprint(b"k" * 32, "health")
    assert base != Secret(CANARY + "x").fingerprint(b"k" * 32, "health")
    assert base != Secret(CANARY).fingerprint(b"j" * 32, "health")
    assert base != Secret(CANARY).fingerprint(b"k" * 32, "log")


def test_a_digest_covers_the_whole_value() -> None:
    """Protects key comparison from taking two keys of one beginning for the same."""
    shared = "s" * 200
    assert Secret(shared + "a").digest() != Secret(shared + "b").digest()
    assert len(Secret(shared).digest()) == 32
