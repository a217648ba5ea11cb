"""Answers in the form their request asked for, however their stream is cut."""

import msgspec
import pytest

from proxy.dialects.anthropic import StreamDecoder
from proxy.dialects.common import AnswerForm, Rendering
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dialects.openai_chat.shaping import ToolText, shaped_message, shaped_stream
from proxy.dialects.openai_chat.stream import ChatStreamEncoder
from proxy.model.content import TextBlock, ToolUseBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Event,
    InputJsonDelta,
    MessageDelta,
    Stop,
    TextDelta,
)
from proxy.model.message import Message
from tests.conformance.dialects.slicing import slicings, stream

_CAP_BYTES = 1 << 20
_FENCED = '```json\n{"a": "ä"}\n```'  # fmt: skip


def _frame(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"


def _stream(block: dict[str, object], deltas: list[dict[str, object]], stop: str) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    return b"".join(
        [
            _frame("message_start", message=message | {"usage": {"input_tokens": 1, "output_tokens": 1}}),
            _frame("content_block_start", index=0, content_block=block),
            *(_frame("content_block_delta", index=0, delta=delta) for delta in deltas),
            _frame("content_block_stop", index=0),
            _frame("message_delta", delta={"stop_reason": stop}, usage={"output_tokens": 9}),
            _frame("message_stop"),
        ]
    )


def _json(*pieces: str) -> list[dict[str, object]]:
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


_STREAMS = {
    "a fence": (
        AnswerForm(unfence=True),
        _stream(
            {"type": "text", "text": ""}, [{"type": "text_delta", "text": one} for one in _FENCED], "end_turn"
        ),
        b'"content":"\xc3\xa4"',
    ),
    "a tool that is the text": (
        AnswerForm(text_tool="n"),
        _stream(
            {"type": "tool_use", "id": "t", "name": "n", "input": {}}, _json("", '{"a"', ": 1}"), "tool_use"
        ),
        b'"content":": 1}"',
    ),
    "a custom tool": (
        AnswerForm(custom_tools=frozenset(("g",))),
        _stream(
            {"type": "tool_use", "id": "t", "name": "g", "input": {}}, _json('{"inp', 'ut": "x"}'), "tool_use"
        ),
        b'"custom":{"input":"x"}',
    ),
    "a call of the old style": (
        AnswerForm(legacy_call=True),
        _stream({"type": "tool_use", "id": "t", "name": "f", "input": {}}, _json('{"a":', "1}"), "tool_use"),
        b'"function_call":{"arguments":"1}"}',
    ),
}


@pytest.mark.parametrize(("form", "wire", "shown"), _STREAMS.values(), ids=_STREAMS.keys())
def test_every_cut_of_the_stream_gives_the_same_bytes(form: AnswerForm, wire: bytes, shown: bytes) -> None:
    """Protects every form from depending on how the network cuts the answer."""
    rendering = Rendering(request_id="r", created_s=1, model="m", form=form)
    outs = set()
    for _, chunks in slicings(wire):
        decoder, encoder = StreamDecoder(_CAP_BYTES), OpenAIChatDialect().stream_encoder(rendering)
        outs.add(b"".join(encoder.encode(decoder.feed(chunk)) for chunk in chunks))
    (out,) = outs
    assert shown in out
    assert b"```" not in out
    assert out.endswith(b"data: [DONE]\n\n")


def test_an_ordinary_answer_is_left_alone() -> None:
    """A form nobody asked for costs nothing."""
    rendering = Rendering(request_id="r", created_s=1, model="m")
    encoder = ChatStreamEncoder(rendering)
    assert shaped_stream(encoder, rendering.form) is encoder
    message = Message(content=[TextBlock("```\n{}\n```")])
    assert shaped_message(message, rendering.form) is message


def test_only_the_one_tool_becomes_text() -> None:
    """Other calls, and the reason to stop that belongs to them, stay."""
    other = ToolUseBlock("u", "other", msgspec.Raw(b"{}"))
    message = Message(
        content=[ToolUseBlock("t", "n", msgspec.Raw(b'{"a":1}')), other], stop_reason="tool_use"
    )
    shaped = shaped_message(message, AnswerForm(text_tool="n"))
    assert shaped.content == [TextBlock('{"a":1}'), other]
    assert shaped.stop_reason == "tool_use"


def test_input_that_came_whole_is_told_at_the_end_of_its_block() -> None:
    """And not a second time where deltas brought it."""
    whole = ToolUseBlock("t", "n", msgspec.Raw(b'{"a":1}'))
    events: list[Event] = [ContentBlockStart(0, whole), ContentBlockStop(0), MessageDelta(Stop("tool_use"))]
    assert ToolText("n").cut(events) == [
        ContentBlockStart(0, TextBlock("")),
        ContentBlockDelta(0, TextDelta('{"a":1}')),
        ContentBlockStop(0),
        MessageDelta(Stop("end_turn")),
    ]
    deltas: list[Event] = [
        ContentBlockStart(0, whole),
        ContentBlockDelta(0, InputJsonDelta("{}")),
        ContentBlockStop(0),
    ]
    assert len(ToolText("n").cut(deltas)) == 3


def test_a_second_call_of_the_old_style_is_swallowed() -> None:
    """There is no room for it; the first stays whole."""
    rendering = Rendering(request_id="r", created_s=1, model="m", form=AnswerForm(legacy_call=True))
    encoder = OpenAIChatDialect().stream_encoder(rendering)
    out = encoder.encode(StreamDecoder(_CAP_BYTES).feed(stream("parallel_tools")))
    assert out.count(b'"name":') == 1
    assert b"Europe" not in out
    assert b'"finish_reason":"function_call"' in out
