"""Many requests, chunks, headers and keys on one connection: each is answered in its turn, and memory is bounded."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from proxy.simulator import ANY_KEY, Simulator, Step
from tests.security.wire import ask, converse, messages_body, request
from tests.support.departures import connected
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

PIPELINED: Final = 1000
GROWTH_KB: Final = 16 * 1024
OFFERED_BYTES: Final = 64 * 1024 * 1024
TAKEN_WITHIN_S: Final = 1.0
LIVE: Final = b"GET /live HTTP/1.1\r\nhost: gateway\r\n\r\n"
OTHER_KEY: Final = "canary-another-key-0123456789abcdef-0123"
BEARER: Final = f"authorization: Bearer {CLIENT_KEY}"
OTHER_BEARER: Final = f"authorization: Bearer {OTHER_KEY}"


def _resident_kb(server: Gateway) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def _asked(path: str, *, last: bool) -> bytes:
    """A request for what does not exist, whose answer says what was asked."""
    head = f"GET {path} HTTP/1.1\r\nhost: gateway\r\n{BEARER}\r\n"
    return f"{head}{'connection: close' if last else 'x: y'}\r\n\r\n".encode()


async def test_pipelined_requests_are_answered_each_and_in_order(address: str, server: Gateway) -> None:
    """Protects a client from another request's answer, and memory from a thousand requests in one piece."""
    before_kb = _resident_kb(server)
    paths = [f"/v1/nothing-{number}-here" for number in range(PIPELINED)]
    data = b"".join(_asked(path, last=path == paths[-1]) for path in paths)
    talk = await converse(address, data)
    assert talk.closed
    assert [answer.status for answer in talk.answers] == [404] * PIPELINED
    told = [answer.body.decode() for answer in talk.answers]
    assert all(path in body for path, body in zip(paths, told, strict=True))
    assert _resident_kb(server) - before_kb < GROWTH_KB


