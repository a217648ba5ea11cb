"""Answers over connections that calls were written to by hand, on real sockets."""

import asyncio

import pytest
from multidict import CIMultiDict
from yarl import URL

from proxy.settings import Policy
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch
from tests.unit.upstreams.building import BODY


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_that_is_read_more_slowly_than_it_comes_comes_whole(*, chunked: bool) -> None:
    """Protects long answers: a connection that was told to stop is told to go on, and what follows is found."""
    ways_out = WaysOut(Policy())
    piece, count = b"x" * 0x8000, 100

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(BODY[-10:])
            if chunked:
                writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                writer.write((b"8000\r\n%b\r\n" % piece) * count + b"0\r\n\r\n")
            else:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(piece) * count))
                writer.write(piece * count)
            await writer.drain()
        writer.close()

    async with asyncio.timeout(20), await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        posting = ways_out.via(None).posting(
            URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/messages"), CIMultiDict()
        )
        for _ in range(2):
            reply = await posting.send(BODY, Watch(), 10.0)
            while not reply._content._protocol._reading_paused:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
            size = 0
            while came := await reply.read():
                size += len(came)
            assert size == len(piece) * count
            reply.close()
    await ways_out.close()
