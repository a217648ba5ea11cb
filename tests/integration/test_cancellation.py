"""A client that leaves stops the work done for it: in every phase, in the mode the server is run in."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from proxy.clock import SystemClock
from proxy.simulator import EndedBy, Pace, Simulator, Step
from tests.support.gateway import Gateway, gateway

PROMISED_S = 0.25
ALLOWED_S = 4 * PROMISED_S
SLOW = Pace(first_token_delay_s=0.0, tokens_per_s=5.0, events=200)
ROUTES: dict[str, tuple[str, dict[str, object]]] = {
    "chat": ("/v1/chat/completions", {"model": "claude-sonnet-5-5"}),
    "messages": ("/v1/messages", {"model": "claude-sonnet-5-5", "max_tokens": 100}),
    "hf chat": ("/hf/v1/chat/completions", {"model": "claude-sonnet-5-5"}),
    "hf messages": ("/hf/v1/messages", {"model": "claude-sonnet-5-5", "max_tokens": 100}),
    "count": ("/v1/messages/count_tokens", {"model": "claude-sonnet-5-5"}),
}
MESSAGES = [{"role": "user", "content": "Hello!"}]
clock = SystemClock()


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Gateway, Simulator]]:
    """A gateway with one credential and one place at it, in front of a simulated Claude."""
    folder = tmp_path_factory.mktemp("cancellation")
    simulator = Simulator()
    await simulator.start()
    file = folder / "sessions.json"
    file.write_text(
        '{"credentials": [{"name": "only", "kind": "anthropic", "key": "key-only", "max_concurrency": 1,'
        f' "base_url": "{simulator.url}"}}]}}'
    )
    file.chmod(0o600)
    async with gateway(folder, {"SESSIONS_FILE": str(file)}) as process:
        yield process, simulator
    await simulator.stop()


@pytest.fixture
def simulator(running: tuple[Gateway, Simulator]) -> Simulator:
    """The simulated Claude, without a memory of earlier tests."""
    running[1].reset()
    return running[1]


@pytest.fixture
def server(running: tuple[Gateway, Simulator]) -> Gateway:
    """The gateway."""
    return running[0]


async def ask(
    server: Gateway, route: str, *, stream: bool
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request on a connection of its own and do not wait for the answer."""
    path, fields = ROUTES[route]
    data = msgspec.json.encode({**fields, "messages": MESSAGES, **({"stream": True} if stream else {})})
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        f"anthropic-version: 2023-06-01\r\nAuthorization: {server.headers['authorization']}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    await writer.drain()
    return reader, writer


def leave_politely(writer: asyncio.StreamWriter) -> None:
    """Close the connection in order (FIN)."""
    writer.close()


