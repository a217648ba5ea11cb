"""Whatever happens to a question, its conversation at claude.ai is deleted, once, by the session that made it."""

import asyncio
import base64
import signal
from pathlib import Path

import aiohttp
import msgspec
import pytest

from proxy.simulator import Simulator, Step
from tests.support.gateway import gateway
from tests.support.house import MODEL, House, Spoken, body_of, client, configuration, house, simulated, until
from tests.support.web_sessions import (
    COOKIES,
    deletions,
    image_block,
    nothing_left,
    session_entry,
    sessions,
)

_ONE = COOKIES[0]
_PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
_ENDS = {
    "organizations": "/organizations",
    "create": "/chat_conversations",
    "upload": "/upload",
    "complete": "/completion",
}


def _with_picture(spoken: Spoken, *, stream: bool) -> bytes:
    content = [{"type": "text", "text": "Hi"}, image_block(spoken, _PICTURE)]
    return msgspec.json.encode(
        {
            "model": MODEL,
            "max_tokens": 100,
            "stream": stream,
            "messages": [{"role": "user", "content": content}],
        }
    )


def _stalled(simulator: Simulator, call: str) -> bool:
    return any(
        one.path.endswith(_ENDS[call]) and one.step.startswith("stall") for one in simulator.record.requests
    )


async def _leave(found: House, spoken: Spoken, call: str, *, stream: bool) -> None:
    """Ask, and be gone while this call is under way."""

    async def ask() -> None:
        async with found.opened(spoken, _with_picture(spoken, stream=stream)) as response:
            await response.read()

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(ask())
        await until(lambda: _stalled(found.simulator, call))
        asking.cancel()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("do", ["stall_before_headers", "stall_before_event"])
@pytest.mark.parametrize("call", list(_ENDS))
async def test_a_client_that_leaves_leaves_nothing_behind(
    tmp_path: Path, call: str, do: str, *, stream: bool
) -> None:
    """Protects the account from cancelled questions, at whichever call they were, and frees the session's place."""
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        found.simulator.script(_ONE, [msgspec.convert({"do": do, "call": call}, Step)])
        await _leave(found, Spoken.CHAT, call, stream=stream)
        await found.idle()
        assert (await found.ask(Spoken.CHAT)).status == 200
        await until(lambda: not found.simulator.site.ledger.alive)
        ledger = found.simulator.site.ledger
        assert len(deletions(found.simulator)) == len(ledger.conversations)
        assert ledger.leaks == []


async def test_a_client_that_leaves_in_the_middle_of_an_answer_leaves_nothing_behind(tmp_path: Path) -> None:
    """Protects the account from answers nobody reads to their end."""
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        found.simulator.script(_ONE, [Step("stall_mid", call="complete")])
        async with found.opened(Spoken.CHAT, body_of(Spoken.CHAT, stream=True)) as response:
            assert await response.content.readany()
        await nothing_left(found.simulator, made=1)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "step",
    [
        Step("status", status=500, call="complete", times=9),
        Step("conversation_gone", call="complete", times=9),
        Step("reset_mid_stream", call="complete", times=9),
        Step("error_event_mid", call="complete", times=9),
        Step("answer_lost", call="create", times=9),
        Step("answer_lost", call="create", status=500, times=9),
        Step("status", status=500, call="upload", times=9),
    ],
    ids=lambda step: f"{step.do}-{step.status}-{step.call}",
)
async def test_failures_leave_nothing_behind(tmp_path: Path, step: Step, *, stream: bool) -> None:
    """Protects the account: each attempt's conversation is deleted, also one whose creation only seemed to fail."""
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        found.simulator.script(_ONE, [step])
        answer = await found.send(Spoken.MESSAGES, _with_picture(Spoken.MESSAGES, stream=stream))
        assert answer.status >= 500 or b"event: error" in answer.body
        await found.idle()
        made = len(found.simulator.site.ledger.conversations)
        assert made >= 1
        await nothing_left(found.simulator, made=made)


