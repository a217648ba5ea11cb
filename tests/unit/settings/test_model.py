"""The settings as one value."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from proxy.settings import load_settings

CANARY = "canary-7d1f0c52b9ae"
SECRETS = {
    "API_KEYS": f"client-{CANARY}",
    "ADMIN_KEY": f"admin-{CANARY}",
    "SECRET_KEY": f"secret-{CANARY}",
    "ANTHROPIC_API_KEY": f"sk-ant-{CANARY}",
    "PROXY": f"http://user:{CANARY}@proxy:8080",
    "SESSIONS": f"sk-ant-sid01-{CANARY}:org",
    "CLAUDE_API_KEYS": f'[{{"name": "a", "token": "{CANARY}"}}]',
    "FALLBACK_API_URL_1": "https://example.com/v1",
    "FALLBACK_API_KEY_1": f"sk-{CANARY}",
    "REDIS_URL": f"redis://:{CANARY}@redis",
}


def test_nothing_secret_shows_in_the_settings_or_their_warnings(tmp_path: Path) -> None:
    """Protects every log line that prints the configuration, wherever a secret came from."""
    (tmp_path / ".env").write_text(f"OTHER={CANARY}\n")
    (tmp_path / ".env").chmod(0o600)
    settings = load_settings({}, SECRETS, tmp_path)
    assert CANARY not in repr(settings)
    assert settings.sources.variables["OTHER"].reveal() == CANARY
    assert not any(CANARY in warning for warning in settings.warnings)


def test_settings_do_not_change_under_their_readers(tmp_path: Path) -> None:
    """Protects a running server from a value that differs between two looks."""
    settings = load_settings({}, {}, tmp_path)
    with pytest.raises(FrozenInstanceError):
        settings.drain_s = 1.0  # type: ignore[misc] # the point of the test
