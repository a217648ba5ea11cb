"""The children that are there: how long they stay, and who has to go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.credentials import Credential, Kind
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.simulator import Simulator, Step
from proxy.upstreams.claude_code import sessions as module
from proxy.upstreams.claude_code.asked import Asked, digest, read_asked
from proxy.upstreams.claude_code.folders import Folders
from proxy.upstreams.claude_code.listener import Listener
from proxy.upstreams.claude_code.program import find_program
from proxy.upstreams.claude_code.session import Means, Session, sort_of
from proxy.upstreams.claude_code.sessions import Limits, Sessions
from proxy.upstreams.claude_code.turn import Turn
from proxy.upstreams.http import WaysOut
from tests.support.children import seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.clock import FakeClock
from tests.support.fake_claude import fake_claude, starts
from tests.support.house import until
from tests.support.tool_calls import CALL_ID, calling


def _asked(text: str, system: str) -> Asked:
    return _asked_all([{"role": "user", "content": text}], system=system)


def _asked_all(messages: list[dict[str, object]], owner: str = "alice", system: str = "") -> Asked:
    return read_asked(msgspec.json.encode({"model": "m", "system": system, "messages": messages}), owner)


_LOOKED_UP: Final[list[dict[str, object]]] = [
    {"role": "user", "content": "Look it up!"},
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": CALL_ID, "name": "look_up", "input": {"what": "it"}}],
    },
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": CALL_ID, "content": "a heron"}],
    },
]


class _Bench:
    """Sessions of one key, asked and answered in one go."""

    def __init__(self, sessions: Sessions, credential: Credential) -> None:
        self.sessions = sessions
        self.credential = credential

    async def ask(self, text: str = "Hello!", system: str = "") -> tuple[Session, Turn]:
        """Ask, and wait for the end of the turn."""
        return await self.put(_asked(text, system))

    async def put(self, asked: Asked) -> tuple[Session, Turn]:
        """Put a request, and wait for the end of the turn, or for a tool of the client's to be called."""
        turn = Turn()
        program = await asyncio.to_thread(find_program, self.credential)
        session = await self.sessions.ask(sort_of(asked, self.credential), asked, turn, program)
        await turn.over.wait()
        return session, turn


@asynccontextmanager
async def bench(
    folder: Path, simulator: Simulator, ways_out: WaysOut, clock: FakeClock, limits: Limits, mode: str = ""
) -> AsyncIterator[_Bench]:
    """A bench whose children are gone in the end."""
    claude_program()
    listener = Listener(ways_out, Policy())
    means = Means(Folders(folder / "children"), listener, {"PATH": "/usr/bin:/bin"})
    sessions = Sessions(means, limits, clock)
    program = await asyncio.to_thread(fake_claude, folder / "fake", mode)
    key = Credential(
        name="c", kind=Kind.CLAUDE_CODE, secret=Secret("k1"), base_url=simulator.url, cli_path=str(program)
    )
    try:
        yield _Bench(sessions, key)
    finally:
        await sessions.close()
        await listener.close()
        await seconds_until_none(folder / "children", 10)


