"""As many connections as are allowed, of all and of one address, and not one more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.server.doors import Doors
from proxy.server.routes import Access, Route
from proxy.settings import Policy
from tests.support.clock import FakeClock
from tests.unit.server.building import application, services

_ASKED = b"GET /here HTTP/1.1\r\nhost: a\r\n\r\n"
_HERE = "127.0.0.1"
_ONE, _OTHER, _PROXY = "127.0.0.2", "127.0.0.3", "127.0.0.9"


@dataclass(slots=True)
class _Line:
    """A connection of a client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def served(self) -> bool:
        """Whether a request on it is answered; else it was closed."""
        try:
            self.writer.write(_ASKED)
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
            await asyncio.wait_for(self.reader.readexactly(4), 20)
        except (ConnectionError, asyncio.IncompleteReadError):
            return False
        return head.startswith(b"HTTP/1.1 200")


@dataclass(slots=True)
class _House:
    """A server behind doors."""

    server: TestServer
    doors: Doors
    clock: FakeClock
    lines: list[_Line] = field(default_factory=list)

    async def comes(self, address: str) -> _Line:
        """A connection from that address."""
        host, port = self.server.host, self.server.port
        line = _Line(*await asyncio.open_connection(host, port, local_addr=(address, 0)))
        self.lines.append(line)
        return line

    async def served(self, *addresses: str) -> list[bool]:
        """Who of these is served when they come one after the other and stay."""
        return [await (await self.comes(address)).served() for address in addresses]

    async def leaves(self, line: _Line) -> None:
        """One goes, and the server knows it."""
        line.writer.close()
        handler = self.server.handler
        assert handler is not None
        before = len(handler.connections)
        async with asyncio.timeout(20):
            while len(handler.connections) == before:  # noqa: ASYNC110 - the framework tells nobody
                await asyncio.sleep(0)


@asynccontextmanager
async def _house(most: int, of_one: int, trusted: tuple[str, ...] = ()) -> AsyncIterator[_House]:
    async def here(_: web.Request) -> web.StreamResponse:
        return web.Response(text="done")

    app = application(services(), [Route("GET", "/here", here, Access.PUBLIC)])
    policy = Policy(connections_max=most, connections_per_address_max=of_one)
    clock = FakeClock()
    doors = Doors(policy, clock, trusted, here=(f"{_HERE}/32",))
    server = TestServer(app)
    async with server:
        assert server.handler is not None
        doors.guard(server.handler)
        house = _House(server, doors, clock)
        yield house
        for line in house.lines:
            line.writer.close()


async def test_as_many_connections_as_are_allowed_are_served_and_one_more_is_closed() -> None:
    """Protects memory and descriptors, and those who came before."""
    async with _house(most=3, of_one=0) as house:
        assert await house.served(_HERE, _ONE, _OTHER, _OTHER, _HERE) == [True, True, True, False, False]
        assert [await line.served() for line in house.lines[:3]] == [True, True, True]


async def test_one_address_has_its_own_bound_and_others_do_not_feel_it() -> None:
    """Protects everybody else from one client that opens all it can."""
    async with _house(most=0, of_one=2) as house:
        assert await house.served(_ONE, _ONE, _ONE, _OTHER, _OTHER, _OTHER) == [True, True, False] * 2


async def test_a_place_that_is_left_is_free_again() -> None:
    """Protects clients from a server that counts those who have gone, or those it has never let in."""
    async with _house(most=2, of_one=1) as house:
        assert await house.served(_ONE, _ONE, _ONE, _OTHER) == [True, False, False, True]
        await house.leaves(house.lines[0])
        await house.leaves(house.lines[3])
        assert house.doors.addresses == 0
        assert await house.served(_ONE, _OTHER, _HERE) == [True, True, False]
        assert house.doors.addresses == 2


async def test_a_trusted_proxy_and_this_machine_have_no_bound_of_their_own() -> None:
    """Protects all clients of a reverse proxy, who come from one address, from being counted as one."""
    async with _house(most=7, of_one=1, trusted=(f"{_PROXY}/32",)) as house:
        assert all(await house.served(_PROXY, _PROXY, _PROXY, _HERE, _HERE, _HERE))
        assert await house.served(_ONE, _ONE, _PROXY) == [True, False, False]


async def test_the_log_tells_of_the_first_that_is_refused_and_then_once_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Protects operators, who have to learn of it, from a line for each of a flood."""
    async with _house(most=0, of_one=1) as house:
        await house.served(_ONE, _ONE, _ONE, _ONE)
        house.clock.now_s += 60
        await house.served(_ONE)
    told = [line for line in capsys.readouterr().out.splitlines() if "connections refused" in line]
    assert len(told) == 2, told
    assert "refused=1" in told[0]
    assert "refused=3" in told[1]
    for line in told:
        assert "RELAY_CONNECTIONS_PER_ADDRESS_MAX" in line
        assert _ONE in line


async def test_nothing_is_counted_where_no_bound_is_wanted() -> None:
    """Protects operators who bound connections elsewhere."""
    async with _house(most=0, of_one=0) as house:
        assert all(await house.served(*[_ONE] * 5))
        assert house.doors.addresses == 0


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("127.0.0.1", ""),
        ("::1", ""),
        ("10.20.30.40", ""),
        ("172.17.0.1", ""),
        ("192.168.1.20", ""),
        ("fd00::7", ""),
        ("172.32.0.1", "172.32.0.1"),
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
    ],
)
def test_who_comes_by_a_private_network_is_not_one_client(address: str, counted: str) -> None:
    """Protects clients of a container or a Space, all of whom come from the address of a bridge or of its proxy."""
    doors = Doors(Policy(connections_per_address_max=1), FakeClock(), ())
    assert doors._counted(_From(address)) == counted


class _From(asyncio.Transport):
    """A connection of an address."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 50_000)})
