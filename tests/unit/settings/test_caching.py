"""Settings of the cache of answers."""

from pathlib import Path

import pytest

from proxy.settings import CacheSettings, ConfigurationError, load_settings
from proxy.settings.caching import CACHE_SETTINGS


def test_nothing_is_kept_unless_it_is_asked_for(tmp_path: Path) -> None:
    """Protects clients from old answers that nobody wanted."""
    found = load_settings({}, {}, tmp_path).cache
    assert not found.enabled
    assert found == CacheSettings(enabled=False, ttl_s=3600, max_entries=1000, max_bytes=64 * 1024 * 1024)


def test_each_setting_is_read_into_its_number(tmp_path: Path) -> None:
    """Protects against two bounds that are mixed up."""
    environ = {
        "CACHE_ENABLED": "true",
        "CACHE_TTL_SECONDS": "7",
        "CACHE_MAX_ENTRIES": "8",
        "CACHE_MAX_BYTES": "2000000",
    }
    assert set(environ) == {setting.name for setting in CACHE_SETTINGS}
    settings = load_settings({}, environ, tmp_path)
    assert settings.cache == CacheSettings(enabled=True, ttl_s=7, max_entries=8, max_bytes=2_000_000)
    assert settings.warnings == ()


def test_the_names_of_the_older_program_work(tmp_path: Path) -> None:
    """Protects users who bring their configuration along."""
    environ = {
        "CLAUDE_CODE__CACHE__ENABLED": "true",
        "CLAUDE_CODE__CACHE__MAX_ENTRIES": "10",
        "CLAUDE_CODE__CACHE__TTL_SECONDS": "60",
    }
    settings = load_settings({}, environ, tmp_path)
    assert (settings.cache.enabled, settings.cache.max_entries, settings.cache.ttl_s) == (True, 10, 60)
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CACHE_ENABLED", "perhaps"),
        ("CACHE_TTL_SECONDS", "0"),
        ("CACHE_MAX_ENTRIES", "0"),
        ("CACHE_MAX_BYTES", "1000"),
    ],
)
def test_a_wrong_value_stops_the_start(name: str, value: str, tmp_path: Path) -> None:
    """Protects against a cache that keeps nothing, or everything."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {name: value}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == [name]
