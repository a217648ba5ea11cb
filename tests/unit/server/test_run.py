"""The production runner: a client that leaves stops the work, and signals end it in their order."""

import asyncio
import dataclasses
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from proxy.server.context import Services
from proxy.server.front import FrontRunner
from proxy.server.routes import Access, Route
from proxy.server.run import Stopping, reserved, run
from proxy.settings import Settings
from proxy.settings.shapes import Address
from tests.unit.server.building import application, services, settings

_PATIENT = settings(DRAIN_SECONDS="30")
_HURRIED = settings(DRAIN_SECONDS="0")
_REQUEST = b"GET /wait HTTP/1.1\r\nhost: gateway\r\n\r\n"


@dataclass(slots=True)
class _Waiting:
    """A handler that waits, and what became of it."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    transport: asyncio.Transport | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Wait until released or cancelled."""
        self.transport = request.transport
        self.began.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return web.Response(text="done")


@dataclass(slots=True)
class _Running:
    """A server that runs."""

    port: int
    task: "asyncio.Task[int]"
    stopping: Stopping
    shared: Services
    waiting: _Waiting

    async def connect(self, data: bytes = _REQUEST) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send bytes on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return reader, writer

    async def ended(self) -> int:
        """Wait for the exit code."""
        return await asyncio.wait_for(self.task, 20)


@asynccontextmanager
async def _server(configured: Settings = _PATIENT) -> AsyncIterator[_Running]:
    waiting, shared, stopping = _Waiting(), services(configured=configured), Stopping()
    app = application(shared, [Route("GET", "/wait", waiting.handle, Access.PUBLIC)])
    announced: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(app, configured, stopping, announced.set_result))  # noqa: TID251 - held
    address = await asyncio.wait_for(announced, 20)
    yield _Running(address.port, task, stopping, shared, waiting)
    if not task.done():
        stopping.on_signal(signal.SIGTERM)
        stopping.on_signal(signal.SIGTERM)
        await asyncio.wait_for(task, 20)


async def test_the_runner_cancels_handlers_whose_client_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the operator from paying for answers nobody reads: the library's default is not to."""
    given: dict[str, object] = {}
    plain = FrontRunner

    def make(app: web.Application, **options: Any) -> web.AppRunner:
        given.update(options)
        return plain(app, **options)

    monkeypatch.setattr("proxy.server.run.FrontRunner", make)
    async with _server():
        pass
    assert given["handler_cancellation"] is True


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_client_that_leaves_in_the_middle_stops_its_handler(how: str) -> None:
    """Protects the same at run time, for a polite end and for a reset."""
    async with _server() as server:
        _, writer = await server.connect()
        await asyncio.wait_for(server.waiting.began.wait(), 20)
        if how == "close":
            writer.close()
        else:
            writer.transport.abort()
        await asyncio.wait_for(server.waiting.cancelled.wait(), 20)


async def test_the_first_signal_lets_answers_end() -> None:
    """Protects clients whose answer is on its way when the server is told to stop."""
    async with _server() as server:
        reader, writer = await server.connect()
        await asyncio.wait_for(server.waiting.began.wait(), 20)
        server.stopping.on_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            while not server.shared.inflight.draining:  # noqa: ASYNC110 - a flag without an event
                await asyncio.sleep(0)
        server.waiting.release.set()
        answer = await asyncio.wait_for(reader.read(), 20)
        assert answer.endswith(b"done")
        assert b"onnection: close" in answer
        writer.close()
        assert await server.ended() == 0
        assert not server.waiting.cancelled.is_set()


async def test_requests_that_came_just_before_the_signal_are_answered() -> None:
    """Protects rolling restarts: a reverse proxy has sent those already, and may not send them twice."""
    async with _server() as server:
        server.waiting.release.set()
        late = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for connection in late:
            connection.sendall(_REQUEST)
            connection.setblocking(False)
        server.stopping.on_signal(signal.SIGTERM)
        assert await server.ended() == 0
        answers = [connection.recv(65536) for connection in late]
        for connection in late:
            connection.close()
        assert [answer[-4:] for answer in answers] == [b"done"] * 20


