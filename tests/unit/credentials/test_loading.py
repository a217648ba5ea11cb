"""All credentials together: each once, each with a name of its own."""

from pathlib import Path

import msgspec
import pytest

from proxy.credentials import Credentials, load_credentials
from proxy.settings import ConfigurationError, load_settings


def write(working_dir: Path, *entries: dict[str, object]) -> None:
    """Put a file of credentials into the working directory, for its owner alone."""
    path = working_dir / "sessions.json"
    path.write_bytes(msgspec.json.encode({"credentials": entries}))
    path.chmod(0o600)


def load(working_dir: Path, environ: dict[str, str]) -> Credentials:
    """The credentials of this file and these variables."""
    return load_credentials(load_settings({}, environ, working_dir), environ)


def test_no_credential_at_all_is_no_mistake_here(tmp_path: Path) -> None:
    """Protects demo mode, which begins with an empty pool."""
    assert load(tmp_path, {}) == Credentials(())


def test_file_and_environment_are_united_and_the_file_names_what_both_have(tmp_path: Path) -> None:
    """Protects against one key counted twice, with two places and two healths."""
    write(tmp_path, {"name": "work", "kind": "anthropic", "key": "sk-b", "weight": 7})
    found = load(tmp_path, {"ANTHROPIC_API_KEYS": "sk-a,sk-b,sk-c"})
    assert [(each.name, each.weight) for each in found.found] == [("work", 7), ("api-1", 1), ("api-3", 1)]
    assert found.warnings == (
        "ANTHROPIC_API_KEYS item 2 is the same credential as sessions.json credentials[0], which is the one used.",
    )


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"CLAUDE_BINARY_PATH": "/opt/claude"}, ["code-1"]),
        ({"CLAUDE_CODE__CLAUDE__COMMAND": "claude"}, ["code-1"]),
        ({"CLAUDE_BINARY_PATH": "/opt/claude", "CLAUDE_CODE": "false"}, []),
        ({"CLAUDE_BINARY_PATH": "/opt/claude", "ANTHROPIC_API_KEY": "sk-a"}, ["api-1"]),
        ({"CLAUDE_CODE": "true", "ANTHROPIC_API_KEY": "sk-a"}, ["api-1", "code-1"]),
    ],
)
def test_this_machines_login_is_used_where_it_is_spoken_of_and_no_other_credential_is(
    tmp_path: Path, environ: dict[str, str], names: list[str]
) -> None:
    """Protects users of programs that know no other credential, and everybody else from one they did not ask for."""
    found = load(tmp_path, environ)
    assert [each.name for each in found.found] == names
    implied = "CLAUDE_CODE" not in environ and names == ["code-1"]
    assert any("own Claude Code login is used" in warning for warning in found.warnings) is implied


def test_the_program_of_the_settings_is_every_claude_code_credentials_but_those_with_their_own(
    tmp_path: Path,
) -> None:
    """Protects the order in which the names of the program count."""
    code: dict[str, object] = {"kind": "claude_code"}
    write(
        tmp_path,
        {"name": "own", "token": "a", "cli_path": "/own/claude", **code},
        {"name": "general", "token": "b", **code},
        {"name": "api", "kind": "anthropic", "key": "c"},
    )
    command = {"CLAUDE_CODE__CLAUDE__COMMAND": "/command/claude"}
    for environ, path in ((command, "/command/claude"), ({**command, "CLAUDE_BINARY_PATH": "/b"}, "/b")):
        assert [each.cli_path for each in load(tmp_path, environ).found] == ["/own/claude", path, None]


def test_one_key_at_two_addresses_is_two_credentials(tmp_path: Path) -> None:
    """Protects gateways that take any key, each with its own health."""
    write(
        tmp_path,
        {"name": "a", "kind": "openai", "key": "none", "base_url": "http://a/v1"},
        {"name": "b", "kind": "openai", "key": "none", "base_url": "http://b/v1"},
        {"name": "c", "kind": "openai", "key": "none", "base_url": "http://a/v1/"},
    )
    assert [each.name for each in load(tmp_path, {}).found] == ["a", "b"]


