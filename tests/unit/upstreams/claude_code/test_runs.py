"""What is known of a run before it starts."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from proxy.dialects.claude_options import ClaudeOptions
from proxy.errors import GatewayError
from proxy.model.content import DocumentBlock, TextBlock, ToolResultBlock
from proxy.settings import CodePolicy
from proxy.upstreams.base import CodeWish
from proxy.upstreams.claude_code import saved as saved_module
from proxy.upstreams.claude_code.asked import Asked, read_asked
from proxy.upstreams.claude_code.options import Run
from proxy.upstreams.claude_code.runs import Runs
from proxy.upstreams.claude_code.saved import SavedSessions
from tests.support.clock import FakeClock

_SESSION: Final = "0b8f0d5e-2b1f-4a53-9b58-3c2f1a5e7d10"
_TOOL: Final = {"name": "look", "input_schema": {"type": "object"}}


class _Bench:
    """Runs of one operator, and what sessions were told."""

    def __init__(self, folder: Path) -> None:
        self.root = (folder / "root").resolve()
        self.root.mkdir()
        (self.root / "note.txt").write_text("a heron")
        self.link = folder / "link"
        self.link.symlink_to(self.root)
        self.saved = SavedSessions(folder / "sessions", FakeClock(), 60)
        policy = CodePolicy(
            tools=frozenset({"Read"}), roots=(self.link,), servers={"birds": b"{}"}, servers_join=True
        )
        self.runs = Runs(policy, self.saved)
        self.told: list[str] = []

    def keep(self, session: str, working_dir: str) -> None:
        """Have a session of alice's."""
        file = self.root / f"{session}.jsonl"
        file.write_text("said")
        self.saved.take_back("alice", session, file, working_dir)

    async def plan(self, *, asked: Asked | None = None, **options: object) -> tuple[Asked, Run]:
        """Plan a run and let it be over."""
        wish = CodeWish(
            options=msgspec.convert(options, ClaudeOptions), owner="alice", folder=None, tell=self.told.append
        )
        async with AsyncExitStack() as stack:
            planned, run = await self.runs.planned(asked or _asked(), wish, stack)
        assert run is not None
        return planned, run


@pytest.fixture
def bench(tmp_path: Path) -> _Bench:
    """See `_Bench`."""
    return _Bench(tmp_path)


def _asked(*said: str, **fields: object) -> Asked:
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(said or ("Hello!",))]
    return read_asked(msgspec.json.encode({"model": "m", "messages": messages, **fields}))


async def test_a_run_begins_a_session_and_says_so(bench: _Bench) -> None:
    """Protects the id a client goes on with."""
    _, run = await bench.plan()
    assert bench.told == [run.session]
    assert (run.resumes, run.owner, len(run.session)) == (False, "alice", 36)
    assert (await bench.plan())[1].session != run.session


