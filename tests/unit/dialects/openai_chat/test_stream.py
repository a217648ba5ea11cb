"""The chunks of a chat completion stream."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.anthropic import StreamDecoder
from proxy.dialects.common import Rendering, ThinkingFormat, Thought
from proxy.dialects.openai_chat.stream import ChatStreamEncoder
from proxy.dialects.sse import SseDecoder
from proxy.model.content import RedactedThinkingBlock, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    ErrorBody,
    ErrorEvent,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    Stop,
    TextDelta,
    ThinkingDelta,
)
from proxy.model.message import Message, Usage
from tests.conformance.dialects.slicing import stream
from tests.unit.model.streams import legal_streams

_CAP_BYTES = 1 << 20
_HEAD = (
    '{"id":"chatcmpl-01A","object":"chat.completion.chunk",'
    '"created":1795210000,"model":"claude-opus-5-5","choices":['
)
_USAGE = (
    '{"prompt_tokens":2572,"completion_tokens":89,"total_tokens":2661,'
    '"prompt_tokens_details":{"cached_tokens":512,"cache_write_tokens":2048},'
    '"completion_tokens_details":{"reasoning_tokens":31}}'
)


def _encoder(
    shown: ThinkingFormat = ThinkingFormat.REASONING_CONTENT, *, usage: bool = False
) -> ChatStreamEncoder:
    return ChatStreamEncoder(
        Rendering(
            request_id="req_1",
            created_s=1795210000,
            model="claude-opus-5-5",
            thinking_format=shown,
            include_usage=usage,
        )
    )


def _chunk(delta: str, finish: str = "null", *, usage: bool) -> str:
    told = ',"usage":null' if usage else ""
    return f'data: {_HEAD}{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":{finish}}}]{told}}}\n\n'


@pytest.mark.parametrize("usage", [True, False])
def test_the_bytes_of_a_stream_with_everything(usage: bool) -> None:
    """Byte for byte, with and without the usage chunk."""
    wire = stream("parallel_tools").replace(b"msg_01TranscriptAAAAAAAAAAAA", b"msg_01A")
    wire = wire.replace(
        b'"output_tokens":89', b'"output_tokens":89,"output_tokens_details":{"thinking_tokens":31}'
    )
    out = _encoder(usage=usage).encode(StreamDecoder(_CAP_BYTES).feed(wire))
    call = '"tool_calls":[{"index":%d,"id":"%s","type":"function","function":{"name":"%s","arguments":""}}]'
    part = '"tool_calls":[{"index":%d,"function":{"arguments":"%s"}}]'
    deltas = [
        '"role":"assistant","content":"","refusal":null',
        '"content":"Let me look. "',
        call % (0, "toolu_01B", "get_weather"),
        part % (0, r"{\"city\": \"Par"),
        part % (0, r"is\"}"),
        call % (1, "toolu_01C", "get_time"),
        part % (1, r"{\"zone\": "),
        part % (1, r"\"Europe/Paris\"}"),
    ]
    expected = "".join(_chunk(delta, usage=usage) for delta in deltas)
    expected += _chunk("", '"tool_calls"', usage=usage)
    if usage:
        expected += f'data: {_HEAD}],"usage":{_USAGE}}}\n\n'
    assert out.decode() == expected + "data: [DONE]\n\n"


def _deltas(out: bytes) -> list[dict[str, object]]:
    frames = SseDecoder(_CAP_BYTES).feed(out)
    return [msgspec.json.decode(f.data)["choices"][0]["delta"] for f in frames if f.data != b"[DONE]"]


@pytest.mark.parametrize(
    ("shown", "deltas"),
    [
        ("reasoning_content", [{"reasoning_content": "a"}, {"reasoning_content": "b"}, {"content": "x"}]),
        ("think", [{"content": "<think>a"}, {"content": "b"}, {"content": "</think>"}, {"content": "x"}]),
        ("none", [{"content": "x"}]),
    ],
)
def test_thinking_is_shown_as_asked(shown: str, deltas: list[object]) -> None:
    """Opened once, closed once, and not at all when there is nothing to show."""
    events: list[Event] = [
        ContentBlockStart(0, ThinkingBlock("")),
        ContentBlockDelta(0, ThinkingDelta("")),
        ContentBlockStop(0),
        ContentBlockStart(1, ThinkingBlock("")),
        ContentBlockDelta(1, ThinkingDelta("a")),
        ContentBlockDelta(1, ThinkingDelta("b")),
        ContentBlockStop(1),
        ContentBlockStart(2, TextBlock("")),
        ContentBlockDelta(2, TextDelta("x")),
        ContentBlockDelta(2, TextDelta("")),
        ContentBlockStop(2),
    ]
    encoder = _encoder(ThinkingFormat(shown))
    assert _deltas(encoder.encode([MessageStart(Message()), *events]))[1:] == deltas


_SIGNED: list[Event] = [
    MessageStart(Message()),
    ContentBlockStart(0, ThinkingBlock("")),
    ContentBlockDelta(0, ThinkingDelta("I ")),
    ContentBlockDelta(0, ThinkingDelta("think.")),
    ContentBlockDelta(0, SignatureDelta("s1")),
    ContentBlockStop(0),
    ContentBlockStart(1, RedactedThinkingBlock("xyz")),
    ContentBlockStop(1),
    ContentBlockStart(2, ToolUseBlock("t", "f", msgspec.Raw(b"{}"))),
    ContentBlockStop(2),
    ContentBlockStart(3, ToolUseBlock("u", "f", msgspec.Raw(b"{}"))),
    ContentBlockStop(3),
]
_DETAILS = [
    {
        "type": "reasoning.text",
        "text": "I think.",
        "signature": "s1",
        "format": "anthropic-claude-v1",
        "index": 0,
    },
    {"type": "reasoning.encrypted", "data": "xyz", "format": "anthropic-claude-v1", "index": 1},
]


@pytest.mark.parametrize("shown", list(ThinkingFormat))
def test_signed_thinking_is_told_whole_at_its_end(shown: ThinkingFormat) -> None:
    """One piece for each block, so that no client has to join any; none where no thinking is shown."""
    deltas = _deltas(_encoder(shown).encode(_SIGNED))
    details = [delta["reasoning_details"] for delta in deltas if "reasoning_details" in delta]
    assert details == ([] if shown is ThinkingFormat.NONE else [[one] for one in _DETAILS])


@pytest.mark.parametrize(
    ("stop", "ended", "count"), [("tool_use", True, 1), ("refusal", True, 0), ("tool_use", False, 0)]
)
def test_the_thinking_of_a_whole_turn_that_calls_tools_is_kept(stop: str, ended: bool, count: int) -> None:
    """By the id of its first call; what was refused or broken off is not."""
    found: list[tuple[str, list[Thought]]] = []

    def keep(call_id: str, thoughts: Sequence[Thought]) -> None:
        found.append((call_id, [*thoughts]))

    rendering = Rendering(request_id="r", created_s=1, model="m", keep=keep)
    encoder = ChatStreamEncoder(rendering)
    end: list[Event] = [MessageDelta(Stop(stop)), MessageStop()] if ended else []
    for event in [*_SIGNED, *end]:
        encoder.encode([event])
    kept = [Thought(0, ThinkingBlock("I think.", "s1")), Thought(1, RedactedThinkingBlock("xyz"))]
    assert found == [("t", kept)] * count


def test_blocks_that_are_whole_at_their_start_are_not_lost() -> None:
    """Some upstreams send text or tool input with the block itself."""
    events: list[Event] = [
        ContentBlockStart(0, TextBlock("a")),
        ContentBlockStop(0),
        ContentBlockStart(1, ToolUseBlock("t", "f", msgspec.Raw(b'{"a":1}'))),
        ContentBlockStop(1),
    ]
    text, _, arguments = _deltas(_encoder().encode([MessageStart(Message()), *events]))[1:]
    assert text == {"content": "a"}
    assert arguments == {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}


def test_tools_without_arguments_have_an_empty_object() -> None:
    """Empty text would be no JSON."""
    out = _encoder().encode(StreamDecoder(_CAP_BYTES).feed(stream("tool_without_arguments")))
    calls = [delta["tool_calls"] for delta in _deltas(out) if "tool_calls" in delta]
    assert calls[1] == [{"index": 0, "function": {"arguments": "{}"}}]
    assert calls[3] == [{"index": 1, "function": {"arguments": "{}"}}]
    assert len(calls) == 4


def test_server_tools_and_unknown_blocks_are_swallowed() -> None:
    """With their deltas: they are no calls the client could answer. What the answer cites of their findings stays."""
    for name in ("server_tool", "unknown_events_and_fields"):
        out = _encoder().encode(StreamDecoder(_CAP_BYTES).feed(stream(name)))
        assert all(set(delta) <= {"role", "content", "refusal", "annotations"} for delta in _deltas(out))


def test_a_refusal_is_told() -> None:
    """As a refusal and as a filtered finish."""
    out = _encoder().encode(StreamDecoder(_CAP_BYTES).feed(stream("refusal")))
    assert _deltas(out)[-2:] == [{"refusal": "This request was declined."}, {}]
    assert b'"finish_reason":"content_filter"' in out


def test_unknown_usage_is_null() -> None:
    """Not zero."""
    events: list[Event] = [MessageStart(Message()), MessageDelta(Stop("end_turn")), MessageStop()]
    out = _encoder(usage=True).encode(events)
    assert b'"choices":[],"usage":null}' in out


def test_usage_is_merged_from_all_events() -> None:
    """Early counts stay when later events leave them out."""
    events: list[Event] = [
        MessageStart(Message(usage=Usage(input_tokens=7))),
        MessageDelta(Stop("end_turn"), Usage(input_tokens=0, output_tokens=5)),
        MessageStop(),
    ]
    assert b'"prompt_tokens":7,"completion_tokens":5' in _encoder(usage=True).encode(events)


def test_an_error_event_is_left_to_whoever_sends_the_stream() -> None:
    """Else the client would get two."""
    assert _encoder().encode([ErrorEvent(ErrorBody())]) == b""


@given(
    legal_streams(), st.sampled_from(ThinkingFormat), st.booleans(), st.lists(st.integers(1, 5), max_size=9)
)
def test_any_legal_stream_keeps_the_clients_rules(
    events: list[Event], shown: ThinkingFormat, usage: bool, batches: list[int]
) -> None:
    """One role, contiguous tools, one finish, ``[DONE]`` last and only at the end; batches change nothing."""
    out = _encoder(shown, usage=usage).encode(events)
    encoder, pieces, rest = _encoder(shown, usage=usage), b"", events
    for size in [*batches, len(events)]:
        pieces, rest = pieces + encoder.encode(rest[:size]), rest[size:]
    assert pieces == out
    data = [frame.data for frame in SseDecoder(_CAP_BYTES).feed(out)]
    whole = isinstance(events[-1], MessageStop)
    assert data.count(b"[DONE]") == whole
    chunks = [msgspec.json.decode(each) for each in data if each != b"[DONE]"]
    assert sum(not chunk["choices"] for chunk in chunks) == (whole and usage)
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert sum(choice["finish_reason"] is not None for choice in choices) == whole
    assert sum("role" in choice["delta"] for choice in choices) <= 1
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", ())]
    assert [call["index"] for call in calls if "id" in call] == list(
        range(sum("id" in call for call in calls))
    )
    assert all("error" not in chunk for chunk in chunks)


def test_each_block_of_thinking_is_opened_and_closed() -> None:
    """Thinking between tool calls comes in several blocks."""
    events: list[Event] = [MessageStart(Message())]
    for index, text in enumerate("ab"):
        events += [
            ContentBlockStart(index, ThinkingBlock("")),
            ContentBlockDelta(index, ThinkingDelta(text)),
            ContentBlockStop(index),
        ]
    shown = [delta["content"] for delta in _deltas(_encoder(ThinkingFormat.THINK).encode(events))]
    assert "".join(map(str, shown)) == "<think>a</think><think>b</think>"
