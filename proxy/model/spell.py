"""A whole answer told as a stream, for callers that asked for one and an upstream that did not give it."""

from collections.abc import Iterator

import msgspec

from proxy.model.content import EMPTY_OBJECT, Block, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    CitationsDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Delta,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    Stop,
    TextDelta,
    ThinkingDelta,
)
from proxy.model.message import Message


def spelled(message: Message) -> Iterator[Event]:
    """The events whose fold is `message`, each block in as few deltas as there are kinds of them."""
    yield MessageStart(
        msgspec.structs.replace(message, content=[], stop_reason=None, stop_sequence=None, stop_details=None)
    )
    for index, block in enumerate(message.content):
        opened, deltas = _opened(block)
        yield ContentBlockStart(index, opened)
        for delta in deltas:
            yield ContentBlockDelta(index, delta)
        yield ContentBlockStop(index)
    yield MessageDelta(Stop(message.stop_reason, message.stop_sequence, message.stop_details), message.usage)
    yield MessageStop()


def _opened(block: Block) -> tuple[Block, list[Delta]]:
    """The block as it begins, and what fills it. What is not told in deltas begins whole."""
    match block:
        case TextBlock():
            empty = msgspec.structs.replace(block, text="", citations=None if block.citations is None else [])
            cited: list[Delta] = [CitationsDelta(citation) for citation in block.citations or ()]
            return empty, [TextDelta(block.text), *cited]
        case ThinkingBlock():
            return ThinkingBlock(""), [ThinkingDelta(block.thinking), SignatureDelta(block.signature)]
        case ToolUseBlock():
            empty_call = msgspec.structs.replace(block, input=EMPTY_OBJECT)
            return empty_call, [InputJsonDelta(bytes(block.input).decode())]
        case _:
            return block, []
