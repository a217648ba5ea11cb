"""Running an application on a socket until it is told to stop, and letting its answers end."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web

from proxy.log import get_logger
from proxy.server.context import SERVICES
from proxy.server.doors import Doors
from proxy.server.front import FrontRunner
from proxy.server.inflight import Inflight
from proxy.server.newcomers import Newcomers
from proxy.settings import Settings
from proxy.settings.shapes import Address
from proxy.tasks import spawn

_log = get_logger("run")
_AFTER_INTERRUPT_S = 2.0
_AFTER_CUT_S = 1.0
_ARRIVING_S = 1.0
_ARRIVING_STEP_S = 0.02
_KEEP_ALIVE_S = 75.0
_BACKLOG = 1024
_UNSENT_MOST_BYTES = 512 * 1024


class Stopping:
    """What the signals have said so far."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.interrupted = False

    def on_signal(self, number: int) -> None:
        """A signal came: the first one drains, the second one ends it."""
        if self.first.is_set():
            self.second.set()
            return
        self.interrupted = number == signal.SIGINT
        self.first.set()

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.on_signal, number)


async def run(
    app: web.Application,
    settings: Settings,
    stopping: Stopping,
    announce: Callable[[Address], None],
    *,
    shared: bool = False,
) -> int:
    """Serve until stopped. Returns the exit code: 0, or 130 when a second signal cut it short.

    With `shared`, other processes listen on the same address, and the system spreads connections over them.
    """
    runner = FrontRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=_KEEP_ALIVE_S,
        shutdown_timeout=_AFTER_CUT_S,
    )
    await runner.setup()
    _guard(runner, app, settings)
    listener = _bind(settings.address, shared=shared)
    site = web.SockSite(runner, listener, backlog=_BACKLOG)
    await site.start()
    host, port = listener.getsockname()[:2]
    announce(Address(host, port))
    newcomers = _newcomers(runner, settings)
    await stopping.first.wait()
    inflight = app[SERVICES].inflight

    async def close(arriving_s: float) -> None:
        await _close_listener(listener, site, runner)
        await _let_requests_arrive(runner, arriving_s)

    draining = spawn(_drain(inflight, close, settings, stopping), name="drain")
    ended = spawn(stopping.second.wait(), name="wait for a second signal")
    await asyncio.wait({draining, ended}, return_when=asyncio.FIRST_COMPLETED)
    cut_short = not draining.done()
    for task in (draining, ended, newcomers):
        task.cancel()
    await runner.cleanup()
    return 130 if cut_short else 0


def _guard(runner: web.AppRunner, app: web.Application, settings: Settings) -> None:
    """Bound the number of connections."""
    if runner.server is None:
        raise RuntimeError("the runner is not set up")
    Doors(settings.policy, app[SERVICES].clock, settings.limits.trusted_proxies).guard(runner.server)


def _newcomers(runner: web.AppRunner, settings: Settings) -> "asyncio.Task[None]":
    """Look after connections whose first request does not come."""
    if runner.server is None:
        raise RuntimeError("the runner is not set up")
    newcomers = Newcomers(runner.server, settings.policy.head_timeout_s)
    return spawn(newcomers.look_for_ever(), name="look after new connections")


async def _drain(
    inflight: Inflight, close: Callable[[float], Awaitable[None]], settings: Settings, stopping: Stopping
) -> None:
    """Refuse readiness, close the listener, let answers end, then cut what is left with an error.

    `close` closes the listener, and gives requests on connections that have just come so many seconds to arrive.
    """
    inflight.draining = True
    delay_s = 0.0 if stopping.interrupted else settings.drain_delay_s
    limit_s = _AFTER_INTERRUPT_S if stopping.interrupted else settings.drain_s
    arriving_s = 0.0 if stopping.interrupted else min(_ARRIVING_S, limit_s)
    _log.info("draining", in_flight=inflight.count, seconds=limit_s)
    await asyncio.sleep(delay_s)
    await close(arriving_s)
    if await inflight.drained(limit_s - arriving_s):
        return
    _log.warning("cutting answers", in_flight=inflight.count)
    inflight.shut_down_answers()
    await inflight.drained(_AFTER_CUT_S)


async def _close_listener(listener: socket.socket, site: web.SockSite, runner: web.AppRunner) -> None:
    """Close the listener without resetting the connections that the system has taken and nobody has picked up.

    A reverse proxy has sent its request on those already, and may not send it a second time.
    """
    waiting = tuple(_waiting(listener))
    await site.stop()
    server = runner.server
    if server is None:
        return
    for connection in waiting:
        await asyncio.get_running_loop().connect_accepted_socket(server, connection)


async def _let_requests_arrive(runner: web.AppRunner, within_s: float) -> None:
    """Wait until no connection is left, `within_s` seconds at most: a new one has its request still on the way."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    while (server := runner.server) is not None and server.connections and loop.time() < until_s:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(_ARRIVING_STEP_S)


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections nobody has picked up yet."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        yield connection


def reserved(address: Address) -> tuple[socket.socket, Address]:
    """An address for several processes, and what keeps others from it; raises OSError when it is taken or not ours."""
    # sharing is asked for with the first binding, and would be granted on another server's address
    with _bind(address, shared=False) as free:
        found = Address(address.host, free.getsockname()[1])
    return _bind(found, shared=True), found


def _bind(address: Address, *, shared: bool) -> socket.socket:
    """A socket to listen on. Raises OSError when the address is taken or not ours."""
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # connections inherit it: the system would otherwise take megabytes for each client that reads slowly
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_MOST_BYTES)
        listener.bind(where)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
