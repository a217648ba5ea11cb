"""Clients that misbehave in front of nginx: large, slow, idle and strange ones cost the gateways next to nothing."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from proxy.clock import SystemClock
from proxy.simulator import ANY_KEY, Step
from tests.deploy.conftest import Site
from tests.security.wire import Answer, ask, converse, messages_body, request
from tests.support.departures import ENDPOINTS, connected
from tests.support.gateway import CLIENT_KEY, gateway
from tests.support.house import eventually, simulated
from tests.support.nginx import nginx
from tests.support.soak import SOAKING, sized

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("nginx")]

_MIB: Final = 1024 * 1024
_LIMIT_BYTES: Final = 32 * _MIB
_GROWTH_KB: Final = 2 * _LIMIT_BYTES // 1024
_IDLE: Final = sized(full=2000, short=300)
_HEAD_WITHIN_S: Final = 30.0
_BODY_WITHIN_S: Final = 60.0
_LATE_BY_S: Final = 10.0
_TAKEN: Final = 5
_FLOOD_BYTES: Final = 64 * _MIB
_TAKEN_WITHIN_S: Final = 1.0
_PATHS: Final = ("/v1/messages", "/v1/chat/completions", "/hf/v1/messages")
clock = SystemClock()


def _resident_kb(site: Site) -> int:
    found = 0
    for replica in site.replicas:
        status = Path(f"/proc/{replica.process.pid}/status").read_text()
        found += int(status.partition("VmRSS:")[2].split()[0])
    return found


def _chunked(path: str, body: bytes = b"") -> bytes:
    head = request(path, headers={"transfer-encoding": "chunked"})
    return head.replace(b"content-length: 0\r\n", b"") + body


@asynccontextmanager
async def _connections(
    site: Site, count: int, begin: bytes = b""
) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connections that say so much and then nothing."""
    async with AsyncExitStack() as stack:
        readers = []
        for _ in range(count):
            reader, writer = await connected(site.url)
            stack.callback(writer.close)
            writer.write(begin)
            readers.append(reader)
        yield readers


@pytest.mark.parametrize("path", _PATHS)
async def test_a_body_without_end_or_length_is_refused(site: Site, path: str) -> None:
    """Protects memory and disks from bodies that do not say how large they are: they end at the limit."""
    before_kb = _resident_kb(site)
    reader, writer = await connected(site.url)
    writer.write(_chunked(path))
    piece = b"100000\r\n" + b" " * _MIB + b"\r\n"
    answer = asyncio.create_task(reader.readuntil(b"\r\n"))  # noqa: TID251 - held by this test
    sent_bytes = 0
    while not answer.done() and sent_bytes < 2 * _LIMIT_BYTES:
        writer.write(piece)
        sent_bytes += _MIB
        await asyncio.wait_for(writer.drain(), 20)
    assert (await asyncio.wait_for(answer, 20)).startswith(b"HTTP/1.1 413")
    writer.close()
    assert sent_bytes > _LIMIT_BYTES
    assert _resident_kb(site) - before_kb < _GROWTH_KB
    assert site.simulator.record.requests == []


async def test_a_compressed_bomb_is_refused_for_what_it_unfolds_to(site: Site) -> None:
    """Protects memory from a small body that nginx lets through and that becomes a large one."""
    before_kb = _resident_kb(site)
    bomb = gzip.compress(b" " * (2 * _LIMIT_BYTES), 9)
    answer = await ask(site.url, "/v1/messages", bomb, headers={"content-encoding": "gzip"})
    assert answer.status == 413
    assert answer.error()["type"] == "request_too_large"
    assert _resident_kb(site) - before_kb < _GROWTH_KB
    assert site.simulator.record.requests == []


