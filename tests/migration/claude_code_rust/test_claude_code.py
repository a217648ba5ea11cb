"""Moving here from claude-code-api (Rust) with its Claude Code: its own login, warm processes, and MCP servers."""

import asyncio
import base64
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator, Step
from tests.migration.claude_code_rust.test_claude_code_api import CLIENT, IMAGE, QUICK, TOML, VARIABLES, WHOLE
from tests.migration.conversations.examples import CONVERSATION
from tests.support.claude_code import claude_program
from tests.support.fake_claude import fake_claude, starts
from tests.support.house import until
from tests.support.moving import Moved, environment, moved
from tests.support.pictures import png
from tests.support.tool_calls import calling

MCP_FILE: Final = """\
cat > mcp_config.json << EOF
{
  "mcpServers": {
    "filesystem": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-filesystem", "/allowed/path"]
    },
    "github": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-github"],
      "env": {
        "GITHUB_PERSONAL_ACCESS_TOKEN": "your-token"
      }
    }
  }
}
EOF
"""
MCP_LINES: Final = """\
export CLAUDE_CODE__MCP__ENABLED=true
export CLAUDE_CODE__MCP__CONFIG_FILE="./mcp_config.json"
"""
MCP_VARIABLES: Final = """\
# MCP configuration
CLAUDE_CODE__MCP__ENABLED=true
CLAUDE_CODE__MCP__CONFIG_FILE="./mcp_config.json"
CLAUDE_CODE__MCP__STRICT=false
CLAUDE_CODE__MCP__DEBUG=false
"""
MCP_TOML: Final = """\

[mcp]
enabled = true
config_file = "./mcp_config.json"
strict = false
debug = false
"""
MCP_TROUBLE: Final = "export CLAUDE_CODE__MCP__DEBUG=true"
_SERVER: Final = """
import json, os, sys
print("the server of " + sys.argv[1] + " is up", file=sys.stderr, flush=True)
for line in sys.stdin:
    told = json.loads(line)
    if "id" not in told:
        continue
    result = {}
    if told["method"] == "initialize":
        result = {"protocolVersion": told["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "stand-in", "version": "1"}}
    elif told["method"] == "tools/list":
        result = {"tools": [{"name": "look", "description": "Looks.", "inputSchema": {"type": "object"}}]}
    elif told["method"] == "tools/call":
        text = sys.argv[1] + " with " + os.environ.get("GITHUB_PERSONAL_ACCESS_TOKEN", "no token")
        result = {"content": [{"type": "text", "text": text}]}
    print(json.dumps({"jsonrpc": "2.0", "id": told["id"], "result": result}), flush=True)
"""
_OPEN: Final = {"REQUIRE_AUTH": "false"}


def _keys(simulator: Simulator) -> dict[str, str]:
    """One Claude Code key, of which more than one process may be there."""
    keys = [{"name": "mine", "token": "k1", "base_url": simulator.url}]
    return {"CLAUDE_API_KEYS": msgspec.json.encode(keys).decode()}


@pytest.mark.parametrize("how", ["variables", "file"])
async def test_its_configuration_alone_uses_ones_own_login(
    tmp_path: Path, simulator: Simulator, how: str
) -> None:
    """Protects its usual setup: nothing but its variables or its file, and Claude Code as it is logged in.

    Its command is that of a program that stands in for Claude Code.
    """
    claude_program()
    program = await asyncio.to_thread(fake_claude, tmp_path / "fake")
    variables = environment(VARIABLES.replace("COMMAND=claude", f"COMMAND={program}"))
    settings = variables if how == "variables" else {}
    (tmp_path / "config").mkdir()
    file = TOML.replace('command = "claude"', f'command = "{program}"') if how == "file" else ""
    (tmp_path / "config" / "local.toml").write_text(file)
    async with moved(tmp_path, simulator, {**_OPEN, **settings, "HOME": str(tmp_path / "home")}) as found:
        assert "this machine's own Claude Code login is used" in found.program.output
        await asyncio.to_thread(found.python, CLIENT + WHOLE)
        (asked,) = found.asked
        assert "Write a hello world in Python" in str(asked.messages)
    (start,) = await asyncio.to_thread(starts, tmp_path / "fake")
    assert start["environment"]["HOME"] == str(tmp_path / "home")


