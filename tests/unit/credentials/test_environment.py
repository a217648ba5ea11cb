"""Credentials from settings alone."""

from pathlib import Path

import pytest

from proxy.credentials import load_credentials
from proxy.credentials.credential import Credential, Kind
from proxy.settings import ConfigurationError, load_settings


def found(environ: dict[str, str], working_dir: Path) -> tuple[Credential, ...]:
    """The credentials these variables make."""
    return load_credentials(load_settings({}, environ, working_dir), environ).found


def test_each_sort_is_numbered_by_itself(tmp_path: Path) -> None:
    """Protects the aliases shown in headers and logs, which are all an operator sees."""
    environ = {
        "ANTHROPIC_API_KEY": "sk-c",
        "ANTHROPIC_API_KEYS": "sk-a,sk-b",
        "SESSIONS": "cookie-a:org-1,cookie-b",
        "CLAUDE_CODE": "1",
        "FALLBACK_API_URL_1": "https://one.example/v1",
        "FALLBACK_API_URL_3": "https://three.example/v1",
        "FALLBACK_API_NAME_3": "Third",
    }
    credentials = found(environ, tmp_path)
    assert [each.name for each in credentials] == [
        *("api-1", "api-2", "api-3", "web-1", "web-2", "code-1", "fallback-1", "Third"),
    ]
    assert [each.secret.reveal() if each.secret else None for each in credentials] == [
        *("sk-a", "sk-b", "sk-c", "cookie-a", "cookie-b", None, None, None),
    ]
    assert [each.organization for each in credentials[3:5]] == ["org-1", None]
    assert [each.tier for each in credentials] == [0, 0, 0, 0, 0, 0, 100, 101]
    assert [each.fallback for each in credentials] == [False] * 6 + [True] * 2


def test_a_fallback_at_the_anthropic_api_is_of_its_kind(tmp_path: Path) -> None:
    """Protects Claude's own dialect from being spoken to as OpenAI's."""
    environ = {
        "FALLBACK_API_URL_1": "https://API.anthropic.com/v1",
        "FALLBACK_API_KEY_1": "sk-ant",
        "FALLBACK_API_MODEL_1": "claude-3-opus-20240229",
        "FALLBACK_API_URL_2": "https://api.anthropic.com.example/v1",
        "FALLBACK_API_KEY_2": "sk-other",
    }
    first, second = found(environ, tmp_path)
    assert (first.kind, first.name, first.model) == (Kind.ANTHROPIC, "fallback-1", "claude-3-opus-20240229")
    assert first.base_url.lower() == "https://api.anthropic.com"
    assert (second.kind, second.base_url) == (Kind.OPENAI, "https://api.anthropic.com.example/v1")
    assert (first.fallback, second.fallback) == (True, True)


def test_the_anthropic_api_is_no_fallback_without_a_key(tmp_path: Path) -> None:
    """Protects against a last resort that can only ever answer 401."""
    with pytest.raises(ConfigurationError, match=r"^FALLBACK_API_KEY_4: is missing"):
        found({"FALLBACK_API_URL_4": "https://api.anthropic.com"}, tmp_path)