def test_a_made_name_gives_way_to_a_given_one(tmp_path: Path) -> None:
    """Protects aliases from standing for two credentials."""
    write(tmp_path, {"name": "api-1", "kind": "anthropic", "key": "sk-file"})
    found = load(tmp_path, {"ANTHROPIC_API_KEYS": "sk-a,sk-b"}).found
    assert [(each.name, each.secret.reveal() if each.secret else "") for each in found] == [
        ("api-1", "sk-file"),
        ("api-2", "sk-a"),
        ("api-3", "sk-b"),
    ]


def test_one_name_for_two_credentials_stops_the_start(tmp_path: Path) -> None:
    """Protects the operator from reading one credential's state as another's."""
    write(
        tmp_path,
        {"name": "a", "kind": "anthropic", "key": "sk-a"},
        {"name": "a", "kind": "anthropic", "key": "sk-b"},
    )
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, {"FALLBACK_API_URL_1": "https://x/v1", "FALLBACK_API_NAME_1": "a"})
    assert str(caught.value).splitlines() == [
        "sessions.json credentials[1]: has the name a, which another credential has already",
        "FALLBACK_API_URL_1: has the name a, which another credential has already",
    ]


def test_mistakes_of_all_places_are_named_at_once_and_show_nothing(tmp_path: Path) -> None:
    """Protects the operator's patience, and the keys beside the mistakes."""
    canary = "sk-canary-55"
    write(
        tmp_path,
        {"name": "a", "kind": "anthropic", "key": f"{canary} ", "proxy": f"ftp://u:{canary}@h"},
        {"name": "b", "kind": "openai", "key": "$MISSING_KEY", canary: canary},
    )
    environ = {"CLAUDE_API_KEYS": f'[{{"name": "{canary} x", "token": "t"}}]'}
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, {**environ, "FALLBACK_API_URL_1": "https://api.anthropic.com"})
    assert [problem.setting for problem in caught.value.problems] == [
        "sessions.json credentials[0].proxy",
        "sessions.json credentials[1].key",
        "sessions.json credentials[1].a field with an unusual name",
        "sessions.json credentials[1].base_url",
        "CLAUDE_API_KEYS[0].name",
        "FALLBACK_API_KEY_1",
    ]
    assert canary not in str(caught.value) + repr(caught.value)


def test_a_reference_is_looked_up_in_the_environment_and_then_in_the_env_file(tmp_path: Path) -> None:
    """Protects keys kept beside the settings, and lets the environment win as everywhere."""
    write(
        tmp_path,
        {"name": "a", "kind": "anthropic", "key": "$ONE_KEY"},
        {"name": "b", "kind": "anthropic", "key": "${TWO_KEY}"},
    )
    (tmp_path / ".env").write_text("ONE_KEY=from-file\nTWO_KEY=also-from-file\n")
    found = load(tmp_path, {"ONE_KEY": "from-environment"}).found
    assert [each.secret.reveal() for each in found if each.secret] == ["from-environment", "also-from-file"]


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    """Protects against an empty pool for a slip in a path; the default file may be missing."""
    with pytest.raises(ConfigurationError, match="names a file that does not exist"):
        load(tmp_path, {"SESSIONS_FILE": "sesions.json"})


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o644, True)])
def test_a_file_others_can_read_is_told(mode: int, warned: bool, tmp_path: Path) -> None:
    """Protects keys on a machine with several users, without refusing the operator's own file."""
    write(tmp_path, {"name": "a", "kind": "anthropic", "key": "sk-a"})
    (tmp_path / "sessions.json").chmod(mode)
    assert bool(load(tmp_path, {}).warnings) is warned


def test_a_last_resort_of_the_file_comes_before_those_of_the_environment(tmp_path: Path) -> None:
    """Protects the order of last resorts: whatever its tier, the file's own comes first."""
    entry = {
        "name": "backup",
        "kind": "openai",
        "base_url": "https://one.example/v1",
        "tier": 99,
        "model": "m",
    }
    write(tmp_path, entry)
    found = load(tmp_path, {"FALLBACK_API_URL_1": "https://two.example/v1"})
    assert [(each.name, each.fallback, each.model) for each in found.found] == [
        ("backup", True, "m"),
        ("fallback-1", True, None),
    ]
    assert found.found[0].tier < found.found[1].tier
    assert found.warnings == ()
