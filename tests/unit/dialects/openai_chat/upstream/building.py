"""Chunks and frames of streamed chat completions."""

import msgspec

from proxy.dialects.openai_chat.upstream import ChatStreamDecoder
from proxy.model.collect import Collector
from proxy.model.events import Event
from proxy.model.grammar import StreamGrammar
from proxy.model.message import Message

CAP_BYTES = 64 * 1024
DONE = b"data: [DONE]\n\n"
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def frame(**fields: object) -> bytes:
    """One frame of a stream."""
    plain = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + msgspec.json.encode(plain | fields) + b"\n\n"


def delta(finish: str | None = None, **fields: object) -> bytes:
    """A chunk that adds these fields to the first choice."""
    return frame(choices=[{"index": 0, "delta": fields, "finish_reason": finish}])


def call(index: int | None = None, **fields: object) -> bytes:
    """A chunk that brings a piece of a tool call; `name` and `arguments` are those of its function."""
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    piece = fields | ({} if index is None else {"index": index}) | {"function": function}
    return delta(tool_calls=[piece])


ROLE = delta(role="assistant", content="")
HELLO = delta(content="Hello")
WORLD = delta(content=" world")
STOP = delta("stop")
SPENT = frame(choices=[], usage=USAGE)
WHOLE = (ROLE, HELLO, WORLD, STOP, SPENT, DONE)


def decoded(*frames: bytes) -> list[Event]:
    """The events of a stream, which has to keep the grammar."""
    decoder = ChatStreamDecoder(CAP_BYTES)
    events = [event for each in frames for event in decoder.feed(each)]
    events += decoder.end()
    grammar = StreamGrammar()
    for event in events:
        grammar.accept(event)
    return events


def collected(*frames: bytes) -> Message:
    """The answer a stream makes; fails for one that is not whole."""
    collector = Collector()
    for event in decoded(*frames):
        collector.add(event)
    return collector.message()
