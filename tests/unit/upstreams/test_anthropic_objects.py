"""What a call about files or batches carries, and what its answers mean."""

from collections.abc import AsyncIterator

import pytest

from proxy.exchange import Operation
from proxy.pool import Fault
from proxy.settings import Policy
from proxy.simulator import EndedBy, Simulator, Step
from proxy.upstreams.anthropic_objects import AnthropicObjects, ObjectCall
from proxy.upstreams.base import UpstreamFault, UpstreamRefused
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch
from tests.support.house import until
from tests.support.objects import MULTIPART, multipart
from tests.unit.upstreams.building import credential


@pytest.fixture
async def upstream() -> AsyncIterator[AnthropicObjects]:
    """One with ways out of its own."""
    ways_out = WaysOut(Policy())
    yield AnthropicObjects(ways_out)
    await ways_out.close()


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _broken_off(simulator: Simulator, body: bytes) -> AsyncIterator[bytes]:
    """A body that breaks off once the upstream has begun to read it."""
    yield body
    await until(lambda: bool(simulator.record.requests))
    raise ValueError("the client left")


def _upload(length: int | None = None) -> ObjectCall:
    return ObjectCall(
        operation=Operation.FILES,
        method="POST",
        version="2023-06-01",
        beta="some-beta",
        content_type=MULTIPART,
        content_length=length,
    )


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_goes_out_as_it_comes(
    simulator: Simulator, upstream: AnthropicObjects, declared: bool
) -> None:
    """Protects uploads: the length where it is known, chunks where it is not, and the key in its header alone."""
    body = multipart(b"hello")
    call = _upload(len(body) if declared else None)
    reply = await upstream.open(call, credential(simulator.url), Watch(), 5.0, _pieces(body[:20], body[20:]))
    assert reply.status == 200
    await reply.read_all(Watch(), 5.0)
    reply.close()
    received = simulator.record.requests[-1]
    assert (received.method, received.path) == ("POST", "/v1/files")
    assert received.header("content-type") == MULTIPART
    assert received.header("anthropic-version") == "2023-06-01"
    assert received.header("anthropic-beta") == "some-beta"
    assert received.header("x-api-key") == "canary-key-1"
    assert received.header("content-length") == (str(len(body)) if declared else None)
    assert received.header("transfer-encoding") == (None if declared else "chunked")
    (stored,) = simulator.objects.files.values()
    assert stored.view["size_bytes"] == 5


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_breaks_off_leaves_nothing_behind(
    simulator: Simulator, upstream: AnthropicObjects, declared: bool
) -> None:
    """Protects the upstream from half a file that looks whole."""
    body = multipart(b"hello")
    call = _upload(len(body) + 5 if declared else None)
    with pytest.raises(UpstreamFault):
        await upstream.open(call, credential(simulator.url), Watch(), 5.0, _broken_off(simulator, body))
    await until(lambda: simulator.record.requests[-1].ended_by is not None)
    assert simulator.record.requests[-1].ended_by is EndedBy.CLIENT
    assert simulator.objects.files == {}


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (ObjectCall(operation=Operation.FILES, method="GET", version="v"), "/v1/files"),
        (
            ObjectCall(
                operation=Operation.FILES, method="GET", version="v", query=(("ids[]", "a"), ("ids[]", "b"))
            ),
            "/v1/files?ids[]=a&ids[]=b",
        ),
        (
            ObjectCall(operation=Operation.FILES, method="GET", id="file_1", part="content", version="v"),
            "/v1/files/file_1/content",
        ),
        (
            ObjectCall(operation=Operation.BATCHES, method="POST", id="b_1", part="cancel", version="v"),
            "/v1/messages/batches/b_1/cancel",
        ),
    ],
)
async def test_a_call_goes_to_its_path(
    simulator: Simulator, upstream: AnthropicObjects, call: ObjectCall, path: str
) -> None:
    """Protects the addresses."""
    simulator.script("canary-key-1", [Step("raw", status=200, body="{}")])
    reply = await upstream.open(call, credential(simulator.url), Watch(), 5.0)
    reply.close()
    assert simulator.record.requests[-1].path.replace("%5B%5D", "[]") == path


async def test_an_error_is_a_refusal_and_another_success_is_garbage(
    simulator: Simulator, upstream: AnthropicObjects
) -> None:
    """Protects the pool's judgement: what was refused is told in the upstream's own words."""
    call = ObjectCall(operation=Operation.FILES, method="GET", id="file_9", version="v")
    with pytest.raises(UpstreamRefused) as refused:
        await upstream.open(call, credential(simulator.url), Watch(), 5.0)
    assert (refused.value.error.status, refused.value.error.message) == (404, "File not found: file_9")
    simulator.script("canary-key-1", [Step("status", status=204, body="")])
    with pytest.raises(UpstreamFault) as fault:
        await upstream.open(call, credential(simulator.url), Watch(), 5.0)
    assert fault.value.fault is Fault.GARBAGE
