"""Whole answers written by hand look to clients as those of the library do."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.access.refusals import headers_of
from proxy.server.whole import WholeAnswer

_BODY: Final = '{"said":"ä"}'.encode()
_FIELDS: Final = {"content-type": "application/json", "server": "carousel", "x-request-id": "req_1"}
_MORE: Final = "x-ratelimit-limit-requests: 2\r\nx-ratelimit-reset-requests: 1m0s\r\n"
_LARGE: Final = b"x" * 3_000_000


class _Served:
    """A server that answers as it is told, by the path."""

    def __init__(self) -> None:
        self.fields = dict(_FIELDS)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/library":
            return web.Response(body=_BODY, headers=self.fields | headers_of(_MORE))
        answer = WholeAnswer(_LARGE if request.path == "/large" else _BODY, self.fields, _MORE)
        if request.path == "/closing":
            answer.force_close()
        return answer


@pytest.fixture
async def served() -> AsyncIterator[tuple[_Served, int]]:
    """The server and its port."""
    told = _Served()
    app = web.Application()
    app.router.add_route("*", "/{any}", told.answer)
    async with TestServer(app) as server:
        assert server.port is not None
        yield told, server.port


async def _exchange(port: int, *requests: str) -> bytes:
    """Everything that comes back over one connection until it is closed, 0.2 s after the last request at the latest."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        writer.write(request.encode())
    said = b""
    try:
        async with asyncio.timeout(0.2):
            while piece := await reader.read(1 << 20):
                said += piece
    except TimeoutError:
        said += b"<still open>"
    writer.close()
    return said


def _get(path: str, version: str = "1.1", *, method: str = "POST", more: str = "") -> str:
    return f"{method} {path} HTTP/{version}\r\nhost: a\r\ncontent-length: 0\r\n{more}\r\n"


def _parts(said: bytes) -> tuple[str, dict[str, str], bytes]:
    """Status line, fields without the date, body."""
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    assert re.fullmatch(r"[a-z]{3}, \d\d [a-z]{3} \d{4} \d\d:\d\d:\d\d gmt", fields.pop("date"))
    return first, fields, body


@pytest.mark.parametrize(
    "sent",
    [
        {"version": "1.1"},
        {"version": "1.0"},
        {"version": "1.0", "more": "connection: keep-alive\r\n"},
        {"version": "1.1", "more": "connection: close\r\n"},
        {"version": "1.1", "method": "HEAD"},
    ],
)
async def test_an_answer_is_the_librarys_to_the_letter(
    served: tuple[_Served, int], sent: dict[str, str]
) -> None:
    """Protects clients of every version of HTTP from an answer that is almost right."""
    _, port = served
    ours, theirs = [_parts(await _exchange(port, _get(path, **sent))) for path in ("/ours", "/library")]
    assert ours == theirs
    assert ours[1]["x-ratelimit-reset-requests"] == "1m0s"


async def test_a_connection_carries_one_answer_after_another(served: tuple[_Served, int]) -> None:
    """Protects clients that keep their connections, and those that ask before they are answered."""
    _, port = served
    said = await _exchange(port, _get("/ours"), _get("/ours"), _get("/library"))
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert said.endswith(b"<still open>")


async def test_a_connection_that_is_to_be_closed_says_so(served: tuple[_Served, int]) -> None:
    """Protects a server that is being stopped from clients that stay."""
    _, port = served
    said = await _exchange(port, _get("/closing"))
    assert b"connection: close" in said.lower()
    assert not said.endswith(b"<still open>")


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b=c", "a\nb", "a\rb", "a\0b"])
async def test_a_value_that_ends_its_line_is_no_header(served: tuple[_Served, int], value: str) -> None:
    """Protects clients from headers that somebody smuggled into ours."""
    told, port = served
    told.fields["x-carousel-model"] = value
    said = await _exchange(port, _get("/ours"))
    assert b"set-cookie" not in said
    assert b"x-carousel-model" not in said


async def test_a_large_answer_arrives_whole(served: tuple[_Served, int]) -> None:
    """Protects answers that no buffer of the system holds at once."""
    _, port = served
    said = await _exchange(port, _get("/large", more="connection: close\r\n"), "")
    assert _parts(said)[2] == _LARGE
    said = await _exchange(port, _get("/large"))
    assert _parts(said.removesuffix(b"<still open>"))[2] == _LARGE