def leave_abruptly(writer: asyncio.StreamWriter) -> None:
    """Reset the connection (RST)."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


LEAVING = pytest.mark.parametrize("leave", [leave_politely, leave_abruptly])


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float = 5.0) -> float:
    """Wait for a condition; the seconds it took."""
    began_s = clock.monotonic_s()
    while not await condition():
        assert clock.monotonic_s() - began_s < within_s, "it never came true"
        await asyncio.sleep(0.01)
    return clock.monotonic_s() - began_s


async def received(simulator: Simulator, count: int = 1) -> None:
    """Wait until the simulator has read so many requests."""

    async def enough() -> bool:
        return sum(1 for one in simulator.record.requests if one.body_complete_s is not None) >= count

    await until(enough)


async def place_is_free(server: Gateway) -> bool:
    """Whether no lease is out."""
    return all(one["in_flight"] == 0 for one in await server.pool())


async def assert_stopped(server: Gateway, simulator: Simulator, left_s: float) -> None:
    """The upstream connection was closed by us soon after `left_s`, and the place is free."""

    async def closed() -> bool:
        return simulator.record.requests[-1].closed_s is not None

    await until(closed)
    last = simulator.record.requests[-1]
    assert last.ended_by is EndedBy.CLIENT
    assert last.closed_s is not None
    assert last.closed_s - left_s < ALLOWED_S
    assert await until(lambda: place_is_free(server)) < ALLOWED_S
    assert [one["state"]["state"] for one in await server.pool()] == ["ready"]  # type: ignore[index] # JSON of the admin's page


@LEAVING
@pytest.mark.parametrize("route", ROUTES)
async def test_leaving_before_the_upstream_answers_stops_it(
    server: Gateway, simulator: Simulator, route: str, leave: Callable[[asyncio.StreamWriter], None]
) -> None:
    """Protects against paying for answers nobody reads: the client of a unary call leaves while it is computed."""
    simulator.script("key-only", [Step("stall_before_headers")])
    _, writer = await ask(server, route, stream=False)
    await received(simulator)
    left_s = clock.monotonic_s()
    leave(writer)
    await assert_stopped(server, simulator, left_s)


@LEAVING
@pytest.mark.parametrize("route", ["chat", "messages", "hf chat", "hf messages"])
@pytest.mark.parametrize("silence", ["stall_before_headers", "stall_before_event"])
async def test_leaving_before_the_first_event_stops_it(
    server: Gateway,
    simulator: Simulator,
    route: str,
    silence: str,
    leave: Callable[[asyncio.StreamWriter], None],
) -> None:
    """Protects the time to the first token, when nothing was sent to the client yet and a server notices least."""
    simulator.script("key-only", [Step(silence)])
    _, writer = await ask(server, route, stream=True)
    await received(simulator)
    left_s = clock.monotonic_s()
    leave(writer)
    await assert_stopped(server, simulator, left_s)


@LEAVING
@pytest.mark.parametrize("route", ["chat", "messages", "hf chat", "hf messages"])
async def test_leaving_mid_stream_stops_it(
    server: Gateway, simulator: Simulator, route: str, leave: Callable[[asyncio.StreamWriter], None]
) -> None:
    """Protects against streaming into the void: the client leaves after some of the answer."""
    simulator.script("key-only", [Step("success", pace=SLOW)])
    reader, writer = await ask(server, route, stream=True)
    await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b"data: ")
    left_s = clock.monotonic_s()
    leave(writer)
    await assert_stopped(server, simulator, left_s)


@LEAVING
@pytest.mark.parametrize("route", ["chat", "messages"])
async def test_leaving_while_the_stream_is_silent_stops_it(
    server: Gateway, simulator: Simulator, route: str, leave: Callable[[asyncio.StreamWriter], None]
) -> None:
    """Protects the silent phase: no write of ours can notice that the client has gone."""
    simulator.script("key-only", [Step("stall_mid", after=3)])
    reader, writer = await ask(server, route, stream=True)
    await reader.readuntil(b"data: ")
    left_s = clock.monotonic_s()
    leave(writer)
    await assert_stopped(server, simulator, left_s)


@LEAVING
async def test_leaving_the_queue_gives_up_the_turn(
    server: Gateway, simulator: Simulator, leave: Callable[[asyncio.StreamWriter], None]
) -> None:
    """Protects the queue: a waiter that left is never served, and the next one is."""
    simulator.script("key-only", [Step("stall_before_headers"), Step("success")])
    _, first = await ask(server, "chat", stream=False)
    await received(simulator)
    _, second = await ask(server, "chat", stream=False)
    await asyncio.sleep(0.2)
    leave(second)
    third_reader, third = await ask(server, "messages", stream=False)
    await asyncio.sleep(0.2)
    left_s = clock.monotonic_s()
    leave(first)
    answer = await asyncio.wait_for(third_reader.readuntil(b"\r\n"), 5)
    assert answer.startswith(b"HTTP/1.1 200")
    assert clock.monotonic_s() - left_s < ALLOWED_S
    assert simulator.record.requests_total == 2
    third.close()
    assert await until(lambda: place_is_free(server)) < ALLOWED_S


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
    settings = {"ANTHROPIC_API_KEY": "key-only", "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}"}
    try:
        async with gateway(tmp_path, {**settings, "RELAY_CONNECT_TIMEOUT_S": "60"}) as server:
            _, writer = await ask(server, "chat", stream=True)

            async def taken() -> bool:
                return not await place_is_free(server)

            await until(taken)
            writer.close()
            assert await until(lambda: place_is_free(server)) < ALLOWED_S
    finally:
        for one in (*fillers, deaf):
            one.close()


async def test_a_hundred_departures_at_random_moments_leave_nothing_behind(
    server: Gateway, simulator: Simulator
) -> None:
    """Protects the lease: whatever the moment of departure, every place comes back and no task fails unseen."""
    simulator.script(
        "key-only", then=Step("success", pace=Pace(first_token_delay_s=0.01, tokens_per_s=500.0))
    )
    for number in range(100):
        _, writer = await ask(server, "chat" if number % 2 else "messages", stream=number % 3 != 0)
        await asyncio.sleep((number * 7 % 50) / 1000)
        leave_abruptly(writer) if number % 5 == 0 else writer.close()
    assert await until(lambda: place_is_free(server)) < 8
    assert not [line for line in server.output if "never retrieved" in line or "unexpected error" in line]
