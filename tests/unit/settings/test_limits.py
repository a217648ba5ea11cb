"""Settings of limits, and of who may call from where."""

from pathlib import Path

import pytest

from proxy.settings import ConfigurationError, LimitSettings, load_settings
from proxy.settings.limits import LIMIT_SETTINGS


def test_nothing_is_limited_unless_it_is_set(tmp_path: Path) -> None:
    """Protects those who set nothing from limits they do not expect; only guessing has one."""
    assert load_settings({}, {}, tmp_path).limits == LimitSettings(
        requests_per_minute=None,
        client_requests_per_minute=None,
        tokens_per_minute=None,
        wrong_keys_per_minute=10,
        wrong_keys_block_s=900.0,
        cors_origins=(),
        trusted_proxies=(),
    )


def test_each_setting_is_read_into_its_number(tmp_path: Path) -> None:
    """Protects against two limits that are mixed up."""
    environ = {
        "REQUESTS_PER_MINUTE": "1",
        "RATE_LIMIT_REQUESTS_PER_MINUTE": "2",
        "TOKENS_PER_MINUTE": "3",
        "WRONG_KEYS_PER_MINUTE": "4",
        "WRONG_KEYS_BLOCK_SECONDS": "5",
        "CORS_ORIGINS": "https://Chat.example.com, http://localhost:3000",
        "TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8",
    }
    assert set(environ) == {setting.name for setting in LIMIT_SETTINGS}
    settings = load_settings({}, environ, tmp_path)
    assert settings.limits == LimitSettings(
        requests_per_minute=1,
        client_requests_per_minute=2,
        tokens_per_minute=3,
        wrong_keys_per_minute=4,
        wrong_keys_block_s=5.0,
        cors_origins=("https://chat.example.com", "http://localhost:3000"),
        trusted_proxies=("127.0.0.1/32", "10.0.0.0/8"),
    )
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REQUESTS_PER_MINUTE", "0"),
        ("TOKENS_PER_MINUTE", "many"),
        ("WRONG_KEYS_PER_MINUTE", "0"),
        ("TRUSTED_PROXIES", "proxy.local"),
        ("CORS_ORIGINS", "chat.example.com"),
        ("CORS_ORIGINS", "https://chat.example.com/"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("CORS_ORIGINS", "*,https://chat.example.com"),
        ("CORS_ORIGINS", "null"),
    ],
)
def test_a_wrong_value_stops_the_start(name: str, value: str, tmp_path: Path) -> None:
    """Protects against a limit that holds nobody, and an origin that no browser ever sends."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {name: value}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == [name]
