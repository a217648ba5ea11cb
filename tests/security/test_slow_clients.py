"""A client that says nothing, or too little, is let go in its time, whatever it asks; a steady one is waited for."""

import asyncio
from collections.abc import Mapping
from typing import Final

import pytest

from proxy.server.app import ROUTES
from proxy.server.routes import ANTHROPIC, Access, Route
from proxy.simulator import ANY_KEY, Simulator, Step
from proxy.tasks import spawn
from tests.security.wire import Answer, converse, messages_body, request
from tests.support.departures import connected
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS: Final = {"RELAY_BODY_STALL_S": "0.5", "RELAY_HEAD_TIMEOUT_S": "2"}
LET_GO_S: Final = 10.0
DROP_EVERY_S: Final = 0.1
WITH_BODY: Final = tuple(route for route in ROUTES if route.method != "GET")
UNREAD: Final = frozenset(
    {
        ("POST", "/v1/responses/compact"),
        ("POST", "/v1/responses/{id}/cancel"),
        ("DELETE", "/v1/responses/{id}"),
        ("DELETE", "/v1/files/{id}"),
        ("POST", "/v1/messages/batches/{id}/cancel"),
        ("DELETE", "/v1/messages/batches/{id}"),
        ("DELETE", "/v1/conversations/{id}"),
        ("DELETE", "/v1/projects/{id}"),
        ("DELETE", "/v1/sessions/{id}"),
        ("POST", "/dashboard/logout"),
    }
)
"""What answers without looking at a body."""
FRAMINGS: Final[dict[str, tuple[Mapping[str, str], bytes]]] = {
    "of a declared length": ({"content-length": "60000"}, b" "),
    "chunked": ({"transfer-encoding": "chunked"}, b"1\r\n \r\n"),
}


def _head(address: str, route: Route, framing: Mapping[str, str]) -> bytes:
    """A request's head, as far as its body."""
    kind = "multipart/form-data; boundary=x" if route.path == "/v1/files" else "application/json"
    key = {Access.PUBLIC: None, Access.CLIENT: CLIENT_KEY}.get(route.access, ADMIN_KEY)
    path = route.path.format(id="none", alias="api-1", name="none", model="claude-sonnet-5-5")
    fields = {
        "host": address.removeprefix("http://"),
        "origin": address,
        "content-type": kind,
        "idempotency-key": f"{route.method}-{path}",
        "connection": "keep-alive",
    }
    head = request(path, method=route.method, key=key, headers={**fields, **framing})
    return head.replace(b"content-length: 0\r\n", b"")


async def _dripped(address: str, head: bytes, drop: bytes) -> Answer:
    """The answer to a body of which a drop comes at a time."""
    reader, writer = await connected(address)
    writer.write(head)

    async def drip() -> None:
        while True:
            await asyncio.sleep(DROP_EVERY_S)
            writer.write(drop)

    dripping = spawn(drip(), name="drip")
    received = b""
    try:
        async with asyncio.timeout(LET_GO_S):
            received = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in received.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            received += await reader.readexactly(length)
    finally:
        dripping.cancel()
        writer.close()
    status = int(received.split(b" ", 2)[1])
    return Answer(status, (), received.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(("framing", "drop"), FRAMINGS.values(), ids=FRAMINGS.keys())
async def test_a_dripping_body_is_refused_at_every_endpoint(
    address: str, claude: Simulator, framing: Mapping[str, str], drop: bytes
) -> None:
    """Protects connections from bodies that never end, where models are asked and where they are not."""
    answers = await asyncio.gather(
        *(_dripped(address, _head(address, route, framing), drop) for route in WITH_BODY)
    )
    told = {
        (route.method, route.path): answer.status for route, answer in zip(WITH_BODY, answers, strict=True)
    }
    assert {where for where, status in told.items() if status != 408} == UNREAD
    assert all(told[where] < 500 or where == ("POST", "/v1/responses/compact") for where in UNREAD), told
    for route, answer in zip(WITH_BODY, answers, strict=True):
        if answer.status == 408 and route.dialect is ANTHROPIC:
            assert answer.error()["type"] == "timeout_error"
        elif answer.status == 408:
            assert set(answer.error()) == {"message", "type", "param", "code"}
    # files are passed on while they come
    assert {received.path for received in claude.record.requests} <= {"/v1/files"}


async def test_a_slow_but_steady_body_is_waited_for(address: str, claude: Simulator) -> None:
    """Protects slow networks: a body may take many times as long as it may pause."""
    body = messages_body("x" * 5000)
    reader, writer = await connected(address)
    writer.write(request("/v1/messages", headers={"content-length": str(len(body))}))
    for begin in range(0, len(body), 500):
        writer.write(body[begin : begin + 500])
        await asyncio.sleep(DROP_EVERY_S)
    assert (await asyncio.wait_for(reader.readline(), LET_GO_S)).startswith(b"HTTP/1.1 200")
    writer.close()
    assert [received.body for received in claude.record.requests] == [body]


HEADS: Final = {
    "silence": (b"", b""),
    "a byte at a time of a request line": (b"GET /", b"a"),
    "a byte at a time of a header": (b"GET /live HTTP/1.1\r\nhost: gateway\r\nx: ", b"a"),
    "a line at a time of endless headers": (b"GET /live HTTP/1.1\r\nhost: gateway\r\n", b"x: y\r\n"),
    "line breaks before a request": (b"", b"\r\n"),
}


@pytest.mark.parametrize(("first", "drop"), HEADS.values(), ids=HEADS.keys())
async def test_a_head_that_does_not_come_is_not_waited_for(address: str, first: bytes, drop: bytes) -> None:
    """Protects descriptors from whoever has shown no key and never will."""
    reader, writer = await connected(address)
    writer.write(first)

    async def drip() -> None:
        while drop:
            await asyncio.sleep(DROP_EVERY_S)
            writer.write(drop)

    dripping = spawn(drip(), name="drip")
    received = b""
    try:
        async with asyncio.timeout(LET_GO_S):
            while block := await reader.read(65536):
                received += block
    except ConnectionError:
        pass
    finally:
        dripping.cancel()
        writer.close()
    assert not received.startswith(b"HTTP/1.1 200")


async def test_an_answer_may_take_longer_than_a_head(address: str, claude: Simulator) -> None:
    """Protects long answers on new connections: what has been asked is no newcomer any more."""
    claude.script(ANY_KEY, [Step("delay", seconds=3.0)])
    talk = await converse(address, request("/v1/messages", messages_body()))
    assert talk.status == 200
