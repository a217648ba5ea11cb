"""Chunks of other APIs become Anthropic's events, however they are cut, mixed or left out."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import StreamBroken
from proxy.dialects.openai_chat.upstream import ChatStreamDecoder
from proxy.model.content import TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ErrorEvent,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    Stop,
    TextDelta,
)
from proxy.model.message import Message, OutputTokensDetails, StopDetails, Usage
from tests.unit.dialects.openai_chat.upstream.building import (
    CAP_BYTES,
    DONE,
    HELLO,
    ROLE,
    SPENT,
    STOP,
    USAGE,
    WHOLE,
    WORLD,
    call,
    collected,
    decoded,
    delta,
    frame,
)

SPENT_CANONICAL = Usage(
    input_tokens=5,
    output_tokens=4,
    cache_read_input_tokens=3,
    cache_creation_input_tokens=2,
    output_tokens_details=OutputTokensDetails(1),
)


def _input(block: object) -> object:
    assert isinstance(block, ToolUseBlock)
    return msgspec.json.decode(block.input)


def test_a_plain_answer_becomes_one_block() -> None:
    """Protects the usual case down to each event."""
    assert decoded(*WHOLE) == [
        MessageStart(Message(id="msg_1", model="m")),
        ContentBlockStart(0, TextBlock("")),
        ContentBlockDelta(0, TextDelta("Hello")),
        ContentBlockDelta(0, TextDelta(" world")),
        *decoded(*WHOLE)[4:5],
        MessageDelta(Stop("end_turn"), SPENT_CANONICAL),
        MessageStop(),
    ]


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("stop", Stop("end_turn")),
        ("length", Stop("max_tokens")),
        ("tool_calls", Stop("tool_use")),
        ("function_call", Stop("tool_use")),
        ("content_filter", Stop("refusal", None, StopDetails("refusal"))),
        ("novelty", Stop("end_turn")),
    ],
)
def test_each_finish_reason_has_its_stop_reason(reason: str, stop: Stop) -> None:
    """Protects clients that act on why an answer ended."""
    assert decoded(HELLO, delta(reason), DONE)[-2] == MessageDelta(stop)


def test_a_stop_after_tool_calls_is_a_tool_use() -> None:
    """Protects clients from upstreams that call a tool and say they have only stopped."""
    message = collected(call(0, id="c1", name="f", arguments="{}"), STOP, DONE)
    assert message.stop_reason == "tool_use"


def test_a_refusal_is_told_with_its_words() -> None:
    """Protects clients from an empty answer where the model said why there is none."""
    message = collected(delta(refusal="I will "), delta(refusal="not."), STOP, DONE)
    assert (message.content, message.stop_reason) == ([], "refusal")
    assert message.stop_details == StopDetails("refusal", None, "I will not.")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_visible_thinking_becomes_a_block_before_the_text(name: str) -> None:
    """Protects thinking under either name, signed so that it is never taken for Claude's."""
    message = collected(delta(**{name: "Let "}), delta(**{name: "me see."}), HELLO, STOP, DONE)
    assert message.content == [ThinkingBlock("Let me see.", "gw1.unsigned"), TextBlock("Hello")]


def test_both_names_of_thinking_in_one_chunk_are_one_thought() -> None:
    """Protects clients from reading everything twice."""
    message = collected(delta(reasoning="Hm", reasoning_content="Hm"), STOP, DONE)
    assert message.content == [ThinkingBlock("Hm", "gw1.unsigned")]


def test_parallel_calls_come_one_after_the_other_whatever_their_order_was() -> None:
    """Protects clients that cannot take two open blocks: pieces of a later call wait for the earlier one's end."""
    message = collected(
        call(0, id="c1", type="function", name="f", arguments=""),
        call(1, id="c2", type="function", name="g", arguments='{"b":'),
        call(0, arguments='{"a":'),
        call(1, arguments="2}"),
        call(0, arguments="1}"),
        delta("tool_calls"),
        DONE,
    )
    first, second = message.content
    assert (_input(first), _input(second)) == ({"a": 1}, {"b": 2})


def test_a_call_whose_arguments_are_whole_makes_room_for_the_next_at_once() -> None:
    """Protects the time to the second call: it is not held back until the end of the answer."""
    events = decoded(
        call(0, id="c1", name="f", arguments='{"a":1}'), call(1, id="c2", name="g", arguments='{"b"')
    )
    assert events[-1] == ContentBlockDelta(1, InputJsonDelta('{"b"'))