async def test_more_bytes_than_declared_are_not_part_of_the_body(site: Site) -> None:
    """Protects the end of a request from a length that is too small, on a connection nginx keeps."""
    body = messages_body()
    data = request("/v1/messages", body, headers={"connection": "keep-alive"})
    talk = await converse(site.url, data + b"x" * 100_000)
    assert [answer.status for answer in talk.answers] == [200, 400]
    (received,) = site.simulator.record.requests
    assert received.body == body


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-slow: ",
        request("/v1/messages", messages_body())[:-20],
    ],
    ids=["idle", "amid the head", "amid the body"],
)
async def test_many_connections_that_say_nothing_hinder_nobody(site: Site, begin: bytes) -> None:
    """Protects other clients from hundreds that only hold a connection, wherever in their request they stop."""
    async with _connections(site, _IDLE, begin):
        for _ in range(10):
            assert (await ask(site.url, "/v1/messages", messages_body())).status == 200
    assert site.simulator.record.requests_total == 10


@pytest.mark.long
@pytest.mark.skipif(not SOAKING, reason="waits for times that are not to be shortened; SOAK=1 runs it")
@pytest.mark.parametrize(
    ("begin", "within_s"),
    [
        (b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-slow: ", _HEAD_WITHIN_S),
        (request("/v1/messages", messages_body())[:-20], _BODY_WITHIN_S),
    ],
    ids=["head", "body"],
)
async def test_a_request_that_stands_still_is_cut_off(site: Site, begin: bytes, within_s: float) -> None:
    """Protects connections from clients that begin a request and never end it."""
    began_s = clock.monotonic_s()
    async with _connections(site, 1, begin) as (reader,):
        with suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), within_s + _LATE_BY_S)
    assert clock.monotonic_s() - began_s > within_s / 2


async def test_a_slow_but_steady_body_is_waited_for(site: Site) -> None:
    """Protects slow networks: what comes in drops is passed on in drops, and is whole in the end."""
    body = messages_body("x" * 5000)
    reader, writer = await connected(site.url)
    writer.write(request("/v1/messages", headers={"content-length": str(len(body))}))
    for begin in range(0, len(body), 500):
        writer.write(body[begin : begin + 500])
        await asyncio.sleep(0.1)
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200")
    writer.close()
    assert [received.body for received in site.simulator.record.requests] == [body]


async def test_requests_nobody_waits_for_are_not_taken_without_end(site: Site) -> None:
    """Protects memory from a client that only writes: while an answer is waited for, nothing more reaches a gateway."""
    site.simulator.script(ANY_KEY, then=Step("delay", seconds=3.0))
    before_kb = _resident_kb(site)
    _, writer = await connected(site.url)
    asked = request("/v1/messages", messages_body(), headers={"connection": "keep-alive"})
    writer.write(asked)
    taken_bytes = 0
    with suppress(TimeoutError):
        while taken_bytes < _FLOOD_BYTES:
            writer.write(asked * 1000)
            await asyncio.wait_for(writer.drain(), _TAKEN_WITHIN_S)
            taken_bytes += len(asked) * 1000
    assert taken_bytes < _FLOOD_BYTES
    assert site.simulator.record.requests_total == 1
    assert _resident_kb(site) - before_kb < _GROWTH_KB / 4
    writer.transport.abort()


async def test_more_connections_than_there_may_be_are_told_to_come_again(tmp_path: Path) -> None:
    """Protects the streams there are from those beyond, and these from a page of HTML; nginx is no single client."""
    async with simulated() as claude, AsyncExitStack() as stack:
        settings = {
            "ANTHROPIC_API_KEYS": "k1",
            "ANTHROPIC_BASE_URL": claude.url,
            "RELAY_CONNECTIONS_MAX": str(_TAKEN),
            "RELAY_CONNECTIONS_PER_ADDRESS_MAX": "1",
            "TRUSTED_PROXIES": "127.0.0.1/32",
        }
        claude.script(ANY_KEY, [Step("stall_mid", after=3)] * _TAKEN)
        replica = await stack.enter_async_context(gateway(tmp_path, settings))
        address = replica.url.removeprefix("http://")
        front = await stack.enter_async_context(nginx(tmp_path / "nginx", [address]))
        leaving = [await _streaming(front.url, stack) for _ in range(_TAKEN)]
        refused = await _asked(front.url)
        assert refused.status == 503
        assert refused.header("retry-after") == "2"
        assert refused.error()["type"] == "api_error"
        leaving[0].transport.abort()

        async def served() -> bool:
            return (await _asked(front.url)).status == 200

        await eventually(served)


