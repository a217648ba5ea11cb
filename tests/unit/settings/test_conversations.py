"""What the operator says about remembering."""

from pathlib import Path

import pytest

from proxy.settings import ConfigurationError, load_settings
from proxy.settings.conversations import ConversationSettings


def test_the_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    """Protects against remembering more, or longer, than the documentation says."""
    assert load_settings({}, {}, tmp_path).conversations == ConversationSettings(
        mode="auto", most_messages=20, timeout_s=1800, project_root=tmp_path / "data/projects"
    )


def test_the_names_of_the_other_program_work(tmp_path: Path) -> None:
    """Protects the configuration of users who move here."""
    environ = {
        "CLAUDE_CODE__CONVERSATION__MAX_HISTORY_MESSAGES": "6",
        "CLAUDE_CODE__CONVERSATION__SESSION_TIMEOUT_MINUTES": "2",
        "CONVERSATIONS": "on",
        "PROJECT_ROOT": "work",
    }
    settings = load_settings({}, environ, tmp_path)
    assert settings.conversations == ConversationSettings(
        mode="on", most_messages=6, timeout_s=120, project_root=tmp_path / "work"
    )
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CONVERSATIONS", "sometimes"),
        ("MAX_HISTORY_MESSAGES", "0"),
        ("SESSION_TIMEOUT_MINUTES", "-1"),
        ("PROJECT_ROOT", "a\nb"),
    ],
)
def test_a_mistake_stops_the_start_by_name(tmp_path: Path, name: str, text: str) -> None:
    """Protects operators from a word that means nothing."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {name: text}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == [name]