@pytest.mark.parametrize(("interactive", "processes"), [("true", 1), ("false", 2)])
async def test_a_conversation_stays_with_its_process(
    tmp_path: Path, simulator: Simulator, interactive: str, processes: int
) -> None:
    """Protects the speed of its conversations: one process for all turns, or one for each where that is set."""
    program = tmp_path / "claude"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || echo start >> {tmp_path}/starts\nexec {claude_program()} "$@"\n'
    )
    program.chmod(0o755)
    settings = environment(VARIABLES.replace("SESSIONS=true", f"SESSIONS={interactive}"))
    settings["CLAUDE_CODE__CLAUDE__COMMAND"] = str(program)
    edit = {"conversation_id=conversation_id,": 'extra_body={"conversation_id": conversation_id},'}
    async with moved(tmp_path, simulator, {**_OPEN, **settings, **_keys(simulator)}) as found:
        await asyncio.to_thread(found.python, CLIENT + CONVERSATION, edit)
        first, second = found.asked
        assert "My name is Alice" in str(first.messages)
        assert str(second.messages).index("My name is Alice") < str(second.messages).index("What's my name?")
        assert len((tmp_path / "starts").read_text().splitlines()) == processes


@pytest.mark.needs("curl")
@pytest.mark.parametrize("how", ["lines", "variables", "file"])
async def test_its_mcp_servers_join_every_request(tmp_path: Path, simulator: Simulator, how: str) -> None:
    """Protects its configuration of MCP: both servers are called, and the token of one reaches it.

    In the place of two packages for Node stand servers in Python, as the machine may have no network.
    """
    claude_program()
    (tmp_path / "server.py").write_text(_SERVER)
    file = MCP_FILE.replace('"npx"', f'"{sys.executable}"').replace('"-y"', f'"-IS", "{tmp_path}/server.py"')
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "local.toml").write_text(TOML + MCP_TOML if how == "file" else "")
    settings = {"lines": environment(MCP_LINES), "variables": environment(MCP_VARIABLES), "file": {}}[how]
    logged = {**environment(MCP_TROUBLE), "LOG_LEVEL": "debug"} if how == "lines" else {}
    await _in_shell(file, tmp_path)
    async with moved(tmp_path, simulator, {**_OPEN, **_keys(simulator), **settings, **logged}) as found:
        assert "@modelcontextprotocol/server-github with your-token" in await _looked(found, "github")
        assert "@modelcontextprotocol/server-filesystem with no token" in await _looked(found, "filesystem")
        if logged:
            await until(lambda: "server-github is up" in found.program.output)
        assert ("STRICT=false changes nothing" in found.program.output) == (how != "lines")


@pytest.mark.needs("curl")
async def test_images_by_path_and_in_the_request_are_shown_to_the_model(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Protects its images through the real program; one at an address is fetched only where that is turned on."""
    claude_program()
    picture = tmp_path / "pictures" / "image.png"
    picture.parent.mkdir()
    picture.write_bytes(png(2, 2))
    content = base64.b64encode(png(2, 2)).decode()
    settings = {"CLAUDE_CODE__FILE_ACCESS__ADDITIONAL_DIRS": f'["{picture.parent}"]'}
    async with moved(tmp_path, simulator, {**_OPEN, **_keys(simulator), **settings}) as found:
        for url in (str(picture), f"data:image/png;base64,{content}"):
            assert "What is this?" in (await found.shell(IMAGE, {"/path/to/image.png": url})).text
        refused = await found.shell(IMAGE, {"/path/to/image.png": "https://pictures.example/image.png"})
        assert "IMAGE_FETCH" in refused.body
        shown = [msgspec.convert(one.messages[0]["content"], list[dict[str, object]]) for one in found.asked]
    sources = [block["source"] for blocks in shown for block in blocks if block["type"] == "image"]
    assert sources == [{"type": "base64", "media_type": "image/png", "data": content}] * 2


async def _looked(found: Moved, server: str) -> str:
    """What is answered when the model has a server look first."""
    call = calling("claude-opus-4-8", f"mcp__{server}__look", {})
    found.simulator.script("k1", [Step(stream_body=call)])
    return (await found.shell(QUICK)).text


async def _in_shell(lines: str, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec("sh", "-c", lines, cwd=folder)
    assert await process.wait() == 0