async def test_one_that_idles_is_ended_in_time(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects the machine's memory from conversations that are over."""
    clock = FakeClock()
    async with bench(tmp_path, simulator, ways_out, clock, Limits(processes=2, starts=2)) as found:
        session, turn = await found.ask()
        found.sessions.give_back(session, turn, b"known")
        clock.advance(299)
        await found.sessions.look()
        assert len(found.sessions) == 1
        clock.advance(2)
        await found.sessions.look()
        await until(lambda: len(found.sessions) == 0)


async def test_one_that_ended_by_itself_is_forgotten(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects the places from those nobody sits on."""
    async with bench(tmp_path, simulator, ways_out, FakeClock(), Limits(processes=1, starts=1)) as found:
        session, turn = await found.ask()
        found.sessions.give_back(session, turn, b"known")
        assert session._process is not None
        session._process.kill()
        await until(lambda: not session.alive)
        await found.sessions.look()
        await until(lambda: len(found.sessions) == 0)
        assert (await found.ask())[0] is not session


async def test_one_that_has_grown_too_large_is_ended(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the machine from a process that keeps what it has seen."""
    sizes: list[int] = []
    measured = module._resident_bytes

    def measure(guard: int | None) -> int:
        sizes.append(measured(guard))
        return sizes[-1]

    monkeypatch.setattr(module, "_resident_bytes", measure)
    limits = Limits(processes=1, starts=1, memory_max_bytes=1_000_000)
    async with bench(tmp_path, simulator, ways_out, FakeClock(), limits) as found:
        session, turn = await found.ask()
        found.sessions.give_back(session, turn, b"known")
        await until(lambda: len(found.sessions) == 0)
    assert sizes[0] > 1_000_000


async def test_one_is_started_ahead_where_conversations_begin_again_and_again(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the first answer of a conversation from the time a start takes."""
    monkeypatch.setattr(module, "_QUIET_S", 0.01)
    async with bench(tmp_path, simulator, ways_out, FakeClock(), Limits(processes=3, starts=2)) as found:
        for text in ("one", "two"):
            session, turn = await found.ask(text, "the same instructions")
            found.sessions.give_back(session, turn, None)
        await until(lambda: any(each.settled.is_set() for each in found.sessions._idle))
        (spare,) = found.sessions._idle
        session, turn = await found.ask("three", "the same instructions")
        assert session is spare
        found.sessions.give_back(session, turn, None)


@pytest.mark.parametrize("waits", [False, True])
async def test_one_that_is_started_ahead_takes_the_place_of_the_oldest_conversation(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, monkeypatch: pytest.MonkeyPatch, *, waits: bool
) -> None:
    """Protects first answers where conversations fill all places; but no run that waits for its client gives way."""
    monkeypatch.setattr(module, "_QUIET_S", 0.01)
    clock = FakeClock()
    async with bench(tmp_path, simulator, ways_out, clock, Limits(processes=2, starts=2)) as found:
        for text in ("one", "two"):
            session, turn = await found.ask(text, "the same instructions")
            turn.waits = waits
            found.sessions.give_back(session, turn, text.encode(), waits=waits)
            clock.advance(1)
        await until(lambda: not found.sessions._preparing)
        assert len(found.sessions) == 2
        assert {each.held for each in found.sessions._idle} == ({b"one", b"two"} if waits else {b"", b"two"})


async def test_none_is_started_ahead_while_questions_come(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects answers under way from sharing their core with a start nobody waits for."""
    monkeypatch.setattr(module, "_QUIET_S", 60.0)
    async with bench(tmp_path, simulator, ways_out, FakeClock(), Limits(processes=4, starts=2)) as found:
        for text in ("one", "two", "three"):
            session, turn = await found.ask(text, "the same instructions")
            found.sessions.give_back(session, turn, None)
        await until(lambda: len(found.sessions) == 0)
        assert len(await asyncio.to_thread(starts, tmp_path / "fake")) == 3


async def test_those_of_a_credential_that_left_are_ended(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects a key that was taken out of the configuration from being used on."""
    async with bench(tmp_path, simulator, ways_out, FakeClock(), Limits(processes=2, starts=2)) as found:
        session, turn = await found.ask()
        found.sessions.give_back(session, turn, b"known")
        await found.sessions.forget(found.credential)
        await until(lambda: len(found.sessions) == 0)


async def _waiting(found: _Bench, simulator: Simulator) -> Session:
    """A session whose run waits for the result of a call."""
    answer = calling("m", "look_up", {"what": "it"})
    simulator.script("k1", [Step(do="slow_bytes", stream_body=answer, bytes_per_s=10**6)])
    session, turn = await found.put(_asked_all(_LOOKED_UP[:1]))
    assert turn.waits
    held = digest(_asked_all(_LOOKED_UP).history)
    found.sessions.give_back(session, turn, held, waits=True)
    return session


async def test_a_run_that_waits_goes_on_with_the_results_of_its_owner_alone(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects a client's run from everybody who can say the same."""
    limits = Limits(processes=3, starts=1)
    async with bench(tmp_path, simulator, ways_out, FakeClock(), limits, "calls_tools") as found:
        session = await _waiting(found, simulator)
        assert await found.sessions._taken(session.sort, _asked_all(_LOOKED_UP, "mallory")) is None
        again, turn = await found.put(_asked_all(_LOOKED_UP))
        assert again is session
        assert not turn.waits
        found.sessions.give_back(again, turn, None)
    assert b"a heron" in simulator.record.requests[-1].body


async def test_a_run_nobody_comes_back_to_frees_its_process(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects the machine from clients that ask for a call and leave."""
    clock, limits = FakeClock(), Limits(processes=2, starts=1)
    async with bench(tmp_path, simulator, ways_out, clock, limits, "calls_tools") as found:
        session = await _waiting(found, simulator)
        await session.settled.wait()
        clock.advance(301)
        await found.sessions.look()
        await until(lambda: len(found.sessions) == 0)


async def test_a_program_that_does_not_wait_for_results_is_not_gone_on_with(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects clients from a run that has gone on by itself: their results are told to a new one."""
    async with bench(tmp_path, simulator, ways_out, FakeClock(), Limits(processes=2, starts=1)) as found:
        session, turn = await found.put(_asked_all(_LOOKED_UP[:1]))
        held = digest(_asked_all(_LOOKED_UP).history)
        found.sessions.give_back(session, turn, held, waits=True)
        await until(lambda: len(found.sessions) == 0)
