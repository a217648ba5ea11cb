"""Settings of what is asked when nothing else is left."""

from pathlib import Path

import pytest

from proxy.settings import ALL_SETTINGS, ConfigurationError, load_settings
from proxy.settings.fallbacks import FALLBACK_SETTINGS, FALLBACKS


def test_every_numbered_fallback_has_its_four_settings() -> None:
    """Protects the fifth fallback as well as the first."""
    names = [setting.name for group in FALLBACK_SETTINGS for setting in group]
    assert names == [
        f"FALLBACK_API_{what}_{number}"
        for number in range(1, FALLBACKS + 1)
        for what in ("NAME", "URL", "KEY", "MODEL")
    ]
    assert all(setting in ALL_SETTINGS for group in FALLBACK_SETTINGS for setting in group)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FALLBACK_API_URL_3", "api.example.com"),
        ("FALLBACK_API_URL_3", "https://user:secret@api.example.com"),
        ("MODEL_FALLBACKS", "claude-opus-*"),
        ("MODEL_FALLBACKS", "claude-opus-*=claude-sonnet-*"),
        ("FALLBACK_DROPS_CLAUDE_OPTIONS", "perhaps"),
    ],
)
def test_a_wrong_value_stops_the_start(name: str, value: str, tmp_path: Path) -> None:
    """Protects the moment a last resort is needed from a slip made long before."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {name: value}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == [name]
    assert "secret" not in str(caught.value)


def test_they_are_off_unless_they_are_set(tmp_path: Path) -> None:
    """Protects clients from being answered by another API or model than the operator chose."""
    settings = load_settings({}, {}, tmp_path)
    assert settings.sources.fallbacks == ()
    assert settings.model_fallbacks == ()
    assert not settings.defaults.fallback_drops_claude_options


def test_chains_of_models_keep_their_order(tmp_path: Path) -> None:
    """Protects the model an operator prefers from the one that was written behind it."""
    environ = {"MODEL_FALLBACKS": "claude-opus-*=sonnet, claude-opus-*=haiku,claude-sonnet-5=haiku"}
    settings = load_settings({}, environ, tmp_path)
    assert settings.model_fallbacks == (
        ("claude-opus-*", "sonnet"),
        ("claude-opus-*", "haiku"),
        ("claude-sonnet-5", "haiku"),
    )
