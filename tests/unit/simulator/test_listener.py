"""Listening on every address of a name."""

import asyncio
import socket
from urllib.parse import urlsplit

import pytest

from proxy.simulator import Simulator
from tests.unit.simulator.client import ask, question


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def _connects(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def test_a_name_is_served_on_all_its_addresses() -> None:
    """Clients pick the first address, whichever that is."""
    simulator = Simulator()
    await simulator.start("localhost")
    port = urlsplit(simulator.url).port
    assert port
    assert simulator.url == f"http://localhost:{port}"
    assert await _connects("127.0.0.1", port)
    infos = await asyncio.get_running_loop().getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    if any(info[0] == socket.AF_INET6 for info in infos) and _has_ipv6():
        assert await _connects("::1", port)
    await simulator.stop()


@pytest.mark.skipif(not _has_ipv6(), reason="the machine has no IPv6 loopback")
async def test_an_ipv6_address_is_written_in_brackets() -> None:
    """The URL must be one."""
    simulator = Simulator()
    await simulator.start("::1")
    assert simulator.url.startswith("http://[::1]:")
    assert (await ask(simulator, question())).status == 200
    await simulator.stop()


async def test_a_port_in_use_is_an_error() -> None:
    """Nobody wants to speak to another simulator by mistake."""
    first, second = Simulator(), Simulator()
    await first.start()
    with pytest.raises(OSError, match="in use"):
        await second.start("127.0.0.1", urlsplit(first.url).port or 0)
    await second.stop()
    await first.stop()


async def test_it_can_be_started_again_on_the_same_port() -> None:
    """A stopped upstream comes back."""
    simulator = Simulator()
    await simulator.start()
    url = simulator.url
    await simulator.stop()
    await simulator.start(port=urlsplit(url).port or 0)
    assert simulator.url == url
    assert (await ask(simulator, question())).status == 200
    await simulator.stop()
