"""Whatever is bounded is allowed up to its bound and refused one beyond it, in the words that are written down.

What is bounded elsewhere is tested there too: bodies, images, files, waits, guesses, histories.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import ANY_KEY, Simulator, Step
from tests.security.wire import MODEL, Answer, ask, converse, messages_body, request
from tests.support.departures import connected
from tests.support.gateway import ADMIN_KEY, Gateway, gateway
from tests.support.house import eventually
from tests.support.objects import MULTIPART, batch, multipart, params

pytestmark = pytest.mark.asyncio(loop_scope="module")

_KIB: Final = 1024
_BODY_BYTES: Final = 64 * _KIB
_BATCH_BYTES: Final = 80 * _KIB
_FILE_BYTES: Final = 96 * _KIB
_ANSWER_BYTES: Final = 32 * _KIB
_EVENT_BYTES: Final = 16 * _KIB
_QUEUE: Final = 3
_LINE_BYTES: Final = 8190
_CONNECTIONS: Final = "RELAY_CONNECTIONS_MAX"
_TAKEN: Final = 5
_LIVE: Final = b"GET /live HTTP/1.1\r\nhost: gateway\r\n\r\n"
SETTINGS: Final = {
    "ANTHROPIC_API_KEYS": "k1",
    "RELAY_BODY_MAX_BYTES": str(_BODY_BYTES),
    "RELAY_BATCH_MAX_BYTES": str(_BATCH_BYTES),
    "RELAY_FILE_MAX_BYTES": str(_FILE_BYTES),
    "RELAY_UPSTREAM_BODY_MAX_BYTES": str(_ANSWER_BYTES),
    "RELAY_EVENT_MAX_BYTES": str(_EVENT_BYTES),
    "RETRY_COUNT": "0",
    "POOL_STRIKES": "1000",
    "POOL_STRIKE_WINDOW_CALLS": "1000",
}


@dataclass(frozen=True, slots=True)
class Cap:
    """One bound.

    Attributes:
        most: what is still allowed.
        ask: sends a request of that size and gives its answer.
        refused: the status one beyond it.
        error: the type of error in the envelope; empty where the HTTP library answers before us.
    """

    most: int
    ask: Callable[[Gateway, Simulator, int], Awaitable[Answer]]
    refused: int
    error: str


def _padded(make: Callable[[str], bytes], size: int) -> bytes:
    return make("x" * (size - len(make(""))))


async def _body(server: Gateway, _: Simulator, size: int) -> Answer:
    return await ask(server.url, "/v1/messages", _padded(messages_body, size))


async def _batch(server: Gateway, _: Simulator, size: int) -> Answer:
    half = params("y" * (_BODY_BYTES // 2))
    return await ask(
        server.url, "/v1/messages/batches", _padded(lambda text: batch(half, params(text)), size)
    )


async def _file(server: Gateway, _: Simulator, size: int) -> Answer:
    body = _padded(lambda text: multipart(text.encode()), size)
    return await ask(server.url, "/v1/files", body, headers={"content-type": MULTIPART})


async def _answer(server: Gateway, claude: Simulator, size: int) -> Answer:
    empty = msgspec.json.encode(_message("end_turn", {"type": "text", "text": ""}))
    text = b'"text":"' + b"x" * (size - len(empty)) + b'"'
    body = empty.replace(b'"text":""', text)
    headers = {"content-type": "application/json"}
    claude.script(ANY_KEY, then=Step(do="raw", status=200, body_bytes=body, headers=headers))
    return await ask(server.url, "/v1/messages", messages_body())


async def _header(server: Gateway, _: Simulator, size: int) -> Answer:
    return await ask(server.url, "/v1/models", method="GET", headers={"x-large": "x" * size})


async def _target(server: Gateway, _: Simulator, size: int) -> Answer:
    path = "/v1/models?x="
    return await ask(server.url, path + "x" * (size - len(path)), method="GET")


async def _traces(server: Gateway, _: Simulator, number: int) -> Answer:
    return await ask(server.url, f"/admin/requests?limit={number}", method="GET", key=ADMIN_KEY)


async def _name(server: Gateway, _: Simulator, length: int) -> Answer:
    body = msgspec.json.encode({"name": "x" * length})
    return await ask(server.url, "/v1/projects", body)


CAPS: Final[Mapping[str, Cap]] = {
    "a request's body": Cap(_BODY_BYTES, _body, 413, "request_too_large"),
    "a batch": Cap(_BATCH_BYTES, _batch, 413, "request_too_large"),
    "an uploaded file": Cap(_FILE_BYTES, _file, 413, "request_too_large"),
    "an upstream's whole answer": Cap(_ANSWER_BYTES, _answer, 502, "api_error"),
    "a header's value": Cap(_LINE_BYTES, _header, 400, ""),
    "the address of a request": Cap(_LINE_BYTES, _target, 400, ""),
    "last requests on a page": Cap(1000, _traces, 400, "invalid_request_error"),
    "the name of a project": Cap(128, _name, 400, "invalid_request_error"),
}


@pytest.mark.parametrize("name", CAPS)
async def test_a_bound_allows_what_it_says_and_not_one_more(
    server: Gateway, claude: Simulator, name: str
) -> None:
    """Protects memory and other clients from requests without end, and clients from bounds that are off by one."""
    cap = CAPS[name]
    allowed = await cap.ask(server, claude, cap.most)
    assert allowed.status in {200, 201}, allowed.body[:300]
    claude.reset()
    refused = await cap.ask(server, claude, cap.most + 1)
    assert refused.status == cap.refused, refused.body[:300]
    if cap.error:
        assert refused.error()["type"] == cap.error


@pytest.mark.parametrize("beyond", [0, 1])
async def test_an_event_may_be_as_large_as_it_is_said(
    server: Gateway, claude: Simulator, beyond: int
) -> None:
    """Protects memory from an upstream that does not end its event; it breaks off, and says so."""
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}}
    event = b"event: content_block_delta\ndata: " + msgspec.json.encode(delta)
    text = b'"text":"' + b"x" * (_EVENT_BYTES + beyond - len(event)) + b'"'
    large = event.replace(b'"text":""', text) + b"\n\n"
    begun = msgspec.json.encode({"type": "message_start", "message": _message(None)})
    stream = b"event: message_start\ndata: " + begun + b"\n\n"
    stream += b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    stream += b'"content_block":{"type":"text","text":""}}\n\n' + large
    stream += b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    stream += b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn",'
    stream += b'"stop_sequence":null},"usage":{"output_tokens":1}}\n\n'
    stream += b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    claude.script(ANY_KEY, then=Step(stream_body=stream))
    talk = await converse(server.url, request("/v1/messages", messages_body(stream=True)))
    assert (b"event: message_stop" in talk.wire) is (beyond == 0)
    assert (b'"type":"api_error"' in talk.wire) is (beyond > 0)


def _message(stop_reason: str | None, *content: Mapping[str, str]) -> dict[str, object]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def narrow(tmp_path_factory: pytest.TempPathFactory, claude: Simulator) -> AsyncIterator[Gateway]:
    """A gateway with one place and a short queue."""
    folder = tmp_path_factory.mktemp("narrow")
    file = folder / "sessions.json"
    only = {"name": "only", "kind": "anthropic", "key": "k9", "base_url": claude.url, "max_concurrency": 1}
    file.write_bytes(msgspec.json.encode({"credentials": [only]}))
    file.chmod(0o600)
    async with gateway(folder, {"QUEUE_LENGTH": str(_QUEUE), "QUEUE_WAIT_S": "60"}) as running:
        yield running


async def test_as_many_wait_as_there_are_places_in_the_queue(narrow: Gateway, claude: Simulator) -> None:
    """Protects memory from requests that pile up: the next one is told at once to come again."""
    claude.script("k9", then=Step("delay", seconds=0.3))
    asked = [ask(narrow.url, "/v1/messages", messages_body()) for _ in range(1 + _QUEUE + 1)]
    answers = await asyncio.gather(*asked)
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [200] * (1 + _QUEUE) + [503]
    refused = next(answer for answer in answers if answer.status == 503)
    assert refused.header("retry-after") is not None


async def test_as_many_connections_are_taken_as_there_may_be(
    tmp_path_factory: pytest.TempPathFactory, claude: Simulator
) -> None:
    """Protects descriptors from clients that only connect, and the clients that came before them."""
    settings = {"ANTHROPIC_API_KEYS": "k1", "ANTHROPIC_BASE_URL": claude.url, _CONNECTIONS: str(_TAKEN)}
    async with gateway(tmp_path_factory.mktemp("doors"), settings) as running, AsyncExitStack() as stack:
        lines = []
        for _ in range(_TAKEN):
            reader, writer = await connected(running.url)
            stack.callback(writer.close)
            writer.write(_LIVE)
            assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200")
            lines.append((reader, writer))
        refused = await converse(running.url, _LIVE)
        assert (refused.wire, refused.closed) == (b"", True)
        for reader, writer in lines:
            writer.write(_LIVE)
            await asyncio.wait_for(reader.readuntil(b"HTTP/1.1 200"), 20)
        lines[0][1].transport.abort()
        await eventually(lambda: _has_room(running))


async def _has_room(server: Gateway) -> bool:
    return bool((await converse(server.url, _LIVE, first=True)).answers)
