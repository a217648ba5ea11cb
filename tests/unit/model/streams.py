"""Legal streams, drawn from the grammar's own table."""

import msgspec
from hypothesis import strategies as st

from proxy.model.content import Block, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Delta,
    ErrorBody,
    ErrorEvent,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    Stop,
    TextDelta,
    ThinkingDelta,
)
from proxy.model.grammar import EventKind, walk
from proxy.model.message import Message, Usage

_BLOCKS: tuple[Block, ...] = (
    TextBlock(""),
    ThinkingBlock(""),
    ToolUseBlock("toolu_1", "f", msgspec.Raw(b"{}")),
)


@st.composite
def legal_streams(draw: st.DrawFn) -> list[Event]:
    """A sequence of events the grammar allows, from its first to one that ends it."""
    events: list[Event] = []
    index = 0
    block = _BLOCKS[0]
    # The table names what ends a stream last; drawn first, it makes the smallest example short.
    for kind in walk(lambda kinds: draw(st.sampled_from(kinds[::-1]))):
        event = _event(draw, kind, index, block)
        if isinstance(event, ContentBlockStart):
            block = event.content_block
        index += isinstance(event, ContentBlockStop)
        events.append(event)
    return events


def _delta(block: Block, text: str) -> Delta:
    if isinstance(block, ToolUseBlock):
        return InputJsonDelta(text)
    if isinstance(block, ThinkingBlock):
        return ThinkingDelta(text) if len(text) % 2 else SignatureDelta(text)
    return TextDelta(text)


def _event(draw: st.DrawFn, kind: EventKind, index: int, block: Block) -> Event:
    if kind is MessageStart:
        return MessageStart(Message(id="msg_1", model="m", usage=Usage(input_tokens=1, output_tokens=1)))
    if kind is ContentBlockStart:
        return ContentBlockStart(index, draw(st.sampled_from(_BLOCKS)))
    if kind is ContentBlockDelta:
        return ContentBlockDelta(index, _delta(block, draw(st.text(max_size=5))))
    if kind is ContentBlockStop:
        return ContentBlockStop(index)
    if kind is MessageDelta:
        reason = draw(st.sampled_from(["end_turn", "tool_use", "max_tokens", "refusal"]))
        return MessageDelta(Stop(reason), Usage(output_tokens=draw(st.integers(0, 9))))
    if kind is ErrorEvent:
        return ErrorEvent(ErrorBody("api_error", draw(st.text(max_size=5))))
    return MessageStop() if kind is MessageStop else Ping()
