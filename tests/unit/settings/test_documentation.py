"""The documents tell what the table of settings says, and their examples work."""

import re
from pathlib import Path

import pytest

from proxy.settings import ALL_SETTINGS, ConfigurationError, Group, Setting, load_settings

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs/configuration.md").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
COMMENTED = re.compile(r"#([A-Z][A-Z0-9_]*)=(.*)")


def identify(setting: Setting[object]) -> str:
    """The name of a test's case."""
    return setting.name


@pytest.mark.parametrize("setting", ALL_SETTINGS, ids=identify)
def test_the_manual_has_the_row_of_every_setting(setting: Setting[object]) -> None:
    """Protects readers from names, defaults and meanings that have changed since."""
    names = "<br>".join(f"`{name}`" for name in setting.names)
    assert MANUAL.count(f"| {names} | {setting.shown_default} | {setting.text} |\n") == 1


@pytest.mark.parametrize("setting", ALL_SETTINGS, ids=identify)
def test_the_example_has_a_line_for_every_setting_under_its_explanation(setting: Setting[object]) -> None:
    """Protects those who configure by copying the example."""
    names = f" Also: {', '.join(setting.aliases)}." if setting.aliases else ""
    explanation = f"# {setting.text}{names} Default: {setting.shown_default}.\n#{setting.name}="
    assert EXAMPLE.count(explanation) == 1


def test_the_documents_name_no_setting_that_is_gone() -> None:
    """Protects readers from settings of an earlier version."""
    known = {setting.name for setting in ALL_SETTINGS}
    assert {match[1] for match in map(COMMENTED.fullmatch, EXAMPLE.splitlines()) if match} == known
    assert len(re.findall(r"^\| `[A-Z]", MANUAL, re.MULTILINE)) == len(known)
    for group in Group:
        assert f"### {group}\n" in MANUAL
        assert f"\n# {group}\n" in EXAMPLE


def test_the_example_changes_nothing_as_it_is(tmp_path: Path) -> None:
    """Protects a first start after copying it."""
    assert all(line.startswith("#") or not line for line in EXAMPLE.splitlines())
    (tmp_path / ".env").write_text(EXAMPLE)
    assert load_settings({}, {}, tmp_path) == load_settings({}, {}, tmp_path, env_file=Path("/dev/null"))


def test_every_line_of_the_example_works_when_its_comment_sign_is_taken_away(tmp_path: Path) -> None:
    """Protects those who use the example's values, and stops those who use its placeholders as secrets."""
    lines = [match.groups() for match in map(COMMENTED.fullmatch, EXAMPLE.splitlines()) if match]
    secret = {setting.name for setting in ALL_SETTINGS if setting.secret}
    (tmp_path / "config").mkdir()
    (tmp_path / "config/local.toml").write_text("")
    (tmp_path / "mcp_config.json").write_text('{"mcpServers": {"filesystem": {"command": "npx"}}}')
    servers = {"CLAUDE_CODE__MCP__CONFIG_FILE": "mcp_config.json"}
    wrong: dict[str, str] = {}
    for name, value in lines:
        (tmp_path / ".env").write_text(f"{name}={value}\n")
        companions = {"FALLBACK_API_URL_" + name[-1]: "https://x"} if name.startswith("FALLBACK_API_") else {}
        companions |= servers if name.startswith("CLAUDE_CODE_MCP") else {}
        try:
            load_settings({}, companions, tmp_path)
        except ConfigurationError as error:
            wrong |= {problem.setting: problem.reason for problem in error.problems}
    # The keys inside this JSON text are looked at where credentials are read.
    assert set(wrong) == secret - {"CLAUDE_API_KEYS"}
    assert all("placeholder of the example file" in reason for reason in wrong.values())
