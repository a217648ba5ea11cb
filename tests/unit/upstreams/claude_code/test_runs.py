"""What is known of a run before it starts."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from proxy.dialects.claude_options import ClaudeOptions
from proxy.errors import GatewayError
from proxy.model.content import DocumentBlock
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
