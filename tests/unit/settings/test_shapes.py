"""Addresses, web sessions and model aliases."""

import pytest

from proxy.secrets import Secret
from proxy.settings import shapes
from proxy.settings.problems import InvalidValueError
from proxy.settings.shapes import Address, ModelAliases, WebSession


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("localhost:0", "localhost", 0),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_an_address_is_read_and_written_back(text: str, host: str, port: int) -> None:
    """Protects the listener and the line that tells where it listens."""
    assert shapes.address(text) == Address(host, port)
    assert str(Address(host, port)) == text


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "h:", "h:65536", "h:-1", "h:x", "::1:80", "a b:1", "h:\u0663"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Protects against listening somewhere else than the operator meant."""
    with pytest.raises(InvalidValueError):
        shapes.address(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")],
        *[(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.com")],  # noqa: S104 - compared only
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    """Protects the warning about a server that is open to others."""
    assert Address(host, 1).loopback is loopback


def test_sessions_may_name_their_organization() -> None:
    """Protects both forms of a session cookie."""
    assert shapes.sessions("sk-1:org-2, sk-3") == (
        WebSession(Secret("sk-1"), "org-2"),
        WebSession(Secret("sk-3"), None),
    )


@pytest.mark.parametrize("text", ["", "a,,b", "a:", "a:o r", ":org", "a b"])
def test_a_session_that_cannot_be_is_refused(text: str) -> None:
    """Protects against an account that is never asked, or asked for another organization."""
    with pytest.raises(InvalidValueError):
        shapes.sessions(text)


@pytest.mark.parametrize(
    ("text", "aliases"),
    [
        ("on", ModelAliases()),
        ("OFF", ModelAliases(enabled=False)),
        ("gpt-*=sonnet", ModelAliases(added=(("gpt-*", "sonnet"),))),
        ("on, a= b, c=d,a=b", ModelAliases(added=(("a", "b"), ("c", "d")))),
    ],
)
def test_aliases_are_switched_or_added_to(text: str, aliases: ModelAliases) -> None:
    """Protects clients whose models have other names here."""
    assert shapes.model_aliases(text) == aliases


@pytest.mark.parametrize("text", ["off,a=b", "a", "a=", "=b", "a=b=c", "a=b,a=c", "a b=c", ","])
def test_aliases_that_contradict_themselves_are_refused(text: str) -> None:
    """Protects against a request that silently goes to another model."""
    with pytest.raises(InvalidValueError):
        shapes.model_aliases(text)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("none", ()),
        ("a-*=b", (("a-*", "b"),)),
        ("a=b, a = c,a=b", (("a", "b"), ("a", "c"))),
    ],
)
def test_models_stand_in_for_others_in_their_order(text: str, pairs: tuple[tuple[str, str], ...]) -> None:
    """Protects chains: one pattern may have several models behind it."""
    assert shapes.model_fallbacks(text) == pairs


@pytest.mark.parametrize("text", ["a", "a=", "=b", "a=b=c", "a=b*", "a=[b]", "a=b,,", "a b=c"])
def test_a_chain_that_cannot_be_followed_is_refused(text: str) -> None:
    """Protects against a model that is never asked, unnoticed until it is needed."""
    with pytest.raises(InvalidValueError):
        shapes.model_fallbacks(text)
