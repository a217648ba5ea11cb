"""The places settings come from, and which of them wins."""

from pathlib import Path

import pytest

from proxy.settings import ConfigurationError, load_settings
from proxy.settings.sources import Findings, read_layers, read_text, warn_if_readable

PLACES = ("default", "toml", "dotenv", "environment", "flag")


def put(place: str, working_dir: Path, value: str) -> tuple[dict[str, str], dict[str, str]]:
    """Write PORT to one place; what it means as flags and as environment."""
    match place:
        case "toml":
            (working_dir / "config").mkdir()
            (working_dir / "config/local.toml").write_text(f"[server]\nport = {value}\n")
        case "dotenv":
            (working_dir / ".env").write_text(f"PORT={value}\n")
        case "environment":
            return {}, {"PORT": value}
        case "flag":
            return {"PORT": value}, {}
        case _:
            pass
    return {}, {}


@pytest.mark.parametrize("strongest", range(len(PLACES)))
def test_the_strongest_place_wins(strongest: int, tmp_path: Path) -> None:
    """Protects the order flag, environment, .env, TOML file, default."""
    flags: dict[str, str] = {}
    environ: dict[str, str] = {}
    for number, place in enumerate(PLACES[: strongest + 1]):
        more_flags, more_environ = put(place, tmp_path, str(1000 + number))
        flags |= more_flags
        environ |= more_environ
    expected = 8080 if strongest == 0 else 1000 + strongest
    assert load_settings(flags, environ, tmp_path).address.port == expected


def test_a_toml_section_and_key_are_one_name(tmp_path: Path) -> None:
    """Protects configuration files written for another server, with their types."""
    file = tmp_path / "my.toml"
    file.write_text(
        '[server]\nhost = "::1"\n[file_access]\nadditional_dirs = ["/a", "/b,c"]\nskip_permissions = true'
    )
    findings = Findings()
    layers = read_layers({}, {"CONFIG_FILE": "my.toml"}, tmp_path, None, findings)
    assert layers[-1].texts == {
        "CLAUDE_CODE__SERVER__HOST": "::1",
        "CLAUDE_CODE__FILE_ACCESS__ADDITIONAL_DIRS": '["/a","/b,c"]',
        "CLAUDE_CODE__FILE_ACCESS__SKIP_PERMISSIONS": "true",
    }
    assert findings == Findings()


@pytest.mark.parametrize("text", ["[server\nport = 1", "[server]\nport = canary-4711", "\n\n[a]\nb = ]"])
def test_a_file_that_is_no_toml_is_refused_without_quoting_it(text: str, tmp_path: Path) -> None:
    """Protects secrets in configuration files: the TOML parser's own text quotes what it found."""
    (tmp_path / "my.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {"CONFIG_FILE": "my.toml"}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == ["my.toml"]
    assert "line" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_toml_that_means_nothing_here_is_told(tmp_path: Path) -> None:
    """Protects against a typo in a section that would silently do nothing."""
    (tmp_path / "my.toml").write_text("port = 1\n[serve]\nport = 2\n[server.deep]\nx = 1")
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {"CONFIG_FILE": "my.toml"}, tmp_path)
    assert [problem.setting for problem in caught.value.problems] == ["my.toml [server] deep"]
    (tmp_path / "my.toml").write_text("port = 1\n[serve]\nport = 2\n")
    warnings = load_settings({}, {"CONFIG_FILE": "my.toml"}, tmp_path).warnings
    assert any("outside any section" in warning for warning in warnings)
    assert any("CLAUDE_CODE__SERVE__PORT" in warning for warning in warnings)


def test_a_dotenv_value_is_taken_as_it_stands(tmp_path: Path) -> None:
    """Protects passwords with a dollar sign, which other readers would take for a reference."""
    (tmp_path / ".env").write_text(
        'LOG_LEVEL=debug\n# comment\nexport PROXY="http://u:p$HOME@h:1"\nPORT=81 # why\n'
    )
    settings = load_settings({}, {"HOME": "/root"}, tmp_path)
    assert settings.sources.way_out is not None
    assert settings.sources.way_out.reveal() == "http://u:p$HOME@h:1"
    assert settings.address.port == 81
    assert settings.log_level == "debug"


def test_a_dotenv_line_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    """Protects against a key that is silently missing because its line has a slip."""
    (tmp_path / ".env").write_text('PORT=1\nAPI_KEY="canary\n')
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {}, tmp_path)
    assert str(caught.value) == ".env: line 2 cannot be read"


def test_another_env_file_can_be_named_and_must_exist(tmp_path: Path) -> None:
    """Protects several configurations in one folder, and notices a slip in the name."""
    (tmp_path / ".env").write_text("PORT=1\n")
    (tmp_path / "prod.env").write_text("PORT=2\n")
    assert load_settings({}, {}, tmp_path, env_file=Path("prod.env")).address.port == 2
    with pytest.raises(ConfigurationError, match=r"other\.env: names a file that does not exist"):
        load_settings({}, {}, tmp_path, env_file=Path("other.env"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff\xfe", "not UTF-8"), (b"x" * (1024 * 1024 + 1), "more than"), (None, "cannot be read")],
)
def test_a_file_that_cannot_be_used_says_why(content: bytes | None, reason: str, tmp_path: Path) -> None:
    """Protects the start from a binary file, an endless one and a folder."""
    path = tmp_path / "x"
    path.mkdir() if content is None else path.write_bytes(content)
    findings = Findings()
    assert read_text(path, "X_FILE", findings, required=True) is None
    assert [problem.setting for problem in findings.problems] == ["X_FILE"]
    assert reason in findings.problems[0].reason


def test_a_path_with_a_zero_byte_is_a_mistake_and_no_crash(tmp_path: Path) -> None:
    """Protects the start from the one path Python itself refuses."""
    findings = Findings()
    assert read_text(tmp_path / "a\0b", "X_FILE", findings, required=True) is None
    assert findings.problems[0].reason == "cannot be read: no such path"
    warn_if_readable(tmp_path / "a\0b", findings)
    assert findings.warnings == []


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_file_of_secrets_others_can_read_is_told(mode: int, warned: bool, tmp_path: Path) -> None:
    """Protects keys on a machine with several users, without refusing the operator's own file."""
    (tmp_path / ".env").write_text(f"ANTHROPIC_API_KEY=sk-1\nADMIN_KEY={'k' * 16}\n")
    (tmp_path / ".env").chmod(mode)
    warnings = load_settings({}, {}, tmp_path).warnings
    assert sum("can be read by other users" in warning for warning in warnings) == warned


def test_a_readable_file_without_secrets_is_no_matter(tmp_path: Path) -> None:
    """Protects operators from warnings that do not concern them."""
    (tmp_path / ".env").write_text("PORT=81\n")
    (tmp_path / ".env").chmod(0o644)
    assert load_settings({}, {}, tmp_path).warnings == ()


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    """Protects files saved by editors that begin them with one, which TOML and JSON parsers refuse."""
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbftext")
    assert read_text(tmp_path / "x", "X_FILE", Findings(), required=True) == "text"
