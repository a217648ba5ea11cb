"""An upstream's whole answer read as the stream that was asked for."""

import msgspec

from proxy.dialects.anthropic import MessagesUpstream, StreamDecoder
from proxy.dispatch.spelled import SpelledReply
from proxy.model.collect import Collector
from proxy.model.content import TextBlock
from proxy.model.message import Message, Usage
from proxy.upstreams.base import Source
from proxy.watch import Watch

_MESSAGE = Message(
    id="msg_1", model="m", content=[TextBlock("Hello")], stop_reason="end_turn", usage=Usage(1, 2)
)
_FRAMES = MessagesUpstream().spelled(msgspec.json.encode(_MESSAGE))


async def test_its_bytes_are_a_whole_stream_and_then_nothing() -> None:
    """Protects the relay, which waits for the end of the body behind ``message_stop``."""
    reply = SpelledReply(_FRAMES, Source("req_1", "org_1"))
    assert reply.content_type == "text/event-stream"
    assert reply.source.organization == "org_1"
    decoder, collector = StreamDecoder(10_000), Collector()
    for event in decoder.feed(await reply.read()):
        collector.add(event)
    assert collector.message() == _MESSAGE
    assert decoder.observed.complete
    assert reply.ended
    assert await reply.read() == b""
    reply.close()


async def test_it_can_be_read_at_once() -> None:
    """Protects whoever collects a stream instead of relaying it."""
    reply = SpelledReply(_FRAMES, Source())
    assert (await reply.read_all(Watch(), 1.0)).startswith(b"event: message_start\ndata: {")
    assert reply.ended
