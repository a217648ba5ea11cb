"""Settings of features to come are checked today."""

from pathlib import Path

import pytest

from proxy.settings import ALL_SETTINGS, ConfigurationError, load_settings
from proxy.settings.later import LATER_SETTINGS

WRONG = {
    "CHAT_DELETE": "perhaps",
    "MAX_CHAT_HISTORY_LENGTH": "0",
    "MIRROR_API_PREFIX": "mirror",
    "CLAUDE_CODE__CLAUDE__MAX_CONCURRENT_SESSIONS": "-1",
    "RESPONSES_TTL": "soon",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_stops_the_start_although_nothing_reads_it_yet(name: str, tmp_path: Path) -> None:
    """Protects the day the feature arrives from configurations that were always wrong."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {name: WRONG[name]}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == [name]


def test_each_setting_without_effect_says_so_once_when_it_is_set(tmp_path: Path) -> None:
    """Protects operators from believing that a limit holds which nobody keeps."""
    environ = {"CLAUDE_CODE_TOOLS": "Read", "CLAUDE_CODE__MCP__ENABLED": "true"}
    warnings = load_settings({}, environ, tmp_path).warnings
    for name in environ:
        assert warnings.count(f"{name} is read but has no effect in this version.") == 1
    assert load_settings({}, {}, tmp_path).warnings == ()


def test_what_is_not_built_is_not_documented_as_working() -> None:
    """Protects the mark in the documentation."""
    for setting in LATER_SETTINGS:
        assert setting in ALL_SETTINGS
        assert not setting.effective, setting.name