async def test_a_session_goes_on_where_it_ran(bench: _Bench) -> None:
    """Protects runs that name a session alone from looking for its files elsewhere."""
    await asyncio.to_thread(bench.keep, _SESSION, str(bench.root))
    _, named = await bench.plan(session_id=_SESSION)
    goes_on: dict[str, Any] = {"continue": True}
    _, latest = await bench.plan(**goes_on, working_dir=str(bench.link))
    for run in (named, latest):
        assert (run.session, run.resumes, run.working_dir) == (_SESSION, True, bench.root)
    await asyncio.to_thread(bench.keep, _SESSION, "/etc")
    with pytest.raises(GatewayError) as caught:
        await bench.plan(session_id=_SESSION)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("asked", "options", "status", "param"),
    [
        (_asked(), {"session_id": _SESSION}, 404, "claude_options.session_id"),
        (_asked(), {"session_id": "a title"}, 404, "claude_options.session_id"),
        (_asked(), {"continue": True}, 404, "claude_options.continue"),
        (_asked(tools=[_TOOL]), {"tools": ["Read"]}, 400, "tools"),
        (_asked(tool_choice={"type": "any"}), {"tools": ["Read"]}, 400, "tools"),
        (_asked(tools=[_TOOL]), {"mcp_config": msgspec.Raw(b'"birds"')}, 400, "tools"),
        (_asked(tools=[_TOOL]), {"session_id": _SESSION}, 400, "claude_options.session_id"),
        (_asked(tools=[_TOOL]), {"continue": True}, 400, "claude_options.continue"),
        (_asked(tools=[_TOOL]), {"output_format": "json"}, 400, "claude_options.output_format"),
        (_asked(tools=[_TOOL]), {"tools": ["Bash"]}, 403, "claude_options.tools[0]"),
        (_asked(), {"tools": ["Bash"]}, 403, "claude_options.tools[0]"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_starts(
    bench: _Bench, asked: Asked, options: dict[str, object], status: int, param: str
) -> None:
    """Protects clients from a run that is not the one they asked for."""
    with pytest.raises(GatewayError) as caught:
        await bench.plan(asked=asked, **options)
    assert (caught.value.status, caught.value.param) == (status, param)
    assert bench.told == []


async def test_a_session_is_told_only_what_is_new(bench: _Bench) -> None:
    """Protects against a history that is said twice, or another one than the session's."""
    await asyncio.to_thread(bench.keep, _SESSION, "")
    with pytest.raises(GatewayError) as caught:
        await bench.plan(asked=_asked("one", "two", "three"), session_id=_SESSION)
    assert (caught.value.status, caught.value.param) == (400, "messages")


async def test_a_session_in_use_is_said_to_be(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects clients from waiting for ever, and sessions from two programs."""
    monkeypatch.setattr(saved_module, "_WAIT_S", 0.01)
    await asyncio.to_thread(bench.keep, _SESSION, "")
    async with bench.saved.alone("alice", _SESSION):
        with pytest.raises(GatewayError) as caught:
            await bench.plan(session_id=_SESSION)
    assert (caught.value.status, caught.value.code) == (409, "session_in_use")


async def test_files_stand_before_the_question(bench: _Bench) -> None:
    """Protects the order, also for paths through the operator's own link."""
    planned, _ = await bench.plan(files=["note.txt"], working_dir=str(bench.link))
    document, text = planned.question
    assert isinstance(document, DocumentBlock)
    assert text == _asked().question[0]
    bench.runs.close()


async def test_without_options_servers_join_those_who_bring_no_tools(bench: _Bench) -> None:
    """Protects clients' own tools from being mixed with the operator's."""
    async with AsyncExitStack() as stack:
        _, run = await bench.runs.planned(_asked(), None, stack)
        assert run is not None
        assert (set(run.servers), run.session) == ({"birds"}, "")
        assert (await bench.runs.planned(_asked(tools=[_TOOL]), None, stack))[1] is None


async def test_what_a_clients_own_tools_leave_room_for_is_done(bench: _Bench) -> None:
    """Protects the use of files and directories beside them; a session would tell of calls it knows by other names."""
    planned, run = await bench.plan(
        asked=_asked(tools=[_TOOL]),
        files=["note.txt"],
        working_dir=str(bench.link),
        model="opus",
        disallowed_tools=["mcp__client__call"],
    )
    assert run == Run(working_dir=bench.root, model="opus")
    assert run.plain
    assert isinstance(planned.question[0], DocumentBlock)
    assert bench.told == []
    bench.runs.close()


async def test_files_stand_behind_results(bench: _Bench) -> None:
    """Protects results of tools, which the API takes at the beginning of a message alone."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a heron"}
    messages = [
        {"role": "user", "content": "Look!"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
    ]
    asked = read_asked(msgspec.json.encode({"model": "m", "messages": messages}))
    planned, _ = await bench.plan(asked=asked, files=["note.txt"], working_dir=str(bench.link))
    assert [type(block) for block in planned.question] == [ToolResultBlock, DocumentBlock, TextBlock]
    bench.runs.close()


@pytest.mark.parametrize("fields", [{"tools": []}, {"tools": None}, {"tool_choice": None}])
async def test_no_tools_are_as_good_as_none(bench: _Bench, fields: dict[str, object]) -> None:
    """Protects clients whose library writes what they did not set: they may use the program's tools."""
    asked = _asked(**fields)
    planned, run = await bench.plan(asked=asked, tools=["Read"], working_dir=str(bench.link))
    assert run.tools == ("Read",)
    edits = planned.edits(acts=run.acts)
    assert not {"tools", "tool_choice"} & (edits.set.keys() | edits.remove)
