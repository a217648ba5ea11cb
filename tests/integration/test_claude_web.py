"""claude.ai sessions behind the whole house: answers, isolation, refusals, and nothing left behind."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from proxy.simulator import Step
from tests.support.gateway import gateway
from tests.support.house import (
    House,
    Spoken,
    body_of,
    client,
    configuration,
    house,
    simulated,
    until,
)

_COOKIES = ("sk-ant-sid01-canary-one", "sk-ant-sid01-canary-two")
Entries = Callable[[str], list[Mapping[str, object]]]


def _sessions(*cookies: str) -> Entries:
    """Entries of a ``sessions.json`` for these cookies, by the simulator's host name."""

    def entries(url: str) -> list[Mapping[str, object]]:
        place = url.replace("127.0.0.1", "localhost")
        return [
            {"name": f"web-{number}", "kind": "claude_web", "session_key": cookie, "base_url": place}
            for number, cookie in enumerate(cookies, 1)
        ]

    return entries


async def _nothing_left(found: House) -> None:
    await until(lambda: not found.simulator.site.ledger.alive)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("spoken", Spoken)
async def test_a_session_answers_clients_of_either_dialect(
    tmp_path: Path, spoken: Spoken, *, stream: bool
) -> None:
    """Protects the whole way, and the account's history: the conversation is gone afterwards."""
    async with house(tmp_path, credentials=_sessions(_COOKIES[0])) as found:
        answer = await found.ask(spoken, stream=stream, text="artifact")
        assert (answer.status, answer.broken_off) == (200, False)
        assert b"artifact" in answer.body
        assert b"```python" in answer.body
        assert answer.headers["x-carousel-credential"] == "web-1"
        await _nothing_left(found)
        assert len(found.simulator.site.ledger.deleted) == 1


async def test_sessions_turn_round_and_never_mix(tmp_path: Path) -> None:
    """Protects accounts from each other's cookies on shared connections."""
    async with house(tmp_path, credentials=_sessions(*_COOKIES)) as found:
        for _ in range(6):
            assert (await found.ask(Spoken.CHAT)).status == 200
        await _nothing_left(found)
        ledger = found.simulator.site.ledger
        assert sorted(one.created_by for one in ledger.deleted) == sorted(_COOKIES * 3)
        assert all(one.created_by == one.deleted_by for one in ledger.deleted)
        assert ledger.leaks == []


async def test_a_dead_cookie_is_out_of_use_at_once(tmp_path: Path) -> None:
    """Protects clients and the account: the next session answers, the dead one is not asked again."""
    async with house(tmp_path, credentials=_sessions(*_COOKIES)) as found:
        found.simulator.script(_COOKIES[0], then=Step("session_invalid"))
        for _ in range(4):
            assert (await found.ask(Spoken.MESSAGES)).status == 200
        assert found.calls(_COOKIES[0]) == 1
        assert (await found.credentials())["web-1"].word() == "disabled(auth)"


async def test_a_challenge_stops_the_way_out_and_touches_one_session(tmp_path: Path) -> None:
    """Protects every session on the same network path from a storm; the page is shown to nobody."""
    async with house(tmp_path, credentials=_sessions(*_COOKIES)) as found:
        for cookie in _COOKIES:
            found.simulator.script(cookie, then=Step("challenge"))
        for _ in range(3):
            answer = await found.ask(Spoken.CHAT)
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) > 0
            assert b"<html" not in answer.body
        assert found.calls() == 1
        words = {one.word() for one in (await found.credentials()).values()}
        assert words == {"cooling(blocked)"}


async def test_a_limit_cools_until_it_ends(tmp_path: Path) -> None:
    """Protects the account: the time inside the message's own JSON is kept to."""
    async with house(tmp_path, credentials=_sessions(_COOKIES[0])) as found:
        found.simulator.script(_COOKIES[0], [Step("web_limit", call="complete", resets_in_s=500)])
        answer = await found.ask(Spoken.MESSAGES)
        assert answer.status == 429
        assert 490 <= int(answer.headers["retry-after"]) <= 510
        await _nothing_left(found)


async def test_what_a_session_cannot_do_is_said_by_name(tmp_path: Path) -> None:
    """Protects clients from an answer without the tools they brought."""
    tool = {"name": "f", "input_schema": {"type": "object"}}
    fields = msgspec.json.decode(body_of(Spoken.MESSAGES, stream=False), type=dict[str, object])
    async with house(tmp_path, credentials=_sessions(_COOKIES[0])) as found:
        answer = await found.send(Spoken.MESSAGES, msgspec.json.encode({**fields, "tools": [tool]}))
        assert (answer.status, answer.error.error.type) == (400, "invalid_request_error")
        assert "tools" in answer.error.error.message
        assert found.calls() == 0


async def test_a_killed_process_leaves_a_debt_that_the_next_one_pays(tmp_path: Path) -> None:
    """Protects the account's history from a kill in the middle of an answer; and says once what sessions are."""
    async with simulated() as simulator, client() as session:
        settings = configuration(tmp_path, simulator, (), _sessions(_COOKIES[0]))
        simulator.script(_COOKIES[0], [Step("stall_mid", call="complete")])
        async with gateway(tmp_path, settings) as server:
            asked = House(server, simulator, session)
            body = body_of(Spoken.CHAT, stream=True)
            async with asked.opened(Spoken.CHAT, body) as response:
                assert await response.content.readany()
                await server.stop(signal.SIGKILL)
        assert len(simulator.site.ledger.alive) == 1
        async with gateway(tmp_path, settings) as server:
            await until(lambda: not simulator.site.ledger.alive)
            await server.stop()
            said = "\n".join(server.output)
        assert said.count("claude.ai sessions are in use") == 1
        assert "canary" not in said
