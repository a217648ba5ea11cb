"""Answers on real sockets: how much of one is held for who reads it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from multidict import CIMultiDict
from yarl import URL

from proxy.settings import Policy
from proxy.simulator import Simulator, Step
from proxy.upstreams.http import WaysOut
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch
from tests.unit.upstreams.building import BODY

_KEY = "k"
_STREAM = BODY[:-1] + b',"stream":true}'


@pytest.fixture
async def ways_out() -> AsyncIterator[WaysOut]:
    """Ways out as they are by default."""
    found = WaysOut(Policy())
    yield found
    await found.close()


def _headers() -> CIMultiDict[str]:
    return CIMultiDict({"anthropic-version": "2023-06-01", "x-api-key": _KEY})


async def _asked(ways_out: WaysOut, simulator: Simulator) -> HttpReply:
    """A stream, asked for over a head made once."""
    url = URL(simulator.url) / "v1/messages"
    return await ways_out.via(None).posting(url, _headers()).send(_STREAM, Watch(), 10.0)


@pytest.mark.parametrize("prepared", [True, False], ids=["head made once", "any other call"])
async def test_little_is_read_ahead_of_who_reads_slowly(
    simulator: Simulator, ways_out: WaysOut, *, prepared: bool
) -> None:
    """Protects memory from streams whose clients take less than the upstream sends: it has to wait."""
    simulator.script(_KEY, then=Step("flood", at_byte=50 * 1024 * 1024))
    if prepared:
        reply = await _asked(ways_out, simulator)
    else:
        url = URL(simulator.url) / "v1/messages"
        reply = await ways_out.via(None).request("POST", url, _headers(), _STREAM, Watch(), 10.0)
    await _stands_still(simulator)
    # one read of the loop may bring 256 KiB
    assert 0 < reply._content.total_bytes <= (2 * 64 + 256) * 1024
    assert len(await reply.read()) == 64 * 1024
    reply.close()


async def _stands_still(simulator: Simulator) -> None:
    """Wait until the simulator cannot get rid of any more bytes."""
    (received,) = simulator.record.requests
    before = -1
    while before != received.bytes_sent:
        before = received.bytes_sent
        await asyncio.sleep(0.05)


async def test_a_whole_answer_is_read_in_large_pieces(simulator: Simulator, ways_out: WaysOut) -> None:
    """Protects large answers from the stops that streams make for slow readers: nobody's pace holds them up."""
    simulator.script(_KEY, then=Step("flood", at_byte=50_000))
    reply = await _asked(ways_out, simulator)
    assert len(await reply.read_all(Watch(), 10.0)) > 50_000
    assert reply._content.get_read_buffer_limits()[0] == 256 * 1024
    reply.close()
