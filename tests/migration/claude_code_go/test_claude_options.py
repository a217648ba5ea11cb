"""Moving here from claude-code-api (Go): every example of ``claude_options``, by OpenAI's client and the real program.

The paths are put below a folder of this machine; the credential is one Claude Code key.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Step
from tests.migration.claude_code_go.examples import (
    ANALYSIS,
    APPROVED,
    CLIENT,
    CODEBASE,
    CONTINUED,
    DEBUGGED,
    DOCUMENTS,
    PATHS,
    PICTURE,
    TESTS,
)
from tests.support.children import seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.house import simulated, until
from tests.support.lacking import lacks
from tests.support.moving import Moved, moved
from tests.support.pictures import png
from tests.support.program import through
from tests.support.tool_calls import calling

pytestmark = pytest.mark.asyncio(loop_scope="module")

_MODEL: Final = "claude-sonnet-5-5"
_NOTE: Final = "the-purple-heron-7431"
_AS_SOMEBODY: Final = ("unshare", "--user", "--map-user=1000")
_LOGGED_S: Final = 10.0


def _settings(home: Path) -> dict[str, str]:
    """What has to be written down: whose machine it is decides what its clients may do there."""
    return {
        "API_KEY": "your-api-key",
        "CLAUDE_CODE_TOOLS": "Bash,Edit,Read,Grep,Write",
        "CLAUDE_CODE_ROOTS": str(home),
        "CLAUDE_CODE_DEBUG": "true",
        "LOG_LEVEL": "debug",
    }


def _laid_out(home: Path) -> None:
    """The files the examples speak of, below one folder."""
    for name in (
        "documents",
        "project",
        "myproject/src",
        "designs",
        "production-app",
        "react-app/src/components",
    ):
        (home / name).mkdir(parents=True)
    for name in (
        "documents/one.txt",
        "production-app/start.log",
        "myproject/src/main.py",
        "myproject/src/utils.py",
    ):
        (home / name).write_text(f"{_NOTE} of {name}")
    for name in ("project/config.json", "myproject/config.json", "project/main.py"):
        (home / name).write_text(f'"{name}"')
    for name in ("project/diagram.png", "designs/login-page.png"):
        (home / name).write_bytes(png(2, 2))


class _Place:
    """A program with a Claude Code key, and the folder its clients may work below."""

    def __init__(self, found: Moved, home: Path) -> None:
        self.found = found
        self.home = home

    async def run(
        self, example: str, edits: Mapping[str, str] | None = None, ending: str = ""
    ) -> dict[str, object]:
        """Run an example with its paths below the folder; what it has made, with `text` what was answered."""
        for path in PATHS:
            parent = path.rpartition("/")[0] if path.startswith("/path") else path
            example = example.replace(f'"{path}', f'"{self.home}{path.removeprefix(parent)}')
        ending = ending or "text = response.choices[0].message.content\nsession = response.session_id\n"
        return await asyncio.to_thread(self.found.python, example + ending, edits)

    async def said(self, example: str) -> str:
        """What the answer to an example is, which follows on its client."""
        return str((await self.run(CLIENT + example))["text"])

    def calls(self, tool: str, **arguments: object) -> None:
        """Have the model call a tool first, and then say what that returned."""
        self.found.simulator.script("k1", [Step(stream_body=calling(_MODEL, tool, arguments))])

    @property
    def offered(self) -> set[str]:
        """The tools the model was offered last."""
        return {str(tool["name"]) for tool in self.found.asked[-1].tools}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def started(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[_Place]:
    """One program for all examples."""
    claude_program()
    folder = tmp_path_factory.mktemp("claude-code-go")
    _laid_out(folder / "home")
    async with simulated() as claude:
        settings = {**_settings(folder / "home"), "CLAUDE_API_KEYS": _keys(claude.url)}
        async with moved(folder, claude, settings) as found:
            yield _Place(found, folder / "home")
    await seconds_until_none(folder, 10)


@pytest_asyncio.fixture(loop_scope="module")
async def place(started: _Place) -> _Place:
    """The same, whose simulated Claude has forgotten what was asked before."""
    started.found.simulator.reset()
    return started


def _keys(url: str) -> str:
    return msgspec.json.encode([{"name": "mine", "token": "k1", "base_url": url}]).decode()


async def test_documents_are_read_one_after_the_other(place: _Place) -> None:
    """Protects the batch example: the file is read here, each document has its answer, nothing else is offered."""
    place.calls("Read", file_path=str(place.home / "documents/one.txt"))
    names = await place.run(DOCUMENTS, ending='found = process_documents(["one.txt", "two.txt"])\n')
    first, second = msgspec.convert(names["found"], list[str])
    assert f"{_NOTE} of documents/one.txt" in first
    assert "Analyze this document: two.txt" in second
    assert "Read" in place.offered <= {"Read", "Grep"}


async def test_a_session_is_resumed_with_files_and_an_image(place: _Place) -> None:
    """Protects the example of everything at once, with the id of a session in the place of ``abc123``."""
    begun = await place.run(CLIENT + CODEBASE, {'"session_id": "abc123",': ""})
    names = await place.run(CLIENT + CODEBASE, {"abc123": str(begun["session"])})
    assert names["session"] == begun["session"]
    asked = place.found.asked[-1]
    assert len(asked.messages) >= 3
    question = next(one for one in reversed(asked.messages) if "main.py" in str(one))
    shown = msgspec.convert(question["content"], list[dict[str, object]])
    assert [block.get("title") or block["type"] for block in shown[:3]] == ["config.json", "main.py", "image"]
    assert {"Bash", "Edit", "Read"} <= place.offered <= {"Bash", "Edit", "Read", "Grep"}


async def test_named_files_are_put_before_the_question(place: _Place) -> None:
    """Protects the example of an analysis: its three files are there, in their order, under their names."""
    assert "optimize the performance." in await place.said(ANALYSIS)
    (asked,) = place.found.asked
    shown = msgspec.convert(asked.messages[0]["content"], list[dict[str, object]])
    assert [block.get("title") for block in shown[:3]] == ["src/main.py", "src/utils.py", "config.json"]
    assert f"{_NOTE} of myproject/src/utils.py" in str(shown[1])


async def test_commands_run_in_the_directory_with_the_model_that_is_named(place: _Place) -> None:
    """Protects the example that runs tests, and `model` beside `claude-code`."""
    place.calls("Bash", command="pwd", description="Show where this is")
    assert str(place.home / "myproject") in await place.said(TESTS)
    assert all(one.model.startswith("claude-opus-") for one in place.found.asked)


async def test_an_image_is_shown_and_a_component_written(place: _Place) -> None:
    """Protects the example of a mockup: an image from another directory, a file in the one it works in."""
    component = place.home / "react-app/src/components/Login.jsx"
    place.calls("Write", file_path=str(component), content="export default Login;")
    await place.said(PICTURE)
    assert component.read_text() == "export default Login;"
    shown = msgspec.convert(place.found.asked[0].messages[0]["content"], list[dict[str, object]])
    assert shown[0]["type"] == "image"


async def test_a_session_goes_on_by_its_id_alone(place: _Place) -> None:
    """Protects the example of yesterday's work: what was said is known, and where it was said."""
    begun = await place.run(CLIENT + TESTS)
    place.calls("Bash", command="pwd", description="Show where this is")
    names = await place.run(CLIENT + CONTINUED, {"abc123": str(begun["session"])})
    assert names["session"] == begun["session"]
    assert str(place.home / "myproject") in str(names["text"])
    assert "Run the test suite" in str(place.found.asked[-1].messages)


