"""Telling the site's calls apart, and its cookies."""

import pytest

from proxy.simulator.web_calls import call_of, cookies_in, made_up_uuid, place_of, session_key, set_cookies

_CALLS = [
    ("GET", "/api/organizations", "organizations", ("", "")),
    ("GET", "/api/bootstrap", "bootstrap", ("", "")),
    ("PUT", "/api/account", "account", ("", "")),
    ("POST", "/api/organizations/o/chat_conversations", "create", ("o", "")),
    ("PUT", "/api/organizations/o/chat_conversations/c", "settings", ("o", "c")),
    ("GET", "/api/organizations/o/chat_conversations/c", "history", ("o", "c")),
    ("DELETE", "/api/organizations/o/chat_conversations/c", "delete", ("o", "c")),
    ("POST", "/api/organizations/o/chat_conversations/c/completion", "complete", ("o", "c")),
    ("POST", "/api/o/upload", "upload", ("o", "")),
    ("POST", "/api/organizations/o/conversations/c/wiggle/upload-file", "upload", ("o", "c")),
    ("POST", "/api/o/convert_document", "convert_document", ("o", "")),
    ("POST", "/api/organizations/o/convert_document", "convert_document", ("o", "")),
    ("GET", "/api/organizations/o/usage", "usage", ("o", "")),
    ("GET", "/api/hello", None, ("", "")),
    ("POST", "/v1/messages", None, ("", "")),
    ("DELETE", "/api/organizations", None, ("", "")),
]


@pytest.mark.parametrize(("method", "path", "call", "place"), _CALLS)
def test_a_call_is_known_by_method_and_path(
    method: str, path: str, call: str | None, place: tuple[str, str]
) -> None:
    """Protects scripts that name a call."""
    assert call_of(method, path) == call
    assert place_of(method, path) == place


def test_a_session_is_found_among_other_cookies() -> None:
    """Protects the record, which is kept by session."""
    header = "a=b; sessionKey=sk=1 ; broken; c="
    assert list(cookies_in(header)) == [("a", "b"), ("sessionKey", "sk=1"), ("c", "")]
    assert session_key(header) == "sk=1"
    assert session_key("") == ""


def test_cookies_are_made_of_the_session_they_are_for() -> None:
    """Protects the finding of leaks: two sessions never get the same."""
    assert not set(set_cookies("a")) & set(set_cookies("b"))
    assert set_cookies("") == []
    assert made_up_uuid("a") == made_up_uuid("a") != made_up_uuid("b")
