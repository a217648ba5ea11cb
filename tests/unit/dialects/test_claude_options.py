"""``claude_options`` as clients write it."""

import msgspec
import pytest

from proxy.dialects.claude_options import ClaudeOptions, read_options
from proxy.errors import InvalidRequest


def _body(options: object) -> bytes:
    return msgspec.json.encode({"model": "m", "claude_options": options})


def test_every_option_of_a_request_is_read() -> None:
    """Protects against an option that is taken and forgotten."""
    given: dict[str, object] = {
        "tools": ["Read"],
        "disallowed_tools": ["Bash"],
        "session_id": "s",
        "output_format": "json",
        "debug": True,
        "working_dir": "/srv",
        "mcp_config": "birds",
        "files": ["a"],
        "images": ["b"],
        "auto_allow_permissions": True,
        "model": "opus",
    }
    found = read_options(_body(given))
    assert found is not None
    assert msgspec.json.decode(msgspec.json.encode(found)) == {**given, "continue": None}
    goes_on = read_options(_body({"continue": True}))
    assert goes_on is not None
    assert goes_on.goes_on


@pytest.mark.parametrize("options", [None, {}, {"tools": None, "mcp_config": None}])
def test_none_are_none(options: object) -> None:
    """Protects clients whose library writes what they did not set."""
    found = read_options(_body(options))
    assert found is None or (found.tools, found.servers()) == (None, ((), {}))
    assert found in (None, ClaudeOptions(), read_options(_body(options)))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tools": "Read"}, "claude_options.tools"),
        ({"tools": [1]}, "claude_options.tools[0]"),
        ({"debug": "yes"}, "claude_options.debug"),
        ({"output_format": "xml"}, "claude_options.output_format"),
        ({"mcp_config": 7}, "claude_options.mcp_config"),
        ({"mcp_config": {"servers": {}}}, "claude_options.mcp_config"),
        ({"permission_mode": "bypassPermissions"}, "claude_options"),
        ({"session_id": "s", "continue": True}, "claude_options.continue"),
        ({"files": ["a"] * 11, "images": ["b"] * 10}, "claude_options.files"),
        ({"working_dir": ""}, "claude_options.working_dir"),
        ({"model": "m" * 5000}, "claude_options.model"),
        ([], "claude_options"),
    ],
)
def test_what_cannot_be_read_is_named(options: object, field: str) -> None:
    """Protects clients from guessing which of their options is wrong, and the machine from options nobody knows."""
    with pytest.raises(InvalidRequest) as caught:
        read_options(_body(options))
    assert caught.value.param == field


def test_servers_are_named_or_told() -> None:
    """Protects the three ways of writing them."""
    named, both = (
        ClaudeOptions(mcp_config=msgspec.Raw(b'"a"')),
        ClaudeOptions(mcp_config=msgspec.Raw(b'["a","b"]')),
    )
    told = ClaudeOptions(mcp_config=msgspec.Raw(b' {"mcpServers": {"a": {"command": "x"}}}'))
    assert named.servers() == (("a",), {})
    assert both.servers() == (("a", "b"), {})
    names, servers = told.servers()
    assert (names, {name: bytes(raw) for name, raw in servers.items()}) == ((), {"a": b'{"command": "x"}'})
