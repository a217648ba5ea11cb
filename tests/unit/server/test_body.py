"""A body is read whole, or refused as soon as it is known to be too large, slow or broken."""

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast
from unittest.mock import Mock

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from proxy.errors import GatewayError, InvalidRequest, TooLarge
from proxy.server.body import LARGE_BYTES, body_pieces, kept_body, looked_at, read_body
from proxy.server.context import SERVICES
from proxy.settings import Policy
from proxy.watch import Watch

_LIMIT_BYTES = 10


_POLICY = Policy(body_max_bytes=_LIMIT_BYTES, body_stall_s=0.02)
_PATIENT = Policy(body_max_bytes=_LIMIT_BYTES, body_stall_s=20.0)


def _reader(*pieces: bytes, end: bool = True) -> StreamReader:
    protocol = Mock(spec=BaseProtocol, _reading_paused=False)
    reader = StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
    for piece in pieces:
        reader.feed_data(piece)
    if end:
        reader.feed_eof()
    return reader


def _request(reader: StreamReader, length: int | None = None) -> web.Request:
    return cast(web.Request, SimpleNamespace(content=reader, content_length=length))


async def _read(reader: StreamReader, length: int | None = None, policy: Policy = _POLICY) -> bytes:
    watch = Watch()
    try:
        return await read_body(_request(reader, length), policy, watch)
    finally:
        watch.close()


@pytest.mark.parametrize("pieces", [[], [b"abc"], [b"abc", b"def"], [b"0123456789"], [b"01234", b"56789"]])
@pytest.mark.parametrize("at_once", [True, False], ids=["with its head", "later"])
async def test_a_body_of_at_most_the_limit_is_read_whole(pieces: list[bytes], at_once: bool) -> None:
    """Protects requests, however their bytes arrive."""
    reader = _reader(*pieces, end=at_once)
    if not at_once:
        asyncio.get_running_loop().call_soon(reader.feed_eof)
    assert await _read(reader, policy=_PATIENT) == b"".join(pieces)


@pytest.mark.parametrize("pieces", [[b"01234567890"], [b"0123456789", b"0"], [b"0"] * 11])
@pytest.mark.parametrize("at_once", [True, False], ids=["with its head", "without an end"])
async def test_a_body_over_the_limit_is_refused_without_waiting_for_its_end(
    pieces: list[bytes], at_once: bool
) -> None:
    """Protects memory from bodies that do not say how large they are."""
    with pytest.raises(TooLarge):
        await _read(_reader(*pieces, end=at_once))


async def test_a_declared_length_over_the_limit_is_refused_before_a_byte_is_read() -> None:
    """Protects memory from bodies that do."""
    with pytest.raises(TooLarge):
        await _read(_reader(end=False), _LIMIT_BYTES + 1)


async def test_a_body_that_stops_arriving_is_a_408() -> None:
    """Protects connections from clients that went away in the middle of a sentence."""
    with pytest.raises(GatewayError) as caught:
        await _read(_reader(b"abc", end=False), 5)
    assert caught.value.status == 408


class _Kept(dict[object, object]):
    """A request with an application around it."""

    def __init__(self, reader: StreamReader) -> None:
        super().__init__()
        self.content, self.content_length = reader, None
        settings = SimpleNamespace(policy=_POLICY)
        self.app = {SERVICES: SimpleNamespace(settings=settings)}


async def test_a_body_that_is_asked_for_twice_is_read_once() -> None:
    """Protects orders, whose body says both what to do and whether it is the same order again."""
    request = cast(web.Request, _Kept(_reader(b"abc")))
    assert [await kept_body(request), await kept_body(request)] == [b"abc", b"abc"]


async def test_a_body_that_is_kept_has_its_time_and_its_limit_too() -> None:
    """Protects connections and memory at endpoints that ask no model."""
    with pytest.raises(GatewayError) as caught:
        await kept_body(cast(web.Request, _Kept(_reader(b"abc", end=False))))
    assert caught.value.status == 408
    with pytest.raises(TooLarge):
        await kept_body(cast(web.Request, _Kept(_reader(b"abc"))), limit_bytes=2)


@dataclass(slots=True)
class _Dripping:
    """A client that sends a byte at a time, on a clock of its own that no other body could keep waiting."""

    every_s: float
    left: int
    now: float = 0.0

    def now_s(self) -> float:
        """See `Watch.now_s`."""
        return self.now

    async def within(self, limit_s: float, work: Coroutine[None, None, bytes]) -> bytes:
        """See `Watch.within`."""
        if self.every_s > limit_s:
            self.now += limit_s
            work.close()
            raise TimeoutError
        self.now += self.every_s
        return await work

    async def readany(self) -> bytes:
        """The next byte."""
        self.left -= 1
        return b"x" if self.left >= 0 else b""

    def at_eof(self) -> bool:
        """Whether that was the last one."""
        return self.left <= 0

    def exception(self) -> None:
        """It breaks nothing off."""


@pytest.mark.parametrize(
    ("least", "every_s", "ends_s"), [(500, 1.0, 60.0), (500, 0.001, None), (0, 50.0, None), (1, 30.0, 60.0)]
)
async def test_a_body_of_single_bytes_uses_up_its_time_and_a_steady_one_does_not(
    least: int, every_s: float, ends_s: float | None
) -> None:
    """Protects connections from bodies that never stop coming and never come, and slow networks from that."""
    client = _Dripping(every_s, left=2000)
    policy = Policy(body_stall_s=60, body_min_bytes_per_s=least)
    request = cast(web.Request, SimpleNamespace(content=client))
    pieces = body_pieces(request, 10**9, policy, cast(Watch, client))
    if ends_s is None:
        assert b"".join([piece async for piece in pieces]) == b"x" * 2000
        return
    with pytest.raises(GatewayError) as caught:
        await anext(piece async for piece in pieces if piece == b"")
    assert caught.value.status == 408
    assert client.now == pytest.approx(ends_s, rel=0.05)


async def test_time_the_server_itself_takes_is_not_the_clients() -> None:
    """Protects uploads whose upstream takes them slowly from a time-out that blames the client."""
    client = _Dripping(0.0, left=10)
    request = cast(web.Request, SimpleNamespace(content=client))
    got = b""
    async for piece in body_pieces(request, 10**9, Policy(body_stall_s=60), cast(Watch, client)):
        got += piece
        client.now += 1000.0
    assert got == b"x" * 10


@pytest.mark.parametrize("pieces", [[], [b"abc"]])
@pytest.mark.parametrize("end", [False, True])
async def test_a_body_that_cannot_be_read_is_the_clients_mistake(pieces: list[bytes], end: bool) -> None:
    """Protects against a 500 for bytes that are not compressed as they say."""
    reader = _reader(*pieces, end=end)
    reader.set_exception(web.RequestPayloadError("Can not decode content-encoding: gzip"))
    with pytest.raises(InvalidRequest):
        await _read(reader)


async def test_a_client_that_leaves_in_the_middle_is_no_request() -> None:
    """Protects the upstream from half a body."""
    reader = _reader(b"abc", end=False)
    reader.set_exception(ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        await _read(reader, 5)


@pytest.mark.parametrize(("length_bytes", "beside"), [(LARGE_BYTES - 1, False), (LARGE_BYTES, True)])
async def test_only_a_large_body_is_looked_at_beside_the_loop(length_bytes: int, beside: bool) -> None:
    """Protects other clients' streams from a body of megabytes, and small bodies from the way to a thread."""
    looked_in = await looked_at(length_bytes, threading.get_ident)
    assert (looked_in != threading.get_ident()) is beside
