"""Answers brought into the form their request asked for, before they are written in this dialect.

What was asked for in words may come in a code fence; what had to be a tool's input becomes the text it stands for.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from proxy.dialects.common import AnswerForm, StreamEncoder
from proxy.dialects.json_text import FenceCutter, unfenced_message
from proxy.model.content import Block, TextBlock, ToolUseBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Event,
    InputJsonDelta,
    MessageDelta,
    TextDelta,
)
from proxy.model.message import Message

_CALLED: Final = "tool_use"
_ENDED: Final = "end_turn"


def shaped_message(message: Message, form: AnswerForm) -> Message:
    """A whole answer in its form."""
    if form.unfence:
        return unfenced_message(message)
    if form.text_tool:
        return _with_text(message, form.text_tool)
    return message


def shaped_stream(encoder: StreamEncoder, form: AnswerForm) -> StreamEncoder:
    """An encoder whose events are brought into the form first; the encoder itself where there is nothing to do."""
    shaper = shaper_of(form)
    return encoder if shaper is None else ShapedEncoder(shaper, encoder)


def shaper_of(form: AnswerForm) -> "FenceCutter | ToolText | None":
    """What brings the events of one stream into the form; None where there is nothing to do."""
    if form.unfence:
        return FenceCutter()
    return ToolText(form.text_tool) if form.text_tool else None


def _with_text(message: Message, tool: str) -> Message:
    content = [_as_text(block, tool) for block in message.content]
    called = any(isinstance(block, ToolUseBlock) for block in content)
    return msgspec.structs.replace(
        message,
        content=content,
        stop_reason=_ENDED if message.stop_reason == _CALLED and not called else message.stop_reason,
    )


def _as_text(block: Block, tool: str) -> Block:
    if isinstance(block, ToolUseBlock) and block.name == tool:
        return TextBlock(bytes(block.input).decode("utf-8", "replace"))
    return block


class ToolText:
    """Makes the input of one tool the text of a streamed answer."""

    __slots__ = ("_input", "_open", "_tool")

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._open = False
        # what to say at the block's end, should no delta bring anything
        self._input = ""

    def cut(self, events: Iterable[Event]) -> list[Event]:
        """The events to be shown instead of these."""
        return [shown for event in events for shown in self._shown(event)]

    def _shown(self, event: Event) -> list[Event]:
        match event:
            case ContentBlockStart(index=index, content_block=ToolUseBlock(name=self._tool) as call):
                self._open, self._input = True, bytes(call.input).decode("utf-8", "replace")
                return [ContentBlockStart(index, TextBlock(""))]
            case ContentBlockDelta(index=index, delta=InputJsonDelta(partial_json=text)) if self._open:
                self._input = "" if text else self._input
                return [ContentBlockDelta(index, TextDelta(text))]
            case ContentBlockStop(index=index) if self._open:
                self._open = False
                rest: list[Event] = [ContentBlockDelta(index, TextDelta(self._input))] if self._input else []
                return [*rest, event]
            case MessageDelta(delta=stop) if stop.stop_reason == _CALLED:
                ended = msgspec.structs.replace(stop, stop_reason=_ENDED)
                return [msgspec.structs.replace(event, delta=ended)]
            case _:
                return [event]


class ShapedEncoder:
    """A stream encoder behind something that changes events."""

    __slots__ = ("_encoder", "_shaper")

    def __init__(self, shaper: FenceCutter | ToolText, encoder: StreamEncoder) -> None:
        self._shaper = shaper
        self._encoder = encoder

    def encode(self, events: Sequence[Event]) -> bytes:
        """See `proxy.dialects.common.StreamEncoder.encode`."""
        return self._encoder.encode(self._shaper.cut(events))
