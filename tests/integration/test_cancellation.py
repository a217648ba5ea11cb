"""A client that leaves stops the work done for it: at every moment, from every endpoint, however it leaves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from proxy.clock import SystemClock
from proxy.simulator import EndedBy, Received, Step
from tests.support.departures import (
    AT_MOST_S,
    ENDPOINTS,
    MOMENTS,
    Endpoint,
    Leaving,
    Moment,
    connected,
    held_by_server,
    ports_of,
)
from tests.support.gateway import Gateway, gateway
from tests.support.house import House, house, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY: Final = "key-only"
clock = SystemClock()
LEAVING: Final = pytest.mark.parametrize("leaving", Leaving)
CASES: Final = [
    (name, moment)
    for name, endpoint in ENDPOINTS.items()
    for moment, chosen in MOMENTS.items()
    if endpoint.streams or not chosen.stream
]
ELSEWHERE: Final = [case for case in CASES if case[0] in {"chat", "messages", "responses"}]


@asynccontextmanager
async def _one_place(folder: Path, **only: str) -> AsyncIterator[House]:
    """A gateway with one credential and one place at it."""

    def entries(url: str) -> Iterable[dict[str, object]]:
        there = {"base_url": f"{url}/v1"} if "kind" in only else {}
        return [{"name": "only", "key": KEY, "max_concurrency": 1, **only, **there}]

    async with house(folder, {"LOG_LEVEL": "debug"}, credentials=entries) as found:
        yield found
        output = _gateway(found).output
        assert not [line for line in output if "never retrieved" in line or "unexpected error" in line]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def claude(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One in front of a simulated Claude."""
    async with _one_place(tmp_path_factory.mktemp("claude")) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def another(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One in front of an API of OpenAI's dialect."""
    async with _one_place(tmp_path_factory.mktemp("another"), kind="openai", model="gpt-4o") as found:
        yield found


@pytest.fixture
def place(claude: House) -> House:
    """The first one, without what an earlier test left in the simulated Claude."""
    claude.simulator.reset()
    return claude


def _gateway(running: House) -> Gateway:
    assert isinstance(running.server, Gateway)
    return running.server


async def _asked(running: House, endpoint: Endpoint, moment: Moment) -> asyncio.StreamWriter:
    """A connection whose request is at that moment."""
    running.simulator.script(KEY, [moment.step])
    reader, writer = await connected(running.server.url)
    writer.write(endpoint.request(stream=moment.stream))
    record = running.simulator.record
    await until(lambda: any(one.body_complete_s is not None for one in record.requests))
    if moment.has_read:
        await asyncio.wait_for(reader.readuntil(moment.has_read), 10)
    return writer


async def _within(condition: Callable[[], Awaitable[bool]], began_s: float) -> None:
    while not await condition():
        assert clock.monotonic_s() - began_s < AT_MOST_S
        await asyncio.sleep(0.005)


async def _stopped(running: House, received: Received, left_s: float) -> None:
    """The upstream connection was closed by us soon after `left_s`, and the place is free."""
    await until(lambda: received.closed_s is not None)
    assert received.closed_s is not None
    assert received.ended_by is EndedBy.CLIENT
    assert received.closed_s - left_s < AT_MOST_S

    async def free() -> bool:
        return all(one.in_flight == 0 for one in (await running.credentials()).values())

    await _within(free, received.closed_s)
    (only,) = (await running.credentials()).values()
    assert only.word() == "ready"


@LEAVING
@pytest.mark.parametrize(("name", "moment"), CASES)
async def test_leaving_stops_the_upstream(place: House, name: str, moment: str, leaving: Leaving) -> None:
    """Protects against paying for answers nobody reads, whichever moment it is at which nobody does."""
    await _left(place, name, moment, leaving)


@LEAVING
@pytest.mark.parametrize(("name", "moment"), ELSEWHERE)
async def test_leaving_stops_another_api_too(
    another: House, name: str, moment: str, leaving: Leaving
) -> None:
    """Protects the same of fallbacks, whose streams are read by other code."""
    another.simulator.reset()
    await _left(another, name, moment, leaving)


async def _left(running: House, name: str, moment: str, leaving: Leaving) -> None:
    writer = await _asked(running, ENDPOINTS[name], MOMENTS[moment])
    left_s = clock.monotonic_s()
    leaving.carry_out(writer)
    await _stopped(running, running.simulator.record.requests[-1], left_s)


@LEAVING
@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("share", [0.2, 0.9], ids=["in its head", "in its body"])
async def test_leaving_before_all_is_said_asks_nobody(
    place: House, name: str, share: float, leaving: Leaving
) -> None:
    """Protects the upstream from half a question, and descriptors from whoever asked it."""
    _, writer = await connected(place.server.url)
    ports = ports_of(writer)
    request = ENDPOINTS[name].request(stream=False)
    writer.write(request[: int(len(request) * share)])
    await writer.drain()
    # the system's own list may miss a connection while others come and go
    await until(lambda: held_by_server(ports))
    leaving.carry_out(writer)

    async def gone() -> bool:
        return not held_by_server(ports)

    await _within(gone, clock.monotonic_s())
    assert place.calls() == 0


@LEAVING
@pytest.mark.parametrize("name", [name for name, endpoint in ENDPOINTS.items() if endpoint.streams])
async def test_leaving_after_the_end_is_a_success(place: House, name: str, leaving: Leaving) -> None:
    """Protects the books: an answer that was given whole counts once, and as good."""
    succeeded = (await place.idle())["only"].succeeded
    reader, writer = await connected(place.server.url)
    writer.write(ENDPOINTS[name].request(stream=True))
    await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
    leaving.carry_out(writer)
    found = (await place.idle())["only"]
    assert (found.succeeded, found.failed, place.calls()) == (succeeded + 1, 0, 1)


@LEAVING
async def test_leaving_the_queue_gives_up_the_turn(place: House, leaving: Leaving) -> None:
    """Protects the queue: a waiter that left is never served, and the next one is."""
    place.simulator.script(KEY, [Step("stall_before_headers"), Step("success")])
    first = await _waiting(place, "chat")
    await until(lambda: place.calls() == 1)
    second = await _waiting(place, "chat")
    await asyncio.sleep(0.1)
    leaving.carry_out(second[1])
    third_reader, third = await _waiting(place, "messages")
    await asyncio.sleep(0.1)
    left_s = clock.monotonic_s()
    leaving.carry_out(first[1])
    answer = await asyncio.wait_for(third_reader.readuntil(b"\r\n"), 10)
    assert answer.startswith(b"HTTP/1.1 200")
    assert clock.monotonic_s() - left_s < AT_MOST_S
    assert place.calls() == 2
    third.close()
    await place.idle()


async def _waiting(running: House, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await connected(running.server.url)
    writer.write(ENDPOINTS[name].request(stream=False))
    return reader, writer


async def test_leaving_while_connecting_frees_the_place(tmp_path: Path) -> None:
    """Protects the connecting phase: the upstream's port takes no connection, and the client does not wait."""
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)
    port = deaf.getsockname()[1]
    fillers = []
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    settings = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}"}
    try:
        async with gateway(tmp_path, {**settings, "RELAY_CONNECT_TIMEOUT_S": "60"}) as server:

            async def free() -> bool:
                return all(one["in_flight"] == 0 for one in await server.pool())

            async def taken() -> bool:
                return not await free()

            _, writer = await connected(server.url)
            writer.write(ENDPOINTS["chat"].request(stream=True))
            await _within(taken, clock.monotonic_s())
            writer.close()
            await _within(free, clock.monotonic_s())
    finally:
        for one in (*fillers, deaf):
            one.close()
