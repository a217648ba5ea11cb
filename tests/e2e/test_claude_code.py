"""The Claude Code program against the real server: answers, and tools that it runs on this machine."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Received, Step
from tests.support.claude_code import Result, claude_program, run_claude
from tests.support.gateway import CLIENT_KEY
from tests.support.house import House, house
from tests.support.tool_calls import CALL_ID, calling

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL: Final = "claude-sonnet-5-5"
SECRET: Final = "the-purple-heron-7431"
NOTE: Final = "note.txt"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway of one key, in front of a simulated Claude."""
    claude_program()
    async with house(tmp_path_factory.mktemp("claude-code"), keys=("k1",)) as found:
        yield found


@pytest.fixture
def folder(running: House, tmp_path: Path) -> Path:
    """A folder to work in, with a note in it; what was asked before is forgotten."""
    running.simulator.reset()
    found = tmp_path / "work"
    found.mkdir()
    (found / NOTE).write_text(SECRET + "\n")
    return found


def settings(running: House, key_name: str = "ANTHROPIC_API_KEY") -> dict[str, str]:
    """The address, and the key under either of the names the program reads it from."""
    return {"ANTHROPIC_BASE_URL": running.server.url, key_name: CLIENT_KEY}


def asked(running: House) -> list[Received]:
    """The Messages calls that reached the simulated Claude."""
    return [one for one in running.simulator.record.requests if one.path.startswith("/v1/messages")]


@pytest.mark.parametrize("key_name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
async def test_a_plain_question_is_answered(running: House, folder: Path, key_name: str) -> None:
    """Protects the first thing users of Claude Code do, with nothing set but the address and the key."""
    printed = await run_claude(
        folder, "Hello, gateway!", "--model", "sonnet", settings=settings(running, key_name)
    )
    assert "Hello, gateway!" in printed
    (call,) = asked(running)
    assert (call.key, call.status) == ("k1", 200)
    assert call.header("anthropic-version") == "2023-06-01"
    assert "claude-code-" in (call.header("anthropic-beta") or "")
    body = msgspec.json.decode(call.body, type=dict[str, object])
    assert (body["model"], body["stream"]) == (MODEL, True)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("Read", {"file_path": NOTE}),
        ("Bash", {"command": f"cat {NOTE}", "description": "Show the note"}),
    ],
)
async def test_a_tool_it_is_asked_to_run_is_run_and_its_result_sent(
    running: House, folder: Path, tool: str, arguments: dict[str, object]
) -> None:
    """Protects the loop of the program: the call reaches it, it runs the tool here, and the model sees the result."""
    if "file_path" in arguments:
        arguments = {"file_path": str(folder / NOTE)}
    running.simulator.script("k1", [Step(stream_body=calling(MODEL, tool, arguments))])
    printed = await run_claude(
        folder,
        "Look into the note.",
        "--model",
        "sonnet",
        "--allowedTools",
        tool,
        "--output-format",
        "json",
        settings=settings(running),
    )
    result = msgspec.json.decode(printed, type=Result)
    assert not result.is_error
    assert SECRET in result.result
    assert result.num_turns == 2
    first, second = asked(running)
    assert SECRET.encode() not in first.body
    assert SECRET.encode() in second.body
    assert CALL_ID.encode() in second.body
