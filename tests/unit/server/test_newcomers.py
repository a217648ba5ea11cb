"""A connection may not take for ever over its first request."""

import asyncio
from dataclasses import dataclass, field

from aiohttp.test_utils import TestServer

from proxy.server.newcomers import Connection, Newcomers
from proxy.server.routes import Access, Route
from tests.unit.server.building import application, services
from tests.unit.server.test_run import _Waiting

_LIMIT_S = 30.0
_EVERY_S = 2.0


@dataclass(slots=True, eq=False)
class _Line:
    """A connection."""

    _request_count: int = 0
    closed: bool = False

    def force_close(self) -> None:
        """See `Connection.force_close`."""
        self.closed = True


@dataclass(slots=True)
class _Lines:
    """All connections."""

    connections: list[Connection] = field(default_factory=list)


def test_a_connection_without_a_request_is_ended_within_the_limit_and_not_long_before() -> None:
    """Protects descriptors from whoever sends a head byte by byte, and slow networks from haste."""
    line, lines = _Line(), _Lines()
    newcomers = Newcomers(lines, _LIMIT_S)
    newcomers.look(0.0)
    lines.connections.append(line)
    looks = [number * _EVERY_S for number in range(1, 20)]
    ended_s = None
    for now_s in looks:
        newcomers.look(now_s)
        if line.closed and ended_s is None:
            ended_s = now_s
    assert ended_s is not None
    assert _LIMIT_S - 2 * _EVERY_S <= ended_s <= _LIMIT_S


def test_a_connection_that_has_had_a_request_is_left_alone() -> None:
    """Protects long streams, and connections that are kept."""
    served, later = _Line(1), _Line()
    newcomers = Newcomers(_Lines([served, later]), _LIMIT_S)
    newcomers.look(0.0)
    later._request_count = 1
    newcomers.look(1000.0)
    assert (served.closed, later.closed) == (False, False)


def test_what_has_gone_is_forgotten() -> None:
    """Protects memory, and a later connection from an earlier one's age."""
    line, lines = _Line(), _Lines()
    newcomers = Newcomers(lines, _LIMIT_S)
    lines.connections.append(line)
    newcomers.look(0.0)
    lines.connections.remove(line)
    newcomers.look(10.0)
    lines.connections.append(line)
    newcomers.look(40.0)
    assert not line.closed


async def test_the_frameworks_connections_are_told_apart() -> None:
    """Protects all of it from a release of the framework that counts heads elsewhere."""
    waiting = _Waiting()
    app = application(services(), [Route("GET", "/wait", waiting.handle, Access.PUBLIC)])
    async with TestServer(app) as server:
        host, port = server.host, server.port
        silent, silent_writer = await asyncio.open_connection(host, port)
        half, half_writer = await asyncio.open_connection(host, port)
        half_writer.write(b"GET /wait HTTP/1.1\r\nhost: a\r\n")
        asking, asking_writer = await asyncio.open_connection(host, port)
        asking_writer.write(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        await asyncio.wait_for(waiting.began.wait(), 20)
        assert server.handler is not None
        newcomers = Newcomers(server.handler, _LIMIT_S)
        newcomers.look(0.0)
        newcomers.look(_LIMIT_S)
        assert await asyncio.wait_for(silent.read(), 20) == b""
        assert await asyncio.wait_for(half.read(), 20) == b""
        waiting.release.set()
        assert (await asyncio.wait_for(asking.readline(), 20)).startswith(b"HTTP/1.1 200")
        for writer in (silent_writer, half_writer, asking_writer):
            writer.close()