async def test_a_request_that_is_still_on_its_way_is_waited_for() -> None:
    """Protects the same where a proxy has connected but not sent yet: the connection is there, its request is not."""
    async with _server() as server:
        server.waiting.release.set()
        reader, writer = await server.connect(b"")
        server.stopping.on_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        writer.write(_REQUEST)
        assert (await asyncio.wait_for(reader.read(), 20)).endswith(b"done")
        writer.close()
        assert await server.ended() == 0


async def test_after_the_first_signal_no_new_connection_is_taken() -> None:
    """Protects clients from a server that is about to go."""
    async with _server() as server:
        _, writer = await server.connect()
        await asyncio.wait_for(server.waiting.began.wait(), 20)
        server.stopping.on_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            while True:
                try:
                    _, late = await server.connect()
                except ConnectionRefusedError:
                    break
                late.close()
        writer.close()


async def test_an_idle_server_ends_at_once_with_a_clean_code() -> None:
    """Protects restarts from waiting for nothing."""
    async with _server() as server:
        server.stopping.on_signal(signal.SIGTERM)
        assert await server.ended() == 0


async def test_a_second_signal_cuts_it_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects an operator from waiting for an answer that does not end."""
    monkeypatch.setattr("proxy.server.run._AFTER_CUT_S", 0.05)
    async with _server() as server:
        _, writer = await server.connect()
        await asyncio.wait_for(server.waiting.began.wait(), 20)
        server.stopping.on_signal(signal.SIGTERM)
        server.stopping.on_signal(signal.SIGINT)
        assert await server.ended() == 130
        assert server.waiting.cancelled.is_set()
        writer.close()


async def test_when_the_time_is_over_streams_are_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects streaming clients from being cut off without a word."""
    monkeypatch.setattr("proxy.server.run._AFTER_CUT_S", 0.05)
    told: list[str] = []

    class Stream:
        def shut_down(self) -> None:
            """See `Interruptible.shut_down`."""
            told.append("end")

    async with _server(_HURRIED) as server:
        _, writer = await server.connect()
        await asyncio.wait_for(server.waiting.began.wait(), 20)
        server.shared.inflight.begins(Stream())
        server.stopping.on_signal(signal.SIGTERM)
        assert await server.ended() == 0
        writer.close()
    assert told == ["end"]


@pytest.mark.parametrize(("number", "interrupted"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
async def test_a_signal_is_remembered_as_what_it_was(number: signal.Signals, interrupted: bool) -> None:
    """Protects the person at the keyboard from the long drain of a deployment."""
    stopping = Stopping()
    stopping.on_signal(number)
    assert stopping.first.is_set()
    assert not stopping.second.is_set()
    assert stopping.interrupted is interrupted


async def test_an_address_that_is_taken_is_an_error_of_the_system() -> None:
    """Protects an operator from a server that seems to run."""
    async with _server() as server:
        taken = dataclasses.replace(_PATIENT, address=Address("127.0.0.1", server.port))
        app = application(services(), [])
        with pytest.raises(OSError, match="ddress already in use"):
            await run(app, taken, Stopping(), print)


@contextmanager
def _sharing(port: int) -> Iterator[socket.socket]:
    """A server that lets others share its address; raises OSError where that is not granted."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield listener


def test_an_address_that_its_owner_would_share_is_not_taken_for_ours() -> None:
    """Protects a server from a second one that would get every other connection; the system itself would grant it."""
    with _sharing(0) as owner:
        port = owner.getsockname()[1]
        with _sharing(port), pytest.raises(OSError, match="ddress already in use"):
            reserved(Address("127.0.0.1", port))


def test_a_reserved_address_is_shared_by_those_who_ask_for_it_and_kept_from_others() -> None:
    """Protects workers from finding their address taken, by each other or by a stranger between two of them."""
    keeper, found = reserved(Address("127.0.0.1", 0))
    with keeper, _sharing(found.port), _sharing(found.port):
        assert not _bound(found.port)


def _bound(port: int) -> bool:
    """Whether a server that shares with nobody gets this address."""
    with socket.socket() as stranger:
        try:
            stranger.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def test_the_system_holds_little_for_a_client_that_does_not_read() -> None:
    """Protects the system's memory, which would otherwise take megabytes for each of them."""
    async with _server() as server:
        _, writer = await server.connect()
        await asyncio.wait_for(server.waiting.began.wait(), 20)
        transport = server.waiting.transport
        assert transport is not None
        line = transport.get_extra_info("socket")
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 512 * 1024
        writer.close()
