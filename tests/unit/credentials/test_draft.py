"""From what a place says to a complete credential."""

from pathlib import Path

import pytest

from proxy.credentials.credential import Kind
from proxy.credentials.draft import Draft
from proxy.secrets import Secret
from proxy.settings import CredentialSources, load_settings


@pytest.fixture
def sources(tmp_path: Path) -> CredentialSources:
    """Sources with an address and a way out of their own."""
    environ = {"ANTHROPIC_BASE_URL": "https://gateway.example/v1", "PROXY": "http://proxy:1"}
    return load_settings({}, environ, tmp_path).sources


@pytest.mark.parametrize(
    ("kind", "url", "expected"),
    [
        (Kind.ANTHROPIC, None, "https://gateway.example"),
        (Kind.ANTHROPIC, "https://api.anthropic.com/v1", "https://api.anthropic.com"),
        (Kind.CLAUDE_CODE, None, "https://gateway.example"),
        (Kind.CLAUDE_WEB, None, "https://claude.ai"),
        (Kind.OPENAI, "https://api.openai.com/v1", "https://api.openai.com/v1"),
    ],
)
def test_an_address_is_completed_as_its_kind_needs(
    kind: Kind, url: str | None, expected: str, sources: CredentialSources
) -> None:
    """Protects requests from going to /v1/v1/messages."""
    assert Draft(where="", kind=kind, base_url=url).settled("x", sources).base_url == expected


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (Kind.ANTHROPIC, None, None),
        (Kind.OPENAI, None, None),
        (Kind.CLAUDE_WEB, None, 1),
        (Kind.CLAUDE_CODE, None, 1),
        (Kind.CLAUDE_CODE, 3, 3),
    ],
)
def test_logins_of_persons_get_one_request_at_a_time(
    kind: Kind, given: int | None, expected: int | None, sources: CredentialSources
) -> None:
    """Protects accounts that are meant for one person from traffic that is not."""
    draft = Draft(where="", kind=kind, base_url="https://x", max_concurrency=given)
    assert draft.settled("x", sources).max_concurrency == expected


@pytest.mark.parametrize(
    ("token", "expected"), [("sk-ant-api03-x", 4), ("sk-relay", 4), ("sk-ant-oat01-x", 1)]
)
def test_a_claude_code_key_takes_several_requests_and_a_login_token_one(
    token: str, expected: int, sources: CredentialSources
) -> None:
    """Protects the use of a key that is no person's, and a login that is."""
    draft = Draft(where="", kind=Kind.CLAUDE_CODE, secret=Secret(token))
    assert draft.settled("x", sources).max_concurrency == expected


def test_a_credentials_own_way_out_comes_before_the_general_one(sources: CredentialSources) -> None:
    """Protects a credential from leaving through an address it must not be seen at."""
    own = Secret("socks5://own:1")
    assert Draft(where="", kind=Kind.ANTHROPIC, way_out=own).settled("x", sources).way_out == own
    assert Draft(where="", kind=Kind.ANTHROPIC).settled("x", sources).way_out == Secret("http://proxy:1")
