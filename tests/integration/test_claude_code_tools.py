"""Tools that a client runs itself, called through Claude Code: the real program before a simulated Claude."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Received, Step
from tests.support.children import children, seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.house import MODEL, House, Spoken, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

_NAMES: Final = ("look_up", "note_down")


def _tool(name: str) -> dict[str, object]:
    schema = {"type": "object", "properties": {"what": {"type": "string"}}}
    return {"name": name, "description": f"Tool {name}.", "input_schema": schema}


_TOOLS: Final = [_tool(name) for name in _NAMES]


def entries(_: str) -> list[Mapping[str, object]]:
    """One key."""
    return [{"name": "one", "kind": "claude_code", "token": "k1", "max_concurrency": 4}]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps everything."""
    claude_program()
    return tmp_path_factory.mktemp("claude-code-tools")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(folder: Path) -> AsyncIterator[House]:
    """A gateway of one Claude Code key."""
    async with house(folder, credentials=entries) as found:
        yield found
    await seconds_until_none(folder, 5)


async def converse(running: House, messages: list[object], **fields: object) -> dict[str, object]:
    """Ask over Messages, and read the answer."""
    request = {"model": MODEL, "max_tokens": 500, "messages": messages, "tools": _TOOLS, **fields}
    answer = await running.send(Spoken.MESSAGES, msgspec.json.encode(request))
    assert answer.status == 200, answer.body
    return msgspec.json.decode(answer.body, type=dict[str, object])


async def test_results_resume_the_process_that_called(running: House, folder: Path) -> None:
    """Protects."""
    running.simulator.reset()
    messages: list[object] = [{"role": "user", "content": "Please look_up a heron."}]
    said = await converse(running, messages)
    print(said)
    held = await asyncio.to_thread(children, folder)
    call = said["content"][-1]
    messages += [{"role": "assistant", "content": said["content"]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "grey"}]}]
    said = await converse(running, messages)
    print(said)
    messages += [{"role": "assistant", "content": said["content"]}, {"role": "user", "content": "And now both in parallel."}]
    said = await converse(running, messages)
    print(said)
    calls = [one for one in said["content"] if one["type"] == "tool_use"]
    messages += [{"role": "assistant", "content": said["content"]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "x", "is_error": True} for call in calls]}]
    said = await converse(running, messages)
    print(said)
    assert await asyncio.to_thread(children, folder) == held
    for one in running.simulator.record.requests:
        print(one.status, one.body.decode()[:6000])
    raise AssertionError
