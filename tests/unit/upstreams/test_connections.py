"""Connections that were closed since they were last used: replaced, once, however a call is sent."""

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum

import aiohttp
import pytest
from multidict import CIMultiDict
from yarl import URL

from proxy.pool import Fault
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.simulator import Simulator, Step
from proxy.upstreams.base import UpstreamFault
from proxy.upstreams.http import WaysOut
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch
from tests.unit.upstreams.building import BODY

_KEY = "k"


@pytest.fixture
async def ways_out() -> AsyncIterator[WaysOut]:
    """Connections that are closed again."""
    found = WaysOut(Policy())
    yield found
    await found.close()


async def _post(ways_out: WaysOut, url: str, body: bytes = BODY, proxy: Secret | None = None) -> HttpReply:
    headers = CIMultiDict({"anthropic-version": "2023-06-01", "x-api-key": _KEY})
    return await ways_out.via(proxy).posting(URL(url) / "v1/messages", headers).send(body, Watch(), 10.0)


class _Sent(StrEnum):
    """The ways in which a call is sent."""

    PREPARED = "a prepared head"
    LARGE = "a large body"
    PROXIED = "an HTTP proxy"
    LARGE_PROXIED = "a large body through an HTTP proxy"
    BYTES = "any other call"
    FORM = "a form"
    NOTHING = "a call without a body"
    BYTES_PROXIED = "any other call through an HTTP proxy"

    @property
    def large(self) -> bool:
        """Whether the body is more than is written in one go."""
        return self in {_Sent.LARGE, _Sent.LARGE_PROXIED}

    @property
    def proxied(self) -> bool:
        """Whether it goes to a proxy that forwards it."""
        return self in {_Sent.PROXIED, _Sent.LARGE_PROXIED, _Sent.BYTES_PROXIED}

    @property
    def other(self) -> bool:
        """Whether its head is made by the library."""
        return self in {_Sent.BYTES, _Sent.FORM, _Sent.NOTHING, _Sent.BYTES_PROXIED}


async def _send(ways_out: WaysOut, simulator: Simulator, sent: _Sent) -> HttpReply:
    """A call to the simulator, which also stands in for the proxy."""
    proxy = Secret(simulator.url) if sent.proxied else None
    url = "http://api.invalid" if sent.proxied else simulator.url
    if not sent.other:
        body = BODY[:-1] + b" " * 1024 * 1024 + b"}" if sent.large else BODY
        return await _post(ways_out, url, body, proxy)
    form = aiohttp.FormData()
    form.add_field("file", b"content", filename="a.txt", content_type="text/plain")
    content = {_Sent.FORM: form, _Sent.NOTHING: None}.get(sent, BODY)
    headers = CIMultiDict({"anthropic-version": "2023-06-01", "x-api-key": _KEY})
    place = URL(url) / ("v1/files" if sent is _Sent.FORM else "v1/messages")
    return await ways_out.via(proxy).request("POST", place, headers, content, Watch(), 10.0)


@pytest.mark.parametrize("end", ["reset_before_headers", "close_before_headers"])
@pytest.mark.parametrize("kept", [1, 5])
@pytest.mark.parametrize("sent", _Sent)
async def test_a_kept_connection_that_was_closed_is_replaced_by_a_new_one(
    simulator: Simulator, ways_out: WaysOut, sent: _Sent, end: str, kept: int
) -> None:
    """Protects keys from blame for a connection that had ended before it was used again, and only from that."""
    simulator.script(_KEY, then=Step("delay", seconds=0.05))
    replies = await asyncio.gather(*[_send(ways_out, simulator, sent) for _ in range(kept)])
    for reply in replies:
        await reply.read_all(Watch(), 10.0)
        reply.close()
    simulator.script(_KEY, [Step(do=end)])
    (await _send(ways_out, simulator, sent)).close()
    record = simulator.record
    assert (record.requests_total, record.connections_total) == (kept + 2, kept + 1)
    assert record.requests[-1].body == record.requests[-2].body
    simulator.script(_KEY, then=Step(do=end))
    with pytest.raises(UpstreamFault) as caught:
        await _send(ways_out, simulator, sent)
    assert caught.value.fault is Fault.RESET


async def test_a_body_that_comes_in_pieces_is_never_sent_twice(
    simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects uploads: what has gone out is not there any more, and half a file is no file."""

    async def pieces() -> AsyncIterator[bytes]:
        yield BODY

    headers = CIMultiDict({"anthropic-version": "2023-06-01", "x-api-key": _KEY})
    (await _read(await _post(ways_out, simulator.url))).close()
    simulator.script(_KEY, then=Step(do="reset_before_headers"))
    url = URL(simulator.url) / "v1/messages"
    with pytest.raises(UpstreamFault) as caught:
        await ways_out.via(None).request("POST", url, headers, pieces(), Watch(), 10.0)
    assert (caught.value.fault, simulator.record.requests_total) == (Fault.RESET, 2)


async def _read(reply: HttpReply) -> HttpReply:
    await reply.read_all(Watch(), 10.0)
    return reply
