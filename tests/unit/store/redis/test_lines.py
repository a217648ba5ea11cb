"""Commands over several connections: each batch has one for itself, waits for it no longer than it may, and ends."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.secrets import Secret
from proxy.simulator.faults.tls import certified
from proxy.store.base import NotShared
from proxy.store.redis import link as link_module
from proxy.store.redis.link import RedisLink
from proxy.tasks import spawn

_MOST = 16
_GREETINGS = (b"CLIENT", b"HELLO", b"SELECT")


class _Server:
    """Takes commands, and answers each with its last word once it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked: list[bytes] = []
        self.connections = 0
        self.says_first = b""
        self.by_bytes = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                words = [await self._word(reader) for _ in range(int((await reader.readuntil())[1:]))]
                if words[0] in _GREETINGS:
                    writer.write(b"+OK\r\n")
                    continue
                self.asked.append(words[-1])
                await self.may_answer.wait()
                said = self.says_first + b"$%d\r\n%b\r\n" % (len(words[-1]), words[-1])
                for piece in (said[at : at + 1] for at in range(len(said))) if self.by_bytes else (said,):
                    writer.write(piece)
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _word(self, reader: asyncio.StreamReader) -> bytes:
        length = int((await reader.readuntil())[1:])
        return (await reader.readexactly(length + 2))[:-2]


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CALL_TIMEOUT_S", 5.0)


@asynccontextmanager
async def _linked(
    server: _Server, certified_by: Path | None = None, context: ssl.SSLContext | None = None
) -> AsyncIterator[RedisLink]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context) as listening:
        where = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"
        encrypted = f"rediss://{where}?ssl_ca_certs={certified_by}"
        link = RedisLink(Secret(f"redis://{where}" if certified_by is None else encrypted))
        try:
            yield link
        finally:
            server.may_answer.set()
            await link.close()


async def _in_turns(link: RedisLink, count: int) -> "list[asyncio.Task[object]]":
    """So many calls, each of a turn of its own."""
    calls = []
    for number in range(count):
        calls.append(spawn(link.call("ECHO", number), name="ask"))
        for _ in range(3):
            await asyncio.sleep(0)
    return calls


@pytest.mark.usefixtures("_patience")
async def test_more_batches_than_connections_wait_for_one_and_are_answered() -> None:
    """Protects Redis from a connection for each turn, and calls from each other's answers."""
    server = _Server()
    async with _linked(server) as link:
        calls = await _in_turns(link, _MOST + 4)
        async with asyncio.timeout(5):
            while len(server.asked) < _MOST:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)
        server.may_answer.set()
        assert await asyncio.gather(*calls) == [str(number).encode() for number in range(_MOST + 4)]
    assert server.connections == _MOST


async def test_who_waits_for_a_connection_waits_no_longer_than_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Protects requests from a Redis that hangs: the bound counts from when they asked."""
    monkeypatch.setattr(link_module, "CALL_TIMEOUT_S", 0.1)
    server = _Server()
    async with _linked(server) as link, asyncio.timeout(5):
        found = await asyncio.gather(*await _in_turns(link, _MOST + 4), return_exceptions=True)
        assert all(isinstance(each, NotShared) for each in found)


@pytest.mark.usefixtures("_patience")
async def test_an_answer_that_comes_byte_by_byte_comes_whole() -> None:
    """Protects calls from a network that cuts where it likes."""
    server = _Server()
    server.by_bytes = True
    server.may_answer.set()
    async with _linked(server) as link:
        assert await asyncio.gather(*(link.call("ECHO", "x" * size) for size in range(5))) == [
            b"x" * size for size in range(5)
        ]
    assert server.connections == 1


@pytest.mark.usefixtures("_patience")
async def test_an_answer_nobody_asked_for_ends_its_connection() -> None:
    """Protects every later call over it from the answer of the one before."""
    server = _Server()
    server.says_first = b"+unasked\r\n"
    server.may_answer.set()
    async with _linked(server) as link:
        assert await link.call("ECHO", "a") == b"unasked"
        server.says_first = b""
        assert await link.call("ECHO", "b") == b"b"
    assert server.connections == 2


@pytest.mark.usefixtures("_patience")
async def test_closing_waits_for_what_is_under_way() -> None:
    """Protects what is told at the very end."""
    server = _Server()
    async with _linked(server) as link:
        asked = spawn(link.call("ECHO", "last"), name="ask")
        while not server.asked:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        closing = spawn(link.close(), name="close")
        await asyncio.sleep(0.01)
        assert not closing.done()
        server.may_answer.set()
        await closing
        assert await asked == b"last"
        with pytest.raises(NotShared):
            await link.call("ECHO", "more")


@pytest.mark.needs("openssl")
@pytest.mark.usefixtures("_patience")
async def test_an_encrypted_connection_is_read_as_any_other(tmp_path: Path) -> None:
    """Protects those whose Redis is somebody else's: what is read here comes out of the encryption."""
    certificate, context = await certified(tmp_path)
    server = _Server()
    server.may_answer.set()
    async with _linked(server, certificate, context) as link:
        sizes = (1, 40_000, 200_000)
        found = await asyncio.gather(*(link.call("ECHO", "x" * size) for size in sizes))
        assert found == [b"x" * size for size in sizes]
    (tmp_path / "other").mkdir()
    other, _ = await certified(tmp_path / "other")
    async with _linked(server, other, context) as link:
        with pytest.raises(NotShared):
            await link.call("ECHO", "not to whom nobody vouches for")
