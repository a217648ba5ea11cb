"""A login that is let use tools: kept from them by the real bubblewrap, or a refusal that says what is missing."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Step
from proxy.upstreams.claude_code.sandbox import lacking
from tests.support.children import seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway
from tests.support.house import MODEL, Answer, House, Spoken, house
from tests.support.lacking import lacks
from tests.support.tool_calls import calling

pytestmark = pytest.mark.asyncio(loop_scope="module")

_LOGIN: Final = "sk-ant-oat01-canary-of-the-login"
_LOOKS: Final = (
    "env; echo; cat /proc/[0-9]*/environ | tr '\\0' '\\n'; echo; ls -d /proc/[0-9]*; touch was-here"
)
_FEW: Final = 20


def logins(url: str) -> list[Mapping[str, object]]:
    """A login token, which the program itself goes out with."""
    return [{"name": "mine", "kind": "claude_code", "token": _LOGIN, "base_url": url}]


@pytest_asyncio.fixture(loop_scope="module")
async def place() -> AsyncIterator[Path]:
    """A folder of a short path, as sockets need one; removed when nothing runs in it that may still write to it."""
    with tempfile.TemporaryDirectory(prefix="s") as folder:
        (Path(folder) / "work").mkdir()
        yield Path(folder)
        await seconds_until_none(Path(folder), 10)


async def _run(found: House, place: Path) -> Answer:
    """Have the model call Bash, and then say what that returned."""
    call = calling(MODEL, "Bash", {"command": _LOOKS, "description": "Look around"})
    found.simulator.script(_LOGIN, [Step(stream_body=call)])
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Look around!"}],
        "claude_options": {"tools": ["Bash"], "working_dir": str(place / "work")},
    }
    return await found.send(Spoken.CHAT, msgspec.json.encode(request), key=CLIENT_KEY)


def _settings(place: Path, **more: str) -> dict[str, str]:
    return {"CLAUDE_CODE_ROOTS": str(place / "work"), "CLAUDE_CODE_TOOLS": "Bash", **more}


async def test_what_a_logins_tool_starts_finds_neither_the_login_nor_a_secret_of_ours(place: Path) -> None:
    """Protects a person's login, and the server's keys, from a model that is talked into looking for them."""
    claude_program()
    if missing := await asyncio.to_thread(lacking, os.environ["PATH"], _FEW):
        lacks(missing)
    async with house(place, _settings(place), credentials=logins) as found:
        answer = await _run(found, place)
        assert answer.status == 200, answer.body
        (asked, told) = found.simulator.record.requests
        await seconds_until_none(place / "data", 10)
    assert (asked.key, told.key) == (_LOGIN, _LOGIN)
    said = told.body.decode()
    assert "CLAUDE_CODE_SUBPROCESS_ENV_SCRUB=1" in said
    for secret in (_LOGIN, CLIENT_KEY, ADMIN_KEY):
        assert secret not in said
    assert said.count("/proc/") < _FEW
    assert await asyncio.to_thread((place / "work" / "was-here").exists)


async def test_without_bubblewrap_nothing_is_started_and_it_is_said_what_is_missing(place: Path) -> None:
    """Protects a login from being used without its protection, silently."""
    claude_program()
    (place / "bin").mkdir()
    settings = _settings(place, PATH=str(place / "bin"))
    async with house(place, settings, credentials=logins) as found:
        answer = await _run(found, place)
        assert answer.status == 400
        assert answer.error.error.message.endswith(
            "could not be kept from it: not installed on the server: bubblewrap, socat."
        )
        assert not found.simulator.record.requests
        assert (await found.ask(Spoken.CHAT)).status == 200
        assert isinstance(found.server, Gateway)
        await found.server.program.wrote(
            "Claude Code logins are asked without tools and MCP servers.*bubblewrap, socat"
        )
