"""One value from several names, places and files."""

from pathlib import Path

import pytest

from proxy.settings import ConfigurationError, load_settings


def problems(environ: dict[str, str], working_dir: Path) -> list[str]:
    """The lines of the error these variables cause."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, environ, working_dir)
    return str(caught.value).splitlines()


def test_client_keys_of_all_names_add_up(tmp_path: Path) -> None:
    """Protects operators who move here with a key under each server's own name."""
    (tmp_path / ".env").write_text("CLAUDE_PROXY_API_KEY=four\nAPI_KEY=never\n")
    (tmp_path / ".env").chmod(0o600)
    environ = {"API_KEY": "two", "APIKEY": "three,one", "API_KEYS": "one"}
    keys = load_settings({}, environ, tmp_path).access.client_keys
    assert [key.reveal() for key in keys] == ["one", "two", "three", "four"]


def test_two_names_of_one_setting_may_agree(tmp_path: Path) -> None:
    """Protects against a start refused for two spellings of one value."""
    environ = {
        "CACHE_ENABLED": "true",
        "CLAUDE_CODE__CACHE__ENABLED": "1",
        "LOG_LEVEL": "warning",
        "RUST_LOG": "warn",
    }
    assert load_settings({}, environ, tmp_path).log_level == "warning"


@pytest.mark.parametrize(
    ("name", "other", "one", "two"),
    [
        ("CACHE_ENABLED", "CLAUDE_CODE__CACHE__ENABLED", "true", "false"),
        ("LOG_LEVEL", "RUST_LOG", "info", "debug"),
        ("PORT", "CLAUDE_CODE__SERVER__PORT", "1", "2"),
    ],
)
def test_two_names_with_different_values_stop_the_start(
    name: str, other: str, one: str, two: str, tmp_path: Path
) -> None:
    """Protects against guessing which of two contradictory lines was meant."""
    lines = problems({name: one, other: two}, tmp_path)
    assert lines == [f"{name}: {name} and {other} are one setting and have different values"]


def test_another_name_in_a_stronger_place_wins_without_a_contradiction(tmp_path: Path) -> None:
    """Protects overriding a file's value under the name one knows."""
    (tmp_path / ".env").write_text("CLAUDE_CODE__SERVER__PORT=1\n")
    assert load_settings({}, {"PORT": "2"}, tmp_path).address.port == 2


def test_an_empty_value_is_none_except_for_keys_of_ours(tmp_path: Path) -> None:
    """Protects compose files that pass unset variables on, without taking an empty key for one."""
    settings = load_settings(
        {}, {"PORT": " ", "ANTHROPIC_API_KEY": "", "ADDRESS": "", "CACHE_ENABLED": ""}, tmp_path
    )
    assert settings.address.port == 8080
    assert settings.warnings == ()
    lines = problems({"API_KEY": "", "ADMIN_KEY": " ", "SECRET_KEY": "\n"}, tmp_path)
    assert lines == ["API_KEY: is empty", "ADMIN_KEY: is empty", "SECRET_KEY: is empty"]


@pytest.mark.parametrize("content", ["one,two", "one\ntwo\n", " one \r\n two "])
def test_secrets_are_read_from_a_file(content: str, tmp_path: Path) -> None:
    """Protects keys that are mounted as files, one a line or with commas."""
    (tmp_path / "keys").write_text(content)
    (tmp_path / "keys").chmod(0o600)
    settings = load_settings({}, {"ANTHROPIC_API_KEY_FILE": "keys"}, tmp_path)
    assert [key.reveal() for key in settings.sources.anthropic_api_keys] == ["one", "two"]
    assert settings.warnings == ()


def test_a_secret_file_others_can_read_is_told(tmp_path: Path) -> None:
    """Protects mounted keys on a machine with several users."""
    (tmp_path / "key").write_text("x" * 16)
    (tmp_path / "key").chmod(0o644)
    settings = load_settings({}, {"ADMIN_KEY_FILE": "key"}, tmp_path)
    assert [warning for warning in settings.warnings if "can be read by other users" in warning]
    assert settings.access.admin_key is not None


def test_a_secret_and_its_file_are_not_both_taken(tmp_path: Path) -> None:
    """Protects against an old key that goes on working beside the new file."""
    (tmp_path / "key").write_text("y" * 16)
    lines = problems({"ADMIN_KEY": "x" * 16, "ADMIN_KEY_FILE": "key"}, tmp_path)
    assert lines == ["ADMIN_KEY: is set together with ADMIN_KEY_FILE; only one of them can be used"]


def test_mistakes_in_a_secret_file_name_the_file_setting(tmp_path: Path) -> None:
    """Protects the operator from looking in the wrong place, and the file's content from being shown."""
    (tmp_path / "key").write_text("canary one")
    (tmp_path / "empty").write_text("\n")
    lines = problems(
        {"ADMIN_KEY_FILE": "key", "ANTHROPIC_API_KEYS_FILE": "empty", "API_KEYS_FILE": "none"}, tmp_path
    )
    assert lines == [
        "API_KEYS_FILE: names a file that does not exist",
        "ADMIN_KEY_FILE: holds a space, a control character or a character outside ASCII",
        "ANTHROPIC_API_KEYS_FILE: is empty",
    ]


def test_only_secrets_are_read_from_files_and_a_settings_own_name_comes_first(tmp_path: Path) -> None:
    """Protects SESSIONS_FILE, which is a setting, and plain settings, whose file name means nothing."""
    (tmp_path / "sessions.json").write_text("sk-ant-sid01-x")
    settings = load_settings({}, {"SESSIONS_FILE": "sessions.json", "PORT_FILE": "sessions.json"}, tmp_path)
    assert settings.sources.web_sessions == ()
    assert settings.sources.sessions_file == tmp_path / "sessions.json"
    assert settings.address.port == 8080