@pytest.mark.parametrize(
    "frames",
    [
        (call(id="c1", name="f", arguments='{"a":1}'), call(id="c2", name="g", arguments='{"b":2}')),
        (call(0, id="c1", name="f", arguments='{"a":1}'), call(0, id="c2", name="g", arguments='{"b":2}')),
        (
            call(0, id="c1", name="f", arguments='{"a"'),
            call(0, id="c1", name="f", arguments=":1}"),
            call(1, id="c2", name="g", arguments='{"b":2}'),
            call(1, id="c2", name="g", arguments=""),
            call(0, id="c1", name="f", arguments=""),
        ),
        (
            call(0, id="c1"),
            call(0, name="f"),
            call(0, arguments='{"a":1}'),
            call(3, id="c2", name="g", arguments='{"b":2}'),
        ),
        (
            call(0, id="c1", name="f", arguments='{"a":1}'),
            call(1, id="c2", name="g", arguments='{"b":2}'),
            call(0, id="c1", name="f", arguments='{"a":1}'),
        ),
    ],
    ids=[
        "without index",
        "one index for all",
        "everything repeated",
        "name late, index skipped",
        "said twice",
    ],
)
def test_the_ways_of_other_vendors_are_understood(frames: tuple[bytes, ...]) -> None:
    """Protects tool use over APIs that speak the format loosely."""
    first, second = collected(*frames, STOP, DONE).content
    assert isinstance(first, ToolUseBlock)
    assert isinstance(second, ToolUseBlock)
    assert [(each.id, each.name, _input(each)) for each in (first, second)] == [
        ("c1", "f", {"a": 1}),
        ("c2", "g", {"b": 2}),
    ]


def test_a_call_in_the_style_before_tools_is_a_tool_use() -> None:
    """Protects clients over upstreams that have not moved on."""
    message = collected(
        delta(function_call={"name": "f", "arguments": '{"a":'}),
        delta(function_call={"arguments": "1}"}),
        delta("function_call"),
        DONE,
    )
    (block,) = message.content
    assert (_input(block), message.stop_reason) == ({"a": 1}, "tool_use")


def test_ids_are_made_fit_and_made_up_where_there_are_none() -> None:
    """Protects the next turn: Claude refuses an id with strange characters, and two of one name."""
    odd, missing, other = collected(
        call(0, id="functions.f:0", name="f", arguments="{}"),
        call(1, name="g", arguments="{}"),
        call(2, name="g", arguments="{}"),
        STOP,
        DONE,
    ).content
    ids = [block.id for block in (odd, missing, other) if isinstance(block, ToolUseBlock)]
    assert ids[0].startswith("functions_f_0_")
    assert len(set(ids)) == 3
    assert all(name.replace("_", "").isalnum() and name.isascii() for name in ids)
    assert ids[1].startswith("toolu_")


def test_text_between_calls_keeps_its_place() -> None:
    """Protects the order of an answer."""
    message = collected(
        HELLO, call(0, id="c1", name="f", arguments="{}"), WORLD, call(1, id="c2", name="g"), STOP, DONE
    )
    assert [type(block) for block in message.content] == [TextBlock, ToolUseBlock, TextBlock, ToolUseBlock]


def test_a_call_without_arguments_is_a_call() -> None:
    """Protects tools that take nothing."""
    (block,) = collected(call(0, id="c1", name="now"), delta("tool_calls"), DONE).content
    assert _input(block) == {}


@pytest.mark.parametrize(
    "frames",
    [
        (frame(choices=[], prompt_filter_results=[]), HELLO, STOP, DONE),
        (b": OPENROUTER PROCESSING\n\n", HELLO, STOP, DONE),
        (HELLO, frame(choices=[{"index": 1, "delta": {"content": "other"}}]), STOP, DONE),
        (
            HELLO,
            frame(choices=[{"index": 0, "delta": {"annotations": [1]}}], system_fingerprint="x"),
            STOP,
            DONE,
        ),
        (HELLO, STOP, DONE, frame(choices=[{"index": 0, "delta": {"content": "late"}}])),
        (HELLO, STOP, frame(choices=[{"index": 0, "delta": {"content": ""}}]), DONE),
        (HELLO, delta("stop", content=None), frame(choices=None), DONE),
    ],
)
def test_what_is_new_or_empty_costs_nobody_the_answer(frames: tuple[bytes, ...]) -> None:
    """Protects answers from fields, chunks and comments that mean nothing here."""
    assert collected(*frames).content == [TextBlock("Hello")]


@pytest.mark.parametrize("usage", [None, "x", {"prompt_tokens": "3"}, {"prompt_tokens": None}])
def test_usage_that_cannot_be_read_costs_nobody_the_answer(usage: object) -> None:
    """Protects answers of APIs that count in a way of their own."""
    message = collected(HELLO, STOP, frame(choices=[], usage=usage), DONE)
    assert message.usage.input_tokens is None


def test_usage_on_the_finish_chunk_counts() -> None:
    """Protects accounts over APIs that send no chunk of usage alone."""
    finish = frame(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=USAGE)
    assert collected(HELLO, finish, DONE).usage == SPENT_CANONICAL


