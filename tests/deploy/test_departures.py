"""A client that leaves nginx has left the gateway behind it: at every moment, however it leaves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from proxy.clock import SystemClock
from proxy.simulator import EndedBy, Step
from tests.support.departures import AT_MOST_S, ENDPOINTS, MOMENTS, Leaving, connected
from tests.support.gateway import CLIENT_KEY, Gateway, gateway
from tests.support.house import House, client, configuration, simulated, until
from tests.support.nginx import nginx
from tests.support.objects import MULTIPART, form_head

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("nginx")]

KEY: Final = "key-only"
LEAVING: Final = pytest.mark.parametrize("leaving", Leaving)
STREAMING: Final = ("chat", "messages", "hf chat", "hf messages", "responses")
CASES: Final = [
    *((name, moment) for name in STREAMING for moment in MOMENTS),
    ("count", "before a whole answer"),
]
_HELD: Final = {"01", "08"}
"""Connections that the server has not given up: established ones, and those whose other end is closed."""
clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Behind:
    """A gateway that is reached through nginx.

    Attributes:
        url: nginx's address.
        replica: the gateway.
    """

    url: str
    replica: Gateway

    async def pool(self) -> list[dict[str, object]]:
        """The credentials, asked for past nginx."""
        return await self.replica.pool()

    @property
    def held(self) -> int:
        """How many connections the gateway holds."""
        port = int(self.replica.url.rpartition(":")[2])
        found = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            found += int(local.rpartition(":")[2], 16) == port and state in _HELD
        return found


def _only(_url: str) -> Iterable[dict[str, object]]:
    return [{"name": "only", "key": KEY, "max_concurrency": 1}]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway with one credential and one place at it, behind nginx."""
    folder = tmp_path_factory.mktemp("departures")
    async with simulated() as claude:
        settings = {**configuration(folder, claude, (), _only), "LOG_LEVEL": "debug"}
        async with gateway(folder, settings) as replica:
            address = replica.url.removeprefix("http://")
            async with nginx(folder / "nginx", [address]) as front, client() as session:
                yield House(Behind(front.url, replica), claude, session)
            output = replica.output
    assert not [line for line in output if "never retrieved" in line or "unexpected error" in line]


@pytest.fixture
def place(standing: House) -> House:
    """The same, without what an earlier test left in the simulated Claude."""
    standing.simulator.reset()
    return standing


def _held(running: House) -> int:
    assert isinstance(running.server, Behind)
    return running.server.held


async def _within(condition: Callable[[], Awaitable[bool]], began_s: float) -> None:
    while not await condition():
        assert clock.monotonic_s() - began_s < AT_MOST_S
        await asyncio.sleep(0.005)


async def _stopped(running: House, left_s: float) -> None:
    """The upstream connection was closed by the gateway soon after `left_s`, and the place is free."""
    received = running.simulator.record.requests[-1]
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
async def test_leaving_nginx_stops_the_upstream(
    place: House, name: str, moment: str, leaving: Leaving
) -> None:
    """Protects against paying for answers nobody reads: nginx passes a departure on, before and amid the answer."""
    chosen = MOMENTS[moment]
    place.simulator.script(KEY, [chosen.step])
    reader, writer = await connected(place.server.url)
    writer.write(ENDPOINTS[name].request(stream=chosen.stream))
    await until(lambda: any(one.body_complete_s is not None for one in place.simulator.record.requests))
    if chosen.has_read:
        await asyncio.wait_for(reader.readuntil(chosen.has_read), 10)
    left_s = clock.monotonic_s()
    leaving.carry_out(writer)
    await _stopped(place, left_s)


@LEAVING
@pytest.mark.parametrize("name", ["chat", "messages", "hf messages", "count"])
@pytest.mark.parametrize(("share", "reaches_the_gateway"), [(0.2, False), (0.9, True)], ids=["head", "body"])
async def test_leaving_before_all_is_said_asks_nobody(
    place: House, name: str, share: float, leaving: Leaving, *, reaches_the_gateway: bool
) -> None:
    """Protects the upstream from half a question, and the gateway from waiting for the other half."""

    async def nothing_held() -> bool:
        return _held(place) == 0

    await _within(nothing_held, clock.monotonic_s())
    _, writer = await connected(place.server.url)
    request = ENDPOINTS[name].request(stream=False)
    writer.write(request[: int(len(request) * share)])
    await writer.drain()
    if reaches_the_gateway:
        await until(lambda: _held(place) == 1)
    leaving.carry_out(writer)
    await _within(nothing_held, clock.monotonic_s())
    assert place.calls() == 0


@LEAVING
@pytest.mark.parametrize("name", STREAMING)
async def test_leaving_after_the_end_is_a_success(place: House, name: str, leaving: Leaving) -> None:
    """Protects the books: an answer that was given whole counts once, and as good."""
    succeeded = (await place.idle())["only"].succeeded
    reader, writer = await connected(place.server.url)
    writer.write(ENDPOINTS[name].request(stream=True))
    await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10)
    leaving.carry_out(writer)
    found = (await place.idle())["only"]
    assert (found.succeeded, found.failed, place.calls()) == (succeeded + 1, 0, 1)


@LEAVING
async def test_leaving_the_queue_gives_up_the_turn(place: House, leaving: Leaving) -> None:
    """Protects the queue: a waiter that left nginx is never served, and the next one is."""
    place.simulator.script(KEY, [Step("stall_before_headers"), Step("success")])
    _, first = await _waiting(place, "chat", 1)
    await until(lambda: place.calls() == 1)
    _, second = await _waiting(place, "chat", 2)
    leaving.carry_out(second)
    await until(lambda: _held(place) == 1)
    reader, third = await _waiting(place, "messages", 2)
    left_s = clock.monotonic_s()
    leaving.carry_out(first)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    assert answer.startswith(b"HTTP/1.1 200")
    assert clock.monotonic_s() - left_s < AT_MOST_S
    assert place.calls() == 2
    third.close()
    await place.idle()


async def _waiting(running: House, name: str, held: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request that has reached the gateway, as the last of so many."""
    reader, writer = await connected(running.server.url)
    writer.write(ENDPOINTS[name].request(stream=False))
    await until(lambda: _held(running) == held)
    await asyncio.sleep(0.1)
    return reader, writer


@LEAVING
@pytest.mark.parametrize("declared", [True, False], ids=["declared length", "chunked"])
async def test_leaving_amid_an_upload_leaves_no_half_file(
    place: House, leaving: Leaving, *, declared: bool
) -> None:
    """Protects the upstream from half a file: what nginx was sent so far is not made out to be the whole."""
    made = len(place.simulator.objects.ledger)
    begin = form_head() + b"x" * 300_000
    length = "content-length: 1000000" if declared else "transfer-encoding: chunked"
    head = (
        f"POST /v1/files HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {CLIENT_KEY}\r\n"
        f"content-type: {MULTIPART}\r\n{length}\r\n\r\n"
    )
    _, writer = await connected(place.server.url)
    writer.write(head.encode() + (begin if declared else b"%x\r\n%b\r\n" % (len(begin), begin)))
    await writer.drain()
    await until(lambda: place.calls() == 1)
    left_s = clock.monotonic_s()
    leaving.carry_out(writer)
    await _stopped(place, left_s)
    assert len(place.simulator.objects.ledger) == made
