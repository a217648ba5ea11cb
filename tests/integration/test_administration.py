"""What an operator orders holds: over a restart of the program, and without touching answers that are under way."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest

from proxy.simulator import Pace, Simulator, Step
from tests.support.gateway import ADMIN_KEY, Gateway, gateway
from tests.support.house import House, Spoken, body_of, client, configuration, house, simulated

_ADMINISTRATOR: Final = {"authorization": f"Bearer {ADMIN_KEY}"}


class Attempt(msgspec.Struct):
    """One upstream call as ``GET /admin/requests`` shows it."""

    credential: str
    outcome: str
    status: int
    start_ms: float
    took_ms: float


class Trace(msgspec.Struct):
    """One request as ``GET /admin/requests`` shows it."""

    id: str
    status: int
    answered_by: str | None
    attempts: list[Attempt]
    first_event_ms: float | None
    total_ms: float
    output_tokens: int | None


class Explained(msgspec.Struct):
    """What ``GET /admin/pool/explain`` shows of the pool as a whole."""

    model: str
    next: str | None
    exhausted: str | None


async def _order(running: House, alias: str, action: str) -> None:
    url = f"{running.server.url}/admin/pool/{alias}/{action}"
    async with running.session.post(url, headers=_ADMINISTRATOR) as answer:
        assert answer.status == 200, await answer.text()


async def _look(running: House, path: str) -> bytes:
    async with running.session.get(f"{running.server.url}/admin/{path}", headers=_ADMINISTRATOR) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


@asynccontextmanager
async def _started(
    folder: Path, simulator: Simulator, session: aiohttp.ClientSession, settings: Mapping[str, str]
) -> AsyncIterator[tuple[House, Gateway]]:
    """The program, started once more in the same folder."""
    async with gateway(folder, settings) as server:
        yield House(server, simulator, session), server


async def test_orders_outlive_a_program_that_was_killed(tmp_path: Path) -> None:
    """An order that was answered is on disk: nothing else ends it, not even a kill in the next moment."""
    async with simulated() as simulator, client() as session:
        settings = configuration(tmp_path, simulator, ("k1", "k2"), None)
        simulator.script("k2", [Step("status", status=402)])
        async with _started(tmp_path, simulator, session, settings) as (running, server):
            await running.ask(Spoken.MESSAGES)
            await running.ask(Spoken.MESSAGES)
            await _order(running, "api-1", "disable")
            server.process.send_signal(signal.SIGKILL)
            await server.program.ended()
        async with _started(tmp_path, simulator, session, settings) as (running, server):
            found = await running.credentials()
            assert {name: str(one.state) for name, one in found.items()} == {
                "api-1": "disabled(manual)",
                "api-2": "cooling(billing)",
            }
            assert (await running.ask(Spoken.CHAT)).status == 503
            await _order(running, "api-2", "reset")
            await _order(running, "api-1", "enable")
            server.process.send_signal(signal.SIGKILL)
            await server.program.ended()
        async with _started(tmp_path, simulator, session, settings) as (running, _):
            found = await running.credentials()
            assert {str(one.state) for one in found.values()} == {"ready"}
            answers = [await running.ask(Spoken.CHAT) for _ in range(2)]
            assert {answer.headers["x-carousel-credential"] for answer in answers} == {"api-1", "api-2"}


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_running_answer_outlives_the_disabling_of_its_credential(
    tmp_path: Path, spoken: Spoken
) -> None:
    """Taking a key out hurts nobody: what it has begun it ends, and nothing new goes to it."""
    async with house(tmp_path, keys=("k1", "k2")) as running:
        running.simulator.script("k1", [Step(pace=Pace(tokens_per_s=60.0, events=40))])
        async with running.opened(spoken, body_of(spoken, stream=True)) as response:
            assert response.headers["x-carousel-credential"] == "api-1"
            await response.content.readany()
            await _order(running, "api-1", "disable")
            others = [await running.ask(spoken) for _ in range(3)]
            assert {answer.headers["x-carousel-credential"] for answer in others} == {"api-2"}
            rest = b"".join([chunk async for chunk in response.content.iter_any()])
        assert (b"[DONE]" if spoken is Spoken.CHAT else b"event: message_stop") in rest
        found = (await running.idle())["api-1"]
        assert (str(found.state), found.succeeded, found.failed) == ("disabled(manual)", 1, 0)


async def test_why_a_request_failed_and_why_nobody_is_chosen_can_be_read(tmp_path: Path) -> None:
    """The two questions operators have, answered from a client's complaint alone."""
    async with house(tmp_path, {"RETRY_COUNT": "1"}, keys=("k1", "k2")) as running:
        running.simulator.script("k1", then=Step("status", status=500))
        running.simulator.script("k2", then=Step("status", status=429, headers={"retry-after": "120"}))
        answer = await running.ask(Spoken.CHAT, model="sonnet")
        assert answer.status >= 429
        wanted = answer.headers["x-request-id"]
        trace = msgspec.json.decode(await _look(running, f"requests/{wanted}"), type=Trace)
        assert (trace.id, trace.status, trace.answered_by) == (wanted, answer.status, None)
        assert {(each.credential, each.outcome, each.status) for each in trace.attempts} == {
            ("api-1", "server", 500),
            ("api-2", "rate", 429),
        }
        starts = [each.start_ms for each in trace.attempts]
        assert starts == sorted(starts)
        assert all(each.start_ms + each.took_ms <= trace.total_ms + 1 for each in trace.attempts)
        await _order(running, "api-1", "disable")
        explained = msgspec.json.decode(await _look(running, "pool/explain?model=sonnet"), type=Explained)
        assert explained == Explained("claude-sonnet-5-5", None, "rate_limited")


async def test_a_streamed_answer_is_remembered_once_it_has_ended(tmp_path: Path) -> None:
    """The list of the last requests holds what a client got: who answered, how soon, and how many tokens."""
    async with house(tmp_path, keys=("k1",)) as running:
        answer = await running.ask(Spoken.MESSAGES, stream=True)
        async with asyncio.timeout(20):
            while not (found := await _listed(running)):  # noqa: ASYNC110 - the list is in another process
                await asyncio.sleep(0.01)
        (trace,) = found
        assert (trace.id, trace.status) == (answer.headers["x-request-id"], 200)
        assert (trace.answered_by, [each.outcome for each in trace.attempts]) == ("api-1", ["success"])
        assert trace.first_event_ms is not None
        assert trace.first_event_ms <= trace.total_ms
        assert trace.output_tokens


async def _listed(running: House) -> list[Trace]:
    found = msgspec.json.decode(await _look(running, "requests"), type=dict[str, list[Trace]])
    return found["requests"]
