"""A body over the limit is refused before it costs memory."""

import asyncio
import gzip
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy.simulator import Simulator
from tests.security.wire import Answer, Conversation, ask, converse, messages_body, request
from tests.support.gateway import CLIENT_KEY, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

_LIMIT_BYTES = 64 * 1024
_OFFERED_BYTES = 64 * 1024 * 1024
_GROWTH_KB = 24 * 1024
SETTINGS = {"RELAY_BODY_MAX_BYTES": str(_LIMIT_BYTES)}
_PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens", "/hf/v1/messages")


def _resident_kb(server: Gateway) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def _check_refused(answer: Answer, path: str) -> None:
    assert answer.status == 413
    error = answer.error()
    if "messages" in path:
        assert error["type"] == "request_too_large"
    else:
        assert (error["type"], error["code"]) == ("invalid_request_error", "request_too_large")
    assert str(_LIMIT_BYTES) in str(error["message"])
    assert answer.header("connection") == "close"


def _only(talk: Conversation, path: str) -> None:
    assert len(talk.answers) == 1, talk.wire
    _check_refused(talk.answers[0], path)


def _chunked(path: str) -> bytes:
    """The head of a request with a chunked body."""
    head = request(path, headers={"transfer-encoding": "chunked"})
    return head.replace(b"content-length: 0\r\n", b"")


def _body_for(path: str) -> bytes:
    """The smallest body a path takes."""
    if path.endswith("count_tokens"):
        return messages_body().replace(b'"max_tokens":64,', b"")
    return messages_body()


@pytest.mark.parametrize("path", _PATHS)
async def test_a_declared_length_over_the_limit_is_refused_before_a_byte_of_it_is_sent(
    server: Gateway, claude: Simulator, path: str
) -> None:
    """Protects memory from bodies that say how large they are."""
    head = request(path, headers={"content-length": str(_LIMIT_BYTES + 1)})
    _only(await converse(server.url, head, first=True), path)
    assert claude.record.requests_total == 0


@pytest.mark.parametrize("path", _PATHS)
async def test_a_body_of_the_limit_is_read_and_one_byte_more_is_refused(server: Gateway, path: str) -> None:
    """Protects the limit from being off by one, either way."""
    body = _body_for(path)
    fits = body + b" " * (_LIMIT_BYTES - len(body))
    assert (await ask(server.url, path, fits)).status == 200
    _check_refused(await ask(server.url, path, fits + b" "), path)


@pytest.mark.parametrize("path", _PATHS)
async def test_an_endless_chunked_body_is_refused_at_the_limit(server: Gateway, path: str) -> None:
    """Protects memory from bodies that do not say how large they are."""
    before_kb = _resident_kb(server)
    where = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(_chunked(path))
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = asyncio.create_task(reader.readuntil(b"\r\n"))  # noqa: TID251 - held by this test
    sent_bytes = 0
    while not answer.done() and sent_bytes < _OFFERED_BYTES:
        writer.write(piece)
        sent_bytes += len(piece)
        await asyncio.wait_for(writer.drain(), 20)
    assert (await asyncio.wait_for(answer, 20)).startswith(b"HTTP/1.1 413")
    writer.close()
    assert _resident_kb(server) - before_kb < _GROWTH_KB


@pytest.mark.parametrize("path", _PATHS)
async def test_a_chunked_body_just_over_the_limit_is_answered(server: Gateway, path: str) -> None:
    """Protects clients that send chunks: they read why, in their own dialect's envelope."""
    head = _chunked(path)
    body = b"%x\r\n" % (_LIMIT_BYTES + 1) + b" " * (_LIMIT_BYTES + 1) + b"\r\n0\r\n\r\n"
    _only(await converse(server.url, head + body, first=True), path)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("path", _PATHS)
async def test_a_compressed_bomb_is_refused_at_the_limit_of_what_it_unfolds_to(
    server: Gateway, claude: Simulator, path: str, coding: str
) -> None:
    """Protects memory from a small body that becomes a large one."""
    before_kb = _resident_kb(server)
    compress = gzip.compress if coding == "gzip" else zlib.compress
    bomb = compress(b" " * _OFFERED_BYTES, 9)
    assert len(bomb) < 2 * _LIMIT_BYTES
    data = request(path, bomb[: _LIMIT_BYTES - 1], headers={"content-encoding": coding})
    _only(await converse(server.url, data, first=True), path)
    assert _resident_kb(server) - before_kb < _GROWTH_KB
    assert claude.record.requests_total == 0


async def test_a_compressed_body_within_the_limit_is_read(server: Gateway) -> None:
    """Protects clients that compress their requests."""
    body = gzip.compress(messages_body("compressed"))
    answer = await ask(server.url, "/v1/messages", body, headers={"content-encoding": "gzip"})
    assert answer.status == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_body_that_is_not_compressed_as_it_says_is_a_bad_request(
    server: Gateway, coding: str
) -> None:
    """Protects against a 500 for a client's own mistake."""
    answer = await ask(server.url, "/v1/messages", messages_body(), headers={"content-encoding": coding})
    assert answer.status == 400


async def test_more_bytes_than_declared_are_not_part_of_the_body(server: Gateway, claude: Simulator) -> None:
    """Protects the end of a request from a length that is too small."""
    body = messages_body()
    data = request("/v1/messages", body, headers={"connection": "keep-alive"})
    talk = await converse(server.url, data + b"x" * (2 * _LIMIT_BYTES))
    assert talk.closed
    assert all(answer.status in {200, 400} for answer in talk.answers)
    assert all(received.body == body for received in claude.record.requests)


async def test_fewer_bytes_than_declared_never_become_a_request(server: Gateway, claude: Simulator) -> None:
    """Protects the upstream from half a body when a client leaves in the middle of it."""
    body = messages_body()
    where = urlsplit(server.url)
    _, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(request("/v1/messages", body, headers={"content-length": str(len(body) + 10)}))
    await writer.drain()
    writer.write_eof()
    writer.close()
    assert (await ask(server.url, "/v1/messages", messages_body("next"))).status == 200
    assert [received.body for received in claude.record.requests] == [messages_body("next")]


async def test_a_body_is_not_read_for_a_caller_without_a_key(server: Gateway) -> None:
    """Protects memory from callers who may not come in at all."""
    head = request("/v1/messages", key=None, headers={"content-length": str(_LIMIT_BYTES)})
    talk = await converse(server.url, head, first=True)
    assert talk.status == 401
    assert CLIENT_KEY.encode() not in talk.wire