async def test_pipelined_questions_reach_the_upstream_once_each_and_in_order(
    address: str, claude: Simulator
) -> None:
    """Protects the upstream from a question asked twice, or before the one it follows."""
    bodies = [messages_body(f"question {number}") for number in range(100)]
    data = b"".join(request("/v1/messages", body, headers={"connection": "keep-alive"}) for body in bodies)
    talk = await converse(address, data + LIVE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    assert [answer.status for answer in talk.answers] == [200] * 101
    assert [received.body for received in claude.record.requests] == bodies


async def _taken_bytes(writer: asyncio.StreamWriter) -> int:
    """How much of an endless row of requests is taken before nothing more is for a while."""
    flood, taken_bytes = LIVE * 1000, 0
    with suppress(TimeoutError):
        while taken_bytes < OFFERED_BYTES:
            writer.write(flood)
            await asyncio.wait_for(writer.drain(), TAKEN_WITHIN_S)
            taken_bytes += len(flood)
    return taken_bytes


@pytest.mark.parametrize("waits", [True, False], ids=["while an answer is waited for", "answers unread"])
async def test_requests_nobody_waits_for_are_not_taken_without_end(
    address: str, server: Gateway, claude: Simulator, *, waits: bool
) -> None:
    """Protects memory from a client that only writes: at some point nothing more is read from it."""
    claude.script(ANY_KEY, [Step("delay", seconds=4.0)])
    before_kb = _resident_kb(server)
    _, writer = await connected(address)
    if waits:
        writer.write(request("/v1/messages", messages_body(), headers={"connection": "keep-alive"}))
    else:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a transport that also reads
    assert await _taken_bytes(writer) < OFFERED_BYTES
    assert (await ask(address, "/live", method="GET")).status == 200
    assert _resident_kb(server) - before_kb < GROWTH_KB
    writer.transport.abort()


EXTENSIONS: Final = {
    "one on each of a thousand chunks": (1000, b";a=b"),
    "a quoted one on each of a thousand chunks": (1000, b';a="b c"'),
    "a thousand on one chunk": (1, b";a=b" * 1000),
    "a thousand on each of a hundred chunks": (100, b";a=b" * 1000),
}


@pytest.mark.parametrize(("chunks", "extension"), EXTENSIONS.values(), ids=EXTENSIONS.keys())
async def test_chunk_extensions_change_nothing(
    address: str, claude: Simulator, chunks: int, extension: bytes
) -> None:
    """Protects the body from what may stand beside its pieces: it arrives as it is, or the request is refused."""
    body = messages_body("x" * 2000)
    size = -(-len(body) // chunks)
    pieces = [body[begin : begin + size] for begin in range(0, len(body), size)]
    sent = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    head = request("/v1/messages", headers={"transfer-encoding": "chunked"})
    data = head.replace(b"content-length: 0\r\n", b"") + sent + b"0\r\n\r\n"
    talk = await converse(address, data)
    assert talk.status in {200, 400}
    assert [received.body for received in claude.record.requests] == [body] * (talk.status == 200)


HEADERS: Final = {
    "100 headers": ([f"x-{number}: y" for number in range(100)], {200}),
    "200 headers": ([f"x-{number}: y" for number in range(200)], {200, 400, 431}),
    "10,000 headers": ([f"x-{number}: y" for number in range(10_000)], {400, 431}),
    "one of 4 KB": (["x: " + "y" * 4096], {200}),
    "one of 100 KB": (["x: " + "y" * 100_000], {400, 431}),
    "100 of 4 KB": (["x: " + "y" * 4096] * 100, {200, 400, 431}),
    "endless cookies": (["cookie: " + "a=b; " * 1000] * 20, {200, 400, 431}),
}


@pytest.mark.parametrize(("lines", "allowed"), HEADERS.values(), ids=HEADERS.keys())
async def test_headers_are_bounded_in_size_and_number(
    address: str, server: Gateway, lines: list[str], allowed: set[int]
) -> None:
    """Protects memory, and clients behind proxies that add some headers of their own."""
    before_kb = _resident_kb(server)
    head = "\r\n".join(["GET /v1/models HTTP/1.1", "host: gateway", "connection: close", BEARER, *lines])
    talk = await converse(address, f"{head}\r\n\r\n".encode())
    assert talk.closed
    assert talk.status in allowed
    assert len(talk.answers) == 1
    assert _resident_kb(server) - before_kb < GROWTH_KB


KEYS: Final[dict[str, tuple[list[str], int]]] = {
    "the same key twice": ([BEARER, BEARER], 200),
    "the same key in each header": ([BEARER, f"x-api-key: {CLIENT_KEY}", f"api-key: {CLIENT_KEY}"], 200),
    "the right one first": ([BEARER, OTHER_BEARER], 401),
    "the right one last": ([OTHER_BEARER, BEARER], 401),
    "the right one in the middle": ([OTHER_BEARER, BEARER, OTHER_BEARER], 401),
    "two in x-api-key": ([f"x-api-key: {CLIENT_KEY}", f"x-api-key: {OTHER_KEY}"], 401),
    "two in api-key": ([f"api-key: {OTHER_KEY}", f"api-key: {CLIENT_KEY}"], 401),
    "two in one line": ([f"authorization: Bearer {CLIENT_KEY}, Bearer {OTHER_KEY}"], 401),
    "two in one x-api-key": ([f"x-api-key: {CLIENT_KEY}, {OTHER_KEY}"], 401),
    "another one in x-api-key": ([BEARER, f"x-api-key: {OTHER_KEY}"], 401),
    "another one in api-key": ([BEARER, f"api-key: {OTHER_KEY}"], 401),
    "the admin key beside it": ([BEARER, f"x-api-key: {ADMIN_KEY}"], 401),
    "a hundred times the same": ([BEARER] * 100, 200),
    "in other letters": ([BEARER, f"AUTHORIZATION: Bearer {OTHER_KEY}"], 401),
}


@pytest.mark.parametrize(("lines", "status"), KEYS.values(), ids=KEYS.keys())
@pytest.mark.parametrize("path", ["/v1/models", "/stats"])
async def test_of_two_keys_neither_counts(address: str, lines: list[str], status: int, path: str) -> None:
    """Protects against a proxy that reads the first key where we would read the last, or the other way round."""
    head = "\r\n".join([f"GET {path} HTTP/1.1", "host: gateway", "connection: close", *lines])
    talk = await converse(address, f"{head}\r\n\r\n".encode())
    assert talk.status == status
    assert CLIENT_KEY.encode() not in talk.wire
    assert ADMIN_KEY.encode() not in talk.wire


async def test_no_attack_of_this_module_was_an_error_of_ours(address: str, server: Gateway) -> None:
    """Protects the last stop before the client: nothing above may have reached it."""
    await ask(address, "/live", method="GET")
    assert not [line for line in server.output if "unexpected error" in line or "Traceback" in line]
