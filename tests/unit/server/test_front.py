"""The short way from a connection to its handler gives what the framework's own way gives."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from proxy.server.front import FrontRunner
from proxy.server.routes import Access, Route
from tests.unit.server.building import AUTHORIZED, application, services

_KEY = f"authorization: {AUTHORIZED['authorization']}\r\n"
_CHANGING = re.compile(rb"(?i)date: [^\r]*|req_[0-9a-f]+|127\.0\.0\.1:\d+")


async def _told(request: web.Request) -> web.StreamResponse:
    """What a handler can see of how it was found."""
    resource = request.match_info.route.resource
    return web.json_response(
        {
            "route": None if resource is None else resource.canonical,
            "named": dict(request.match_info),
            "query": request.query_string,
            "path": request.path,
            "app": len(request.app),
            "body": (await request.read()).decode(),
        }
    )


async def _counted(request: web.Request) -> web.StreamResponse:
    """How much has come, begun when no more is taken."""
    size = 0
    while not request.protocol._reading_paused:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)
    while piece := await request.content.readany():
        size += len(piece)
    return web.Response(text=str(size))


_ROUTES = (
    Route("POST", "/v1/told", _told, Access.CLIENT, prefixes=("", "/hf")),
    Route("GET", "/v1/told", _told, Access.PUBLIC),
    Route("POST", "/v1/{kind}/told", _told, Access.CLIENT),
    Route("POST", "/v1/counted", _counted, Access.PUBLIC),
)


@asynccontextmanager
async def _serving(kind: type[web.AppRunner]) -> AsyncIterator[int]:
    """A server of that kind, by its port."""
    runner = kind(application(services(), _ROUTES), access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _answer(port: int, request: bytes) -> bytes:
    """All that comes back before the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    said = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return said


def _request(line: str, fields: str = "", body: str = "") -> bytes:
    head = f"{line} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: {len(body)}\r\n"
    return f"{head}{fields}\r\n{body}".encode()


@pytest.mark.parametrize(
    "request_bytes",
    [
        _request("POST /v1/told", _KEY, "body"),
        _request("POST /v1/told"),
        _request("POST /hf/v1/told?a=1&b=%2F", _KEY),
        _request("POST http://gateway/v1/told?a=1", _KEY),
        _request("POST /v1/t%6Fld", _KEY),
        _request("POST /v1%2Ftold", _KEY),
        _request("POST /v1/told/", _KEY),
        _request("POST //v1/told", _KEY),
        _request("POST /v1/./told", _KEY),
        _request("POST /v1/any/told", _KEY),
        _request("POST /v1/%7Bkind%7D/told", _KEY),
        _request("POST /v1/{kind}/told", _KEY),
        _request("POST /v1/told", f"{_KEY}expect: 100-continue\r\n", "body"),
        _request("POST /v1/told", f"{_KEY}expect: miracles\r\n", "body"),
        _request("GET /v1/told"),
        _request("HEAD /v1/told"),
        _request("DELETE /v1/told", _KEY),
        _request("OPTIONS *", _KEY),
        _request("POST /v2/told", _KEY),
        b"POST /v1/told HTTP/1.0\r\n" + _KEY.encode() + b"\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_every_address_is_answered_as_the_framework_answers_it(request_bytes: bytes) -> None:
    """Protects who finds which route, and with which rights, from depending on the way that was taken."""
    async with _serving(web.AppRunner) as long, _serving(FrontRunner) as short:
        expected, found = await _answer(long, request_bytes), await _answer(short, request_bytes)
    assert _CHANGING.sub(b"", found) == _CHANGING.sub(b"", expected)
    assert found.startswith(b"HTTP/1.")


async def test_a_plain_route_passes_by_the_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the short way from being taken by nobody."""

    async def unwanted(*_: object) -> web.StreamResponse:
        raise AssertionError

    monkeypatch.setattr(web.Application, "_handle", unwanted)
    async with _serving(FrontRunner) as port:
        assert b" 200 " in await _answer(port, _request("POST /hf/v1/told?a=1", _KEY))


async def test_requests_on_one_connection_keep_what_is_theirs() -> None:
    """Protects the match that all requests for a route share from holding anything of one of them."""
    requests = [
        _request(f"POST /v1/told?n={number}", _KEY, f"body {number}").replace(b"connection: close\r\n", b"")
        for number in range(9)
    ]
    async with _serving(FrontRunner) as port:
        said = await _answer(port, b"".join(requests) + _request("POST /v1/told?n=9", _KEY, "body 9"))
    assert re.findall(rb'"query": "n=(\d)", [^}]*"body": "body (\d)"', said) == [
        (str(number).encode(),) * 2 for number in range(10)
    ]


async def test_a_body_that_is_read_more_slowly_than_it_comes_comes_whole() -> None:
    """Protects uploads: a connection that was told to stop has to be told to go on, and only then."""
    size = 6_000_000
    async with _serving(FrontRunner) as port:
        length = f"connection: close\r\ncontent-length: {size}\r\n"
        head = f"POST /v1/counted HTTP/1.1\r\nhost: gateway\r\n{length}\r\n"
        said = await _answer(port, head.encode() + b"x" * size)
        piece = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        chunked = head.replace(f"content-length: {size}", "transfer-encoding: chunked").encode()
        chunked_said = await _answer(port, chunked + piece * 100 + b"0\r\n\r\n")
    assert said.endswith(b"\r\n6000000")
    assert chunked_said.endswith(b"\r\n3276800")
