"""Streams of events by hand, and what a response makes of them, for the tests of its rooms."""

from collections.abc import Sequence

import msgspec

from proxy.dialects.common import PLAIN_FORM, AnswerForm
from proxy.dialects.openai_responses import ResponsesDialect
from proxy.model.content import TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
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
from proxy.model.message import Message, StopDetails, Usage
from tests.unit.dialects.openai_responses.building import (
    RENDERING,
    asked,
    told,
)

SEALED = {"include": ["reasoning.encrypted_content"]}
START = MessageStart(Message(usage=Usage(input_tokens=7, output_tokens=1, cache_read_input_tokens=3)))
CUSTOM = {"type": "custom", "name": "f"}
GROUPED = {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]}


def block(index: int, block: TextBlock | ThinkingBlock | ToolUseBlock, *deltas: object) -> list[Event]:
    """A block from its begin to its end."""
    made = [ContentBlockDelta(index, delta) for delta in deltas]  # type: ignore[arg-type]  # deltas all
    return [ContentBlockStart(index, block), *made, ContentBlockStop(index)]


def end(reason: str, **details: str) -> list[Event]:
    """How an answer ends."""
    stop = Stop(reason, stop_details=StopDetails(**details) if details else None)
    return [MessageDelta(stop, Usage(output_tokens=5)), MessageStop()]


THINKING = block(0, ThinkingBlock(""), ThinkingDelta("thi"), ThinkingDelta("nk"), SignatureDelta("SIG"))
TEXT = block(1, TextBlock(""), TextDelta("Hel"), TextDelta(""), TextDelta("lo"))
TOOL = block(
    2, ToolUseBlock("toolu_1", "get", msgspec.Raw(b"{}")), InputJsonDelta('{"a"'), InputJsonDelta(":1}")
)
TEXT_ALONE = block(0, TextBlock(""), TextDelta("Hi"))


def streamed(
    events: Sequence[Event], dialect: ResponsesDialect | None = None, form: AnswerForm = PLAIN_FORM
) -> list[dict[str, object]]:
    """The events a response tells these as."""
    rendering = msgspec.structs.replace(RENDERING, form=form)
    return told((dialect or asked()).stream_encoder(rendering).encode(events))


def kinds(events: Sequence[dict[str, object]]) -> list[str]:
    """The types of events, without what all of them begin with."""
    return [str(event["type"]).removeprefix("response.") for event in events]


def final(events: Sequence[dict[str, object]]) -> dict[str, object]:
    """The response as it ends."""
    return msgspec.convert(events[-1]["response"], dict[str, object])


def output(events: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Its items."""
    return msgspec.convert(final(events)["output"], list[dict[str, object]])