async def _streaming(url: str, stack: AsyncExitStack) -> asyncio.StreamWriter:
    """A stream that has begun and does not go on."""
    reader, writer = await connected(url)
    stack.callback(writer.close)
    writer.write(ENDPOINTS["messages"].request(stream=True))
    await asyncio.wait_for(reader.readuntil(b"data: "), 20)
    return writer


async def _asked(url: str) -> Answer:
    return await ask(url, "/v1/messages", messages_body())


@pytest.mark.parametrize(
    ("doubled", "allowed"),
    [
        (f"authorization: Bearer {CLIENT_KEY}\r\nauthorization: Bearer another", {400, 401}),
        (f"authorization: Bearer another\r\nauthorization: Bearer {CLIENT_KEY}", {400, 401}),
        (f"x-api-key: {CLIENT_KEY}\r\nx-api-key: another", {401}),
        (f"x-api-key: another\r\nx-api-key: {CLIENT_KEY}", {401}),
        (f"x-api-key: {CLIENT_KEY}\r\nx_api_key: another", {200}),
    ],
    ids=[
        "authorization",
        "authorization, wrong one first",
        "key",
        "key, wrong one first",
        "with underscores",
    ],
)
async def test_a_key_that_comes_twice_opens_nothing(site: Site, doubled: str, allowed: set[int]) -> None:
    """Protects the decision whose request it is from whichever of two keys nginx would pass on."""
    data = request("/v1/models", method="GET", key=None).replace(
        b"\r\n\r\n", f"\r\n{doubled}\r\n\r\n".encode()
    )
    talk = await converse(site.url, data, first=True)
    assert talk.status in allowed, talk.wire


async def test_two_hundred_headers_and_a_thousand_chunk_extensions_are_no_failure(site: Site) -> None:
    """Protects against a 500 for what is only odd."""
    headers = {f"x-number-{number}": "x" for number in range(200)}
    answer = await ask(site.url, "/v1/models", method="GET", headers=headers)
    assert answer.status in {200, 400, 431}
    body = messages_body()
    extended = b"%x" % len(body) + b";name=value" * 1000 + b"\r\n" + body + b"\r\n0\r\n\r\n"
    talk = await converse(site.url, _chunked("/v1/messages", extended), first=True)
    assert talk.status in {200, 400}
    assert all(received.body == body for received in site.simulator.record.requests)


async def _guesses(site: Site, local_address: str, count: int) -> list[int]:
    """So many wrong keys from one address of this machine."""
    connector = aiohttp.TCPConnector(local_addr=(local_address, 0))
    statuses = []
    async with aiohttp.ClientSession(connector=connector) as session:
        for number in range(count):
            wrong = {"x-api-key": f"wrong-{number}", "x-forwarded-for": "127.0.0.3"}
            async with session.get(f"{site.url}/v1/models", headers=wrong) as answer:
                statuses.append(answer.status)
    return statuses


async def test_each_client_behind_nginx_has_an_address_of_its_own(site: Site) -> None:
    """Protects clients from being throttled for another's guesses: nginx says who asks, and is believed."""
    guessed = await _guesses(site, "127.0.0.2", 40)
    assert guessed[-1] == 429
    # the address they all claimed, and every other one, is free of blame
    assert await _guesses(site, "127.0.0.3", 2) == [401, 401]