@pytest.mark.parametrize(
    "frames", [(), (ROLE,), (ROLE, HELLO), (call(0, id="c1", name="f", arguments='{"a"'),)]
)
def test_a_stream_without_a_finish_reason_is_not_whole(frames: tuple[bytes, ...]) -> None:
    """Protects clients from half an answer: neither the end of the body nor ``[DONE]`` makes it whole."""
    decoder = ChatStreamDecoder(CAP_BYTES)
    for each in frames:
        decoder.feed(each)
    assert decoder.end() == []
    assert not decoder.observed.complete
    with pytest.raises(StreamBroken):
        decoder.feed(DONE)
    assert not decoder.observed.complete


def test_the_end_of_the_body_after_a_finish_reason_makes_it_whole() -> None:
    """Protects answers of APIs that never say ``[DONE]``."""
    assert collected(HELLO, STOP, SPENT).usage == SPENT_CANONICAL


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"message": "slow", "type": "rate_limit_error", "code": "x"}, ("rate_limit_error", "slow", "x")),
        ({"message": "bad gateway", "code": 502}, ("server_error", "bad gateway", "502")),
        ({"message": "no", "code": 429}, ("rate_limit_error", "no", "429")),
        ({"message": "no", "code": 404}, ("invalid_request_error", "no", "404")),
        ("overloaded", ("server_error", "overloaded", None)),
        ({"detail": [1]}, ("server_error", "", None)),
        ([1], ("server_error", "", None)),
    ],
)
def test_an_error_ends_the_stream_and_is_told(error: object, told: tuple[str, str, str | None]) -> None:
    """Protects the pool, which has to know what an error in the middle means."""
    decoder = ChatStreamDecoder(CAP_BYTES)
    decoder.feed(HELLO)
    events = decoder.feed(frame(error=error) + STOP + DONE)
    assert [type(event) for event in events] == [ErrorEvent]
    found = decoder.observed.error
    assert found is not None
    assert (found.type, found.message, found.code) == told
    assert not decoder.observed.complete


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {broken\n\n",
        b"data: []\n\n",
        b'data: {"choices":[{"delta":{"content":7}}]}\n\n',
        b"data: " + b"[" * 30_000 + b"\n\n",
        b"data: " + b"x" * (2 * CAP_BYTES),
    ],
)
def test_what_is_no_chunk_breaks_the_stream_behind_what_was_sound(bad: bytes) -> None:
    """Protects clients from garbage, and from losing what came before it."""
    decoder = ChatStreamDecoder(CAP_BYTES)
    assert len(decoder.feed(HELLO + bad)) == 3
    with pytest.raises(StreamBroken):
        decoder.feed(STOP)
    with pytest.raises(StreamBroken):
        ChatStreamDecoder(CAP_BYTES).feed(bad)


def test_what_is_held_back_has_a_bound() -> None:
    """Protects memory from an upstream that never ends a call."""
    decoder = ChatStreamDecoder(CAP_BYTES)
    decoder.feed(call(0, id="c1", name="f", arguments='{"a":'))
    for _ in range(50):
        decoder.feed(call(0, arguments="x" * 1024))
        decoder.feed(call(1, id="c2", name="g", arguments="x" * 1024))
    more = b"".join(call(index, id=f"c{index}", name="g", arguments="x" * 1024) for index in range(2, 20))
    with pytest.raises(StreamBroken):
        decoder.feed(more)


def test_a_call_without_a_name_is_no_call() -> None:
    """Protects clients from a call nobody can carry out; the stream counts as broken."""
    decoder = ChatStreamDecoder(CAP_BYTES)
    decoder.feed(call(0, id="c1", arguments="{}") + STOP)
    assert decoder.end() == []
    assert decoder.fault is not None
    assert not decoder.observed.complete


_text = st.text(min_size=1, max_size=5)
_parts = st.one_of(
    st.builds(lambda text: delta(content=text), _text),
    st.builds(lambda text: delta(reasoning_content=text), _text),
    st.builds(
        lambda index, number: call(index, id=f"c{index}", name=f"f{index}", arguments=f'{{"a":{number}'),
        st.integers(0, 3),
        st.integers(0, 99),
    ),
    st.just(b": ping\n\n"),
    st.just(SPENT),
)


@given(st.lists(_parts, max_size=12), st.data())
def test_any_cut_and_any_mixture_gives_the_same_events_and_keeps_the_grammar(
    frames: list[bytes], data: st.DataObject
) -> None:
    """Protects clients from where the network cuts, and from whatever order an upstream chooses."""
    stream = b"".join([*frames, STOP, DONE])
    crlf = data.draw(st.booleans())
    stream = stream.replace(b"\n", b"\r\n") if crlf else stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    decoder = ChatStreamDecoder(CAP_BYTES)
    found: list[Event] = [event for piece in pieces for event in decoder.feed(piece)]
    assert found == decoded(stream)
    assert decoder.observed.complete
    texts = [
        event.delta.text
        for event in found
        if isinstance(event, ContentBlockDelta) and isinstance(event.delta, TextDelta)
    ]
    sent = [msgspec.json.decode(each[6:])["choices"] for each in frames if each.startswith(b"data: ")]
    assert "".join(texts) == "".join(
        choice["delta"].get("content", "") for choices in sent for choice in choices
    )
