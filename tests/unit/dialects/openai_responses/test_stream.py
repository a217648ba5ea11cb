"""The events of a response."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.anthropic import StreamDecoder
from proxy.dialects.common import AnswerForm, Rendering, Thought
from proxy.errors import ErrorKind, GatewayError
from proxy.model.collect import Collector
from proxy.model.content import TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    ErrorBody,
    ErrorEvent,
    Event,
    InputJsonDelta,
    MessageStop,
    Ping,
    TextDelta,
)
from tests.conformance.dialects.slicing import NAMES, slicings, stream
from tests.unit.dialects.openai_responses.building import (
    CAP_BYTES,
    NUMBER,
    RENDERING,
    SEAL,
    asked,
    call,
    recorded,
    told,
)
from tests.unit.dialects.openai_responses.events import (
    CUSTOM,
    SEALED,
    START,
    TEXT,
    TEXT_ALONE,
    THINKING,
    TOOL,
    block,
    end,
    final,
    kinds,
    output,
    streamed,
)
from tests.unit.dialects.openai_responses.order import check_order
from tests.unit.model.streams import legal_streams

_RS, _MSG, _FC = (f"{prefix}_{NUMBER}_{index}" for index, prefix in enumerate(("rs", "msg", "fc")))
_SUMMARY = {"item_id": _RS, "output_index": 0, "summary_index": 0}
_SAID = {"item_id": _MSG, "output_index": 1, "content_index": 0}
_CALLED = {"item_id": _FC, "output_index": 2}
_SEALED = SEAL.close(ThinkingBlock("think", "SIG"))
_PART = {"type": "output_text", "annotations": [], "logprobs": []}
_MESSAGE = {"type": "message", "id": _MSG, "role": "assistant"}
_FUNCTION = {"type": "function_call", "id": _FC, "call_id": "toolu_1", "name": "get"}
_THOUGHT = {"type": "summary_text", "text": "think"}
_REASONING = {
    "type": "reasoning",
    "id": _RS,
    "summary": [_THOUGHT],
    "encrypted_content": _SEALED,
    "status": "completed",
}
_WHOLE = {**_MESSAGE, "status": "completed", "content": [{**_PART, "text": "Hello"}]}
_DONE = {**_FUNCTION, "arguments": '{"a":1}', "status": "completed"}
_EXPECTED: list[tuple[str, dict[str, object]]] = [
    (
        "output_item.added",
        {
            "output_index": 0,
            "item": {"type": "reasoning", "id": _RS, "summary": [], "status": "in_progress"},
        },
    ),
    ("reasoning_summary_part.added", {**_SUMMARY, "part": {"type": "summary_text", "text": ""}}),
    ("reasoning_summary_text.delta", {**_SUMMARY, "delta": "thi"}),
    ("reasoning_summary_text.delta", {**_SUMMARY, "delta": "nk"}),
    ("reasoning_summary_text.done", {**_SUMMARY, "text": "think"}),
    ("reasoning_summary_part.done", {**_SUMMARY, "part": _THOUGHT}),
    ("output_item.done", {"output_index": 0, "item": _REASONING}),
    (
        "output_item.added",
        {"output_index": 1, "item": {**_MESSAGE, "status": "in_progress", "content": []}},
    ),
    ("content_part.added", {**_SAID, "part": {**_PART, "text": ""}}),
    ("output_text.delta", {**_SAID, "logprobs": [], "delta": "Hel"}),
    ("output_text.delta", {**_SAID, "logprobs": [], "delta": "lo"}),
    ("output_text.done", {**_SAID, "logprobs": [], "text": "Hello"}),
    ("content_part.done", {**_SAID, "part": {**_PART, "text": "Hello"}}),
    ("output_item.done", {"output_index": 1, "item": _WHOLE}),
    (
        "output_item.added",
        {"output_index": 2, "item": {**_FUNCTION, "arguments": "", "status": "in_progress"}},
    ),
    ("function_call_arguments.delta", {**_CALLED, "delta": '{"a"'}),
    ("function_call_arguments.delta", {**_CALLED, "delta": ":1}"}),
    ("function_call_arguments.done", {**_CALLED, "name": "get", "arguments": '{"a":1}'}),
    ("output_item.done", {"output_index": 2, "item": _DONE}),
]


def test_the_events_of_a_stream_with_everything() -> None:
    """Protects every field of every event, in the order clients rely on."""
    found = streamed([START, *THINKING, *TEXT, *TOOL, *end("tool_use")], asked(**SEALED))
    assert [event["sequence_number"] for event in found] == list(range(22))
    between = [
        (
            str(event["type"]).removeprefix("response."),
            {name: value for name, value in event.items() if name not in {"type", "sequence_number"}},
        )
        for event in found[2:-1]
    ]
    assert between == _EXPECTED
    assert kinds(found)[:2] == ["created", "in_progress"]
    assert kinds(found)[-1] == "completed"
    assert output(found) == [_REASONING, _WHOLE, _DONE]


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_a_token_limit_makes_the_response_and_its_last_item_incomplete(reason: str) -> None:
    """Protects programs from running a call that was cut, and from taking half an answer for a whole one."""
    tool = block(1, ToolUseBlock("a", "f", msgspec.Raw(b"{}")), InputJsonDelta('{"a'))
    found = streamed([START, *TEXT_ALONE, *tool, *end(reason)])
    assert kinds(found)[-1] == "incomplete"
    ended = final(found)
    assert (ended["status"], ended["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in output(found)] == ["completed", "incomplete"]
    assert output(found)[1]["arguments"] == '{"a'


def test_a_refusal_is_the_whole_output() -> None:
    """Protects users from what came before it, tool calls above all; programs see a response that is complete."""
    found = streamed([START, *THINKING, *TEXT, *TOOL, *end("refusal", explanation="No.")])
    assert kinds(found)[-7:] == [
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    (item,) = output(found)
    assert item["content"] == [{"type": "refusal", "refusal": "No."}]


def test_a_fence_is_cut_off_json_asked_for_in_words() -> None:
    """Protects JSON mode, whole and streamed."""
    events = [
        START,
        *block(0, TextBlock(""), TextDelta("```json\n{"), TextDelta("}\n```")),
        *end("end_turn"),
    ]
    found = streamed(events, form=AnswerForm(unfence=True))
    assert "".join(str(event["delta"]) for event in found if "delta" in event) == "{}"
    assert "```" in str(output(streamed(events)))


def test_the_input_of_a_tool_that_stands_for_the_text_is_told_as_text() -> None:
    """Protects answers by a schema that only a tool could carry: whole and streamed they are a message."""
    found = streamed([START, *TOOL, *end("tool_use")], form=AnswerForm(text_tool="get"))
    assert "".join(str(event["delta"]) for event in found if "delta" in event) == '{"a":1}'
    (item,) = output(found)
    assert item["type"] == "message"
    assert "function_call" not in str(found)


def test_server_tools_and_unknown_blocks_are_swallowed() -> None:
    """Protects clients from calls they could not answer."""
    for name in ("server_tool", "unknown_events_and_fields"):
        assert {item["type"] for item in output(streamed(recorded(name)))} == {"message"}


@pytest.mark.parametrize(("reason", "count"), [("tool_use", 1), ("refusal", 0)])
def test_the_thinking_of_a_turn_that_calls_tools_is_kept(reason: str, count: int) -> None:
    """Protects clients that lose reasoning items: by the id of the first call; not what was refused."""
    kept: list[tuple[str, list[Thought]]] = []
    rendering = msgspec.structs.replace(
        RENDERING, keep=lambda name, thoughts: kept.append((name, [*thoughts]))
    )
    asked().stream_encoder(rendering).encode([START, *THINKING, *TEXT, *TOOL, *end(reason)])
    assert kept == [("toolu_1", [Thought(0, ThinkingBlock("think", "SIG"))])] * count


def test_what_is_stored_has_its_seals_although_the_client_sees_none() -> None:
    """Protects the thinking of stored conversations."""
    stored: list[bytes] = []
    found = streamed([START, *THINKING, *TEXT, *end("end_turn")], asked(call(keep=stored.append)))
    assert "encrypted_content" not in str(found)
    (whole,) = stored
    item = msgspec.json.decode(whole)["output"][0]
    assert SEAL.open(item["encrypted_content"]) == ThinkingBlock("think", "SIG")
    assert {**msgspec.json.decode(whole), "output": None} == {**final(found), "output": None}


_OVERLOADED = GatewayError(529, ErrorKind.OVERLOADED, "Everyone is busy.")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (_OVERLOADED, "server_is_overloaded"),
        (GatewayError(502, ErrorKind.API, "x", code="upstream_error"), "server_error"),
        (GatewayError(429, ErrorKind.RATE_LIMIT, "x"), "rate_limit_exceeded"),
        (GatewayError(402, ErrorKind.BILLING, "x"), "insufficient_quota"),
        (
            GatewayError(400, ErrorKind.INVALID_REQUEST, "prompt is too long: 9 > 8"),
            "context_length_exceeded",
        ),
        (GatewayError(400, ErrorKind.INVALID_REQUEST, "x"), "invalid_prompt"),
    ],
    ids=str,
)
def test_a_failure_after_the_begin_is_told_twice_and_numbered_on(error: GatewayError, code: str) -> None:
    """Protects every sort of client: some raise at ``error``, others only know a response that failed."""
    dialect = asked()
    before = told(dialect.stream_encoder(RENDERING).encode([START, *THINKING, *TEXT[:-1]]))
    after = told(dialect.error_frame(error, "req_1"))
    assert kinds(after) == ["error", "failed"]
    assert [event["sequence_number"] for event in after] == [len(before), len(before) + 1]
    assert after[0]["message"] == error.message
    assert msgspec.convert(after[0]["error"], dict[str, object])["message"] == error.message
    failed = final(after)
    assert (failed["id"], failed["status"]) == (f"resp_{NUMBER}", "failed")
    assert failed["error"] == {"code": code, "message": error.message}
    assert [item["type"] for item in output(after)] == ["reasoning"]


@pytest.mark.parametrize("tried", [True, False])
def test_a_failure_before_anything_came_still_begins_with_the_response(tried: bool) -> None:
    """Protects clients that insist on it: after a long silence only keep-alives have been sent."""
    dialect = asked()
    if tried:
        assert dialect.stream_encoder(RENDERING).encode([Ping(), ErrorEvent(ErrorBody())]) == b""
    found = told(dialect.error_frame(_OVERLOADED, "req_1"))
    assert kinds(found) == ["created", "in_progress", "error", "failed"]
    assert [event["sequence_number"] for event in found] == [0, 1, 2, 3]


@given(legal_streams(), st.booleans(), st.lists(st.integers(1, 5), max_size=9))
def test_any_legal_stream_keeps_the_clients_rules(
    events: list[Event], custom: bool, batches: list[int]
) -> None:
    """Protects the grammar of events: no gap in the numbers, what opens is closed, one end; batches change nothing."""
    tools = {"tools": [CUSTOM]} if custom else {}
    found = streamed(events, asked(**tools))
    encoder, pieces, rest = asked(**tools).stream_encoder(RENDERING), b"", events
    for size in [*batches, len(events)]:
        pieces, rest = pieces + encoder.encode(rest[:size]), rest[size:]
    assert told(pieces) == found
    check_order(found, whole=isinstance(events[-1], MessageStop))
    dialect = asked(**tools)
    broken = told(
        dialect.stream_encoder(RENDERING).encode(events[:-1]) + dialect.error_frame(_OVERLOADED, "r")
    )
    check_order(broken, whole=True)
    assert broken[-1]["type"] == "response.failed"


@given(legal_streams())
def test_a_whole_response_is_what_its_stream_ends_with(events: list[Event]) -> None:
    """Protects clients that ask both ways: one answer, but for a call that a limit has cut, which is none."""
    if not isinstance(events[-1], MessageStop):
        return
    collector = Collector()
    for event in events:
        collector.add(event)
    message = collector.message()
    body = msgspec.json.decode(asked().encode_message(message, RENDERING))
    ended = final(streamed(events))
    assert body.keys() == ended.keys()
    assert (body["status"], body["usage"]) == (ended["status"], ended["usage"])
    if message.stop_reason != "max_tokens":
        shape = [(item["type"], item.get("content"), item.get("summary")) for item in body["output"]]
        assert shape == [
            (item["type"], item.get("content"), item.get("summary")) for item in output([{"response": ended}])
        ]


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_gives_the_same_events(name: str) -> None:
    """Protects clients from where the network cuts, inside a character or between line ends."""
    data = stream(name)
    expected = asked().stream_encoder(RENDERING).encode(recorded(name))
    for how, chunks in slicings(data):
        decoder, encoder = StreamDecoder(CAP_BYTES), asked().stream_encoder(RENDERING)
        assert b"".join([encoder.encode(decoder.feed(chunk)) for chunk in chunks]) == expected, how


def test_an_answer_keeps_nothing_of_the_requests_body() -> None:
    """Protects memory: a large request is let go while its answer runs."""
    dialect = asked(input="x" * 100_000, tools=[CUSTOM])
    assert len(dialect._understood.repeated) < 2000
    assert isinstance(dialect.stream_encoder(Rendering(request_id="r", created_s=1, model="m")), object)