async def test_conversations_are_kept_where_the_operator_wants_them(tmp_path: Path) -> None:
    """Protects CHAT_DELETE=false: they stay in the history, and nothing is asked to be deleted."""
    async with house(tmp_path, {"CHAT_DELETE": "false"}, credentials=sessions(_ONE)) as found:
        assert (await found.ask(Spoken.CHAT)).status == 200
        await found.idle()
    (kept,) = found.simulator.site.ledger.alive
    assert (kept.temporary, kept.completions) == (False, 1)
    assert not any(one.method == "DELETE" for one in found.simulator.record.requests)


async def test_temporary_is_said_only_of_what_is_deleted(tmp_path: Path) -> None:
    """Protects histories that owners want to read again."""
    async with house(tmp_path, credentials=sessions(_ONE)) as found:
        await found.ask(Spoken.CHAT)
        await nothing_left(found.simulator, made=1)
        assert [one.temporary for one in found.simulator.site.ledger.conversations.values()] == [True]


async def _ask_in_vain(asked: House, spoken: Spoken) -> None:
    try:
        async with asked.opened(spoken, _with_picture(spoken, stream=True)) as response:
            await response.read()
    except (aiohttp.ClientError, TimeoutError):
        return


@pytest.mark.parametrize("call", ["create", "upload", "complete"])
async def test_a_killed_process_leaves_a_debt_that_the_next_one_pays(tmp_path: Path, call: str) -> None:
    """Protects the account's history from a kill at any call, also where the answer was lost but the work was done."""
    async with simulated() as simulator, client() as session:
        settings = configuration(tmp_path, simulator, (), sessions(_ONE))
        simulator.script(_ONE, [msgspec.convert({"do": "stall_before_event", "call": call}, Step)])
        async with gateway(tmp_path, settings) as server:
            asked = House(server, simulator, session)
            async with asyncio.TaskGroup() as group:
                group.create_task(_ask_in_vain(asked, Spoken.CHAT))
                await until(lambda: _stalled(simulator, call))
                await server.stop(signal.SIGKILL)
        async with gateway(tmp_path, settings) as server:
            await until(lambda: not simulator.site.ledger.alive)
            await server.stop()
            said = "\n".join(server.output)
        assert said.count("claude.ai sessions are in use") == 1
        assert "canary" not in said
        assert simulator.site.ledger.leaks == []
        assert len(deletions(simulator)) == len(simulator.site.ledger.conversations)


async def test_a_stop_pays_what_is_owed(tmp_path: Path) -> None:
    """Protects against leaving conversations to a next start that may never come."""
    async with simulated() as simulator, client() as session:
        settings = configuration(tmp_path, simulator, (), sessions(_ONE))
        simulator.script(_ONE, [Step("status", status=500, call="delete")])
        async with gateway(tmp_path, settings) as server:
            assert (await House(server, simulator, session).ask(Spoken.CHAT)).status == 200
            await until(lambda: any(one.method == "DELETE" for one in simulator.record.requests))
            assert await server.stop() == 0
        await nothing_left(simulator, made=1)


async def test_a_session_that_comes_and_goes_while_the_server_runs_leaves_nothing(tmp_path: Path) -> None:
    """Protects hot reload: a session configured later answers, and one taken out pays its debts first."""
    async with simulated() as simulator, client() as session:
        settings = configuration(tmp_path, simulator, (), lambda _: [{"name": "key", "key": "k1"}])
        file = tmp_path / "sessions.json"
        only_key = file.read_bytes()
        async with gateway(tmp_path, settings) as server:
            asked = House(server, simulator, session)
            file.write_bytes(
                msgspec.json.encode({"credentials": [session_entry(simulator.url, _ONE, tier=0)]})
            )
            await _named(asked, ["web-1"])
            simulator.script(_ONE, [Step("status", status=500, call="delete")])
            answer = await asked.ask(Spoken.CHAT)
            assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "web-1")
            await until(lambda: any(one.method == "DELETE" for one in simulator.record.requests))
            file.write_bytes(only_key)
            await _named(asked, ["key"])
            await nothing_left(simulator, made=1)
            assert (await asked.ask(Spoken.CHAT)).headers["x-carousel-credential"] == "key"


async def _named(asked: House, names: list[str]) -> None:
    """Wait until these and no others are in the pool."""
    async with asyncio.timeout(30):
        while True:
            if list(await asked.credentials()) == names:
                return
            await asyncio.sleep(0.02)
