"""Codex CLI against the real server: answers, and commands that it runs on this machine."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Received, Step
from tests.support.codex import Turn, codex_program, run_codex
from tests.support.gateway import CLIENT_KEY
from tests.support.house import House, house
from tests.support.tool_calls import CALL_ID, calling

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("node", "npm")]

MODEL: Final = "claude-sonnet-5-5"
SHELL: Final = "exec_command"
SECRET: Final = "the-purple-heron-7431"
NOTE: Final = "note.txt"


@pytest.fixture(scope="module")
def program() -> Path:
    """Codex, as npm installs it."""
    return codex_program()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(program: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway of one key, in front of a simulated Claude."""
    async with house(tmp_path_factory.mktemp("codex"), keys=("k1",)) as found:
        yield found


@pytest.fixture
def folder(running: House, tmp_path: Path) -> Path:
    """A folder to work in, with a note in it; what was asked before is forgotten."""
    running.simulator.reset()
    found = tmp_path / "work"
    found.mkdir()
    (found / NOTE).write_text(SECRET + "\n")
    return found


async def turn(program: Path, running: House, folder: Path, prompt: str, key: str = CLIENT_KEY) -> Turn:
    """One turn by way of the gateway."""
    return await run_codex(program, folder, prompt, url=running.server.url, key=key, model=MODEL)


def asked(running: House) -> list[Received]:
    """The Messages calls that reached the simulated Claude."""
    return [one for one in running.simulator.record.requests if one.path.startswith("/v1/messages")]


async def test_a_plain_question_is_answered(program: Path, running: House, folder: Path) -> None:
    """Protects the first thing users of Codex do: text, reasoning and usage of a turn, with all its tools offered."""
    found = await turn(program, running, folder, "Hello, gateway!")
    assert found.exit_code == 0
    (said,) = found.done("agent_message")
    assert "Hello, gateway!" in said.text
    assert found.done("reasoning")
    assert found.events[-1].type == "turn.completed"
    usage = found.events[-1].usage
    assert usage is not None
    assert usage.input_tokens > 1000
    (call,) = asked(running)
    body = msgspec.json.decode(call.body, type=dict[str, object])
    assert (call.status, body["model"], body["stream"]) == (200, MODEL, True)


async def test_a_command_it_is_asked_to_run_is_run_and_its_output_sent(
    program: Path, running: House, folder: Path
) -> None:
    """Protects the loop of the program: the call reaches it, the command is run here, the model sees its output."""
    step = Step(stream_body=calling(MODEL, SHELL, {"cmd": f"cat {NOTE}"}))
    running.simulator.script("k1", [step])
    found = await turn(program, running, folder, "Look into the note.")
    assert found.exit_code == 0
    (ran,) = found.done("command_execution")
    assert f"cat {NOTE}" in ran.command
    assert (ran.exit_code, ran.aggregated_output.strip()) == (0, SECRET)
    assert SECRET in found.done("agent_message")[-1].text
    first, second = asked(running)
    assert SHELL.encode() in first.body
    assert SECRET.encode() not in first.body
    assert SECRET.encode() in second.body
    assert CALL_ID.encode() in second.body


async def test_a_wrong_key_is_told_to_the_user(program: Path, running: House, folder: Path) -> None:
    """Protects users who typed another key: the turn fails at once, with our words for it."""
    found = await turn(program, running, folder, "Hello!", key="sk-not-the-key")
    assert found.exit_code == 1
    problem = found.events[-1].error
    assert problem is not None
    assert "The client key is not valid." in problem.message
    assert asked(running) == []