async def test_an_id_that_is_no_session_is_refused(place: _Place) -> None:
    """Protects the example as it is printed from going on with anything else: a title is no id."""
    with pytest.raises(Exception, match=r"claude_options\.session_id"):
        await place.said(CONTINUED)
    assert place.found.asked == []


async def test_it_only_reads_where_writing_is_disallowed_and_debugging_is_logged(place: _Place) -> None:
    """Protects the example of the production server: nothing that writes is offered, the log has the details."""
    place.calls("Read", file_path=str(place.home / "production-app/start.log"))
    answer = await place.said(DEBUGGED)
    assert f"{_NOTE} of production-app/start.log" in answer
    assert "Read" in place.offered <= {"Read", "Grep"}
    async with asyncio.timeout(_LOGGED_S):
        await until(lambda: "Claude Code says" in place.found.program.output)


async def test_options_stand_at_the_top_of_a_request_too(place: _Place) -> None:
    """Protects clients without `extra_body`, whose field it is like any other."""
    place.calls("Read", file_path=str(place.home / "documents/one.txt"))
    options = {"tools": ["Read"], "working_dir": str(place.home / "documents")}
    request = {
        "model": "claude-code",
        "messages": [{"role": "user", "content": "Read it."}],
        "claude_options": options,
    }
    line = (
        'curl http://localhost:8082/v1/chat/completions -H "Authorization: Bearer your-api-key" '
        f"-d '{msgspec.json.encode(request).decode()}'"
    )
    assert _NOTE in (await place.found.shell(line)).text


async def test_allowed_tools_work_outside_of_the_directory_once_that_is_set(tmp_path: Path) -> None:
    """Protects the example that skips every prompt: it works where the operator says so, and not as root."""
    claude_program()
    await asyncio.to_thread(_laid_out, tmp_path / "home")
    outside = tmp_path / "home" / "project" / "outside.txt"
    root = os.geteuid() == 0
    if root and (await _exit_code(*_AS_SOMEBODY, "true")) != 0:
        lacks("this runs as root, and cannot start a program as anybody else")
    async with simulated() as claude:
        settings = {
            **_settings(tmp_path / "home"),
            "CLAUDE_API_KEYS": _keys(claude.url),
            "CLAUDE_CODE__FILE_ACCESS__SKIP_PERMISSIONS": "true",
        }
        with through(*_AS_SOMEBODY) if root else nullcontext():
            async with moved(tmp_path, claude, settings) as found:
                place = _Place(found, tmp_path / "home")
                place.calls("Write", file_path=str(outside), content=_NOTE)
                await place.said(APPROVED)
    assert outside.read_text() == _NOTE
    await seconds_until_none(tmp_path, 10)


async def _exit_code(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()
