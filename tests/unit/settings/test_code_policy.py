"""What the operator lets requests have done."""

from pathlib import Path

import pytest

from proxy.settings import CodePolicy, ConfigurationError, load_settings

_SERVERS = '{"mcpServers": {"birds": {"command": "birds", "env": {"KEY": "canary-of-a-server"}}}}'
_FILE = "CLAUDE_CODE__MCP__CONFIG_FILE"
_SKIP = "CLAUDE_CODE__FILE_ACCESS__SKIP_PERMISSIONS"


def _wrong(tmp_path: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, environ, tmp_path)
    return [problem.setting for problem in caught.value.problems]


def test_nothing_is_allowed_where_nothing_is_said(tmp_path: Path) -> None:
    """Protects the machine of an operator who has never heard of these options."""
    policy = load_settings({}, {}, tmp_path).claude_code.policy
    assert policy == CodePolicy()
    assert not (policy.tools)
    assert not (policy.roots)
    assert not (policy.servers)
    assert not (policy.named_servers)
    assert not (policy.servers_join)
    assert not (policy.debug)
    assert not (policy.skip_permissions)


def test_what_is_said_is_allowed(tmp_path: Path) -> None:
    """Protects operators from settings that are read and forgotten; no secret of a server is shown."""
    (tmp_path / "servers.json").write_text(_SERVERS)
    (tmp_path / "servers.json").chmod(0o600)
    environ = {
        "CLAUDE_CODE_TOOLS": "Read, Grep",
        "CLAUDE_CODE_MCP": "birds",
        "CLAUDE_CODE_DEBUG": "true",
        "CLAUDE_CODE_ROOTS": str(tmp_path),
        "CLAUDE_CODE__MCP__ENABLED": "true",
        "CLAUDE_CODE__MCP__DEBUG": "true",
        _FILE: "servers.json",
    }
    settings = load_settings({}, environ, tmp_path)
    policy = settings.claude_code.policy
    assert policy.tools == {"Read", "Grep"}
    assert set(policy.named_servers) == set(policy.servers) == {"birds"}
    assert policy.roots == (tmp_path,)
    assert policy.debug
    assert policy.servers_join
    assert policy.log_servers
    assert "canary" not in repr(settings)
    assert settings.warnings == ()


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"mcpServers": []}', '{"mcpServers": {"a": 1}}', '{"mcpServers": {"-a": {}}}', "{" * 2000],
)
def test_a_file_of_servers_that_is_none_stops_the_start(tmp_path: Path, text: str) -> None:
    """Protects operators from servers that never come."""
    (tmp_path / "servers.json").write_text(text)
    assert _wrong(tmp_path, **{_FILE: "servers.json"}) == [_FILE]


def test_mistakes_are_named(tmp_path: Path) -> None:
    """Protects operators from names that mean nothing."""
    (tmp_path / "servers.json").write_text(_SERVERS)
    assert _wrong(tmp_path, **{_FILE: "missing.json"}) == [_FILE]
    assert _wrong(tmp_path, CLAUDE_CODE_MCP="fish", **{_FILE: "servers.json"}) == ["CLAUDE_CODE_MCP"]
    assert _wrong(tmp_path, CLAUDE_CODE__MCP__ENABLED="true") == ["CLAUDE_CODE__MCP__ENABLED"]
    assert _wrong(tmp_path, CLAUDE_CODE_TOOLS="Read,--all") == ["CLAUDE_CODE_TOOLS"]


def test_root_never_skips_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects a whole machine from a tool that may do everything."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert _wrong(tmp_path, **{_SKIP: "true"}) == [_SKIP]
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert load_settings({}, {_SKIP: "true"}, tmp_path).claude_code.policy.skip_permissions


def test_servers_of_others_are_never_used(tmp_path: Path) -> None:
    """Protects operators who write the setting of another program and expect what it did there."""
    (warning,) = load_settings({}, {"CLAUDE_CODE__MCP__STRICT": "false"}, tmp_path).warnings
    assert warning.startswith("CLAUDE_CODE__MCP__STRICT=false changes nothing")
