"""A stream folded into the whole answer."""

import msgspec
import pytest
from hypothesis import given

from proxy.model.collect import Collector, json_object, raw_arguments
from proxy.model.content import Block, TextBlock, ThinkingBlock, ToolUseBlock
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
from proxy.model.grammar import GrammarError, State, StreamGrammar
from proxy.model.message import Message, StopDetails, Usage
from tests.unit.model.streams import legal_streams

_TOOL = ToolUseBlock("t", "f", msgspec.Raw(b"{}"))


def _collected(block: Block, *deltas: Delta, reason: str = "end_turn") -> Message:
    collector = Collector()
    events: list[Event] = [
        MessageStart(Message(id="msg_1", model="m", usage=Usage(input_tokens=5, output_tokens=1))),
        ContentBlockStart(0, block),
        *[ContentBlockDelta(0, delta) for delta in deltas],
        ContentBlockStop(0),
        MessageDelta(Stop(reason, "X", StopDetails("refusal")), Usage(output_tokens=9)),
        MessageStop(),
    ]
    for event in events:
        collector.add(event)
    return collector.message()


@pytest.mark.parametrize(
    ("block", "deltas", "whole"),
    [
        (TextBlock(""), [TextDelta("a"), TextDelta("b")], TextBlock("ab")),
        (TextBlock("x"), [], TextBlock("x")),
        (
            TextBlock("", citations=[]),
            [CitationsDelta(msgspec.Raw(b"{}")), TextDelta("a")],
            TextBlock("a", [msgspec.Raw(b"{}")]),
        ),
        (ThinkingBlock(""), [ThinkingDelta("a"), SignatureDelta("s")], ThinkingBlock("a", "s")),
        (_TOOL, [], _TOOL),
        (_TOOL, [InputJsonDelta("")], _TOOL),
        (
            _TOOL,
            [InputJsonDelta('{"a": '), InputJsonDelta("1}")],
            ToolUseBlock("t", "f", msgspec.Raw(b'{"a": 1}')),
        ),
        (_TOOL, [InputJsonDelta("[1]")], ToolUseBlock("t", "f", msgspec.Raw(b'{"_raw_arguments":"[1]"}'))),
        (
            msgspec.Raw(b'{"type":"server_tool_use","id":"s","input":{}}'),
            [InputJsonDelta('{"q":1}')],
            msgspec.Raw(b'{"type":"server_tool_use","id":"s","input":{"q":1}}'),
        ),
        (msgspec.Raw(b'{"type":"other"}'), [msgspec.Raw(b'{"type":"d"}')], msgspec.Raw(b'{"type":"other"}')),
    ],
)
def test_each_kind_of_block_becomes_whole(block: Block, deltas: list[Delta], whole: Block) -> None:
    """What the API would have answered without streaming."""
    assert _collected(block, *deltas).content == [whole]


def test_the_end_and_the_usage_are_taken_over() -> None:
    """Reason, details and counts come from the events that tell them."""
    message = _collected(TextBlock(""))
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", "X")
    assert message.stop_details == StopDetails("refusal")
    assert message.usage == Usage(input_tokens=5, output_tokens=9)


def test_a_call_cut_off_by_the_limit_is_left_out() -> None:
    """Half a JSON text is no input, and a tool must not run on it."""
    assert _collected(_TOOL, InputJsonDelta('{"a": "b'), reason="max_tokens").content == []


@given(legal_streams())
def test_only_a_complete_stream_has_a_message(events: list[Event]) -> None:
    """A stream that stopped early gives no answer, whatever it said."""
    collector, grammar = Collector(), StreamGrammar()
    for event in events:
        with pytest.raises(GrammarError):
            collector.message()
        collector.add(event)
        grammar.accept(event)
    if grammar.state is State.COMPLETE:
        assert collector.message().id == "msg_1"
    else:
        with pytest.raises(GrammarError):
            collector.message()


def test_an_illegal_event_is_refused() -> None:
    """The fold keeps the grammar."""
    with pytest.raises(GrammarError):
        Collector().add(MessageStop())


@pytest.mark.parametrize("text", ["", "[]", "1", "{", '{"a":1}x', '{"a":NaN}', "[" * 5000, '{"a":"\\ud800"}'])
def test_only_objects_are_tool_input(text: str) -> None:
    """Everything else would be refused by the upstream, or is none of JSON."""
    assert json_object(text) is None


@pytest.mark.parametrize(
    ("text", "kept"), [("", b"{}"), (" \n", b"{}"), ("[1]", b'{"_raw_arguments":"[1]"}')]
)
def test_arguments_that_are_no_object_are_kept_as_text(text: str, kept: bytes) -> None:
    """A history with a model's bad JSON can still be sent on."""
    assert bytes(raw_arguments(text)) == kept
