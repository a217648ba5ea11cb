"""The events of a response."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.anthropic import StreamDecoder
from proxy.dialects.common import Rendering, ThinkingFormat, Thought
from proxy.dialects.openai_responses import ResponsesDialect
from proxy.errors import ErrorKind, GatewayError
from proxy.model.collect import Collector
from proxy.model.content import RedactedThinkingBlock, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    CitationsDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
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
from proxy.model.message import Message, StopDetails, Usage
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
from tests.unit.dialects.openai_responses.order import check_order
from tests.unit.model.streams import legal_streams

_SEALED = {"include": ["reasoning.encrypted_content"]}
_START = MessageStart(Message(usage=Usage(input_tokens=7, output_tokens=1, cache_read_input_tokens=3)))
_CUSTOM = {"type": "custom", "name": "f"}
_GROUPED = {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]}


def _block(index: int, block: TextBlock | ThinkingBlock | ToolUseBlock, *deltas: object) -> list[Event]:
    made = [ContentBlockDelta(index, delta) for delta in deltas]  # type: ignore[arg-type]  # deltas all
    return [ContentBlockStart(index, block), *made, ContentBlockStop(index)]


def _end(reason: str, **details: str) -> list[Event]:
    stop = Stop(reason, stop_details=StopDetails(**details) if details else None)
    return [MessageDelta(stop, Usage(output_tokens=5)), MessageStop()]


_THINKING = _block(0, ThinkingBlock(""), ThinkingDelta("thi"), ThinkingDelta("nk"), SignatureDelta("SIG"))
_TEXT = _block(1, TextBlock(""), TextDelta("Hel"), TextDelta(""), TextDelta("lo"))
_TOOL = _block(
    2, ToolUseBlock("toolu_1", "get", msgspec.Raw(b"{}")), InputJsonDelta('{"a"'), InputJsonDelta(":1}")
)


def _streamed(events: Sequence[Event], dialect: ResponsesDialect | None = None) -> list[dict[str, object]]:
    return told((dialect or asked()).stream_encoder(RENDERING).encode(events))


def _kinds(events: Sequence[dict[str, object]]) -> list[str]:
    return [str(event["type"]).removeprefix("response.") for event in events]


def _final(events: Sequence[dict[str, object]]) -> dict[str, object]:
    return msgspec.convert(events[-1]["response"], dict[str, object])


def _output(events: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    return msgspec.convert(_final(events)["output"], list[dict[str, object]])


def test_the_events_of_a_stream_with_everything() -> None:
    """Protects every field of every event, in the order clients rely on."""
    found = _streamed([_START, *_THINKING, *_TEXT, *_TOOL, *_end("tool_use")], asked(**_SEALED))
    assert [event["sequence_number"] for event in found] == list(range(22))
    rs, msg, fc = (f"{prefix}_{NUMBER}_{index}" for index, prefix in enumerate(("rs", "msg", "fc")))
    summary = {"item_id": rs, "output_index": 0, "summary_index": 0}
    said = {"item_id": msg, "output_index": 1, "content_index": 0}
    called = {"item_id": fc, "output_index": 2}
    sealed = SEAL.close(ThinkingBlock("think", "SIG"))
    part = {"type": "output_text", "annotations": [], "logprobs": []}
    message = {"type": "message", "id": msg, "role": "assistant"}
    function = {"type": "function_call", "id": fc, "call_id": "toolu_1", "name": "get"}
    thought = {"type": "summary_text", "text": "think"}
    reasoning = {
        "type": "reasoning",
        "id": rs,
        "summary": [thought],
        "encrypted_content": sealed,
        "status": "completed",
    }
    whole = {**message, "status": "completed", "content": [{**part, "text": "Hello"}]}
    done = {**function, "arguments": '{"a":1}', "status": "completed"}
    expected: list[tuple[str, dict[str, object]]] = [
        (
            "output_item.added",
            {
                "output_index": 0,
                "item": {"type": "reasoning", "id": rs, "summary": [], "status": "in_progress"},
            },
        ),
        ("reasoning_summary_part.added", {**summary, "part": {"type": "summary_text", "text": ""}}),
        ("reasoning_summary_text.delta", {**summary, "delta": "thi"}),
        ("reasoning_summary_text.delta", {**summary, "delta": "nk"}),
        ("reasoning_summary_text.done", {**summary, "text": "think"}),
        ("reasoning_summary_part.done", {**summary, "part": thought}),
        ("output_item.done", {"output_index": 0, "item": reasoning}),
        (
            "output_item.added",
            {"output_index": 1, "item": {**message, "status": "in_progress", "content": []}},
        ),
        ("content_part.added", {**said, "part": {**part, "text": ""}}),
        ("output_text.delta", {**said, "logprobs": [], "delta": "Hel"}),
        ("output_text.delta", {**said, "logprobs": [], "delta": "lo"}),
        ("output_text.done", {**said, "logprobs": [], "text": "Hello"}),
        ("content_part.done", {**said, "part": {**part, "text": "Hello"}}),
        ("output_item.done", {"output_index": 1, "item": whole}),
        (
            "output_item.added",
            {"output_index": 2, "item": {**function, "arguments": "", "status": "in_progress"}},
        ),
        ("function_call_arguments.delta", {**called, "delta": '{"a"'}),
        ("function_call_arguments.delta", {**called, "delta": ":1}"}),
        ("function_call_arguments.done", {**called, "name": "get", "arguments": '{"a":1}'}),
        ("output_item.done", {"output_index": 2, "item": done}),
    ]
    between = [
        (
            str(event["type"]).removeprefix("response."),
            {name: value for name, value in event.items() if name not in {"type", "sequence_number"}},
        )
        for event in found[2:-1]
    ]
    assert between == expected
    assert _kinds(found)[:2] == ["created", "in_progress"]
    assert _kinds(found)[-1] == "completed"
    assert _output(found) == [reasoning, whole, done]


def test_the_response_around_the_items() -> None:
    """Protects the object clients read: its state at the begin and at the end, its usage, and the request in it."""
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
    fields: dict[str, object] = {
        "instructions": "Be kind.",
        "max_output_tokens": 50,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "previous_response_id": "resp_before",
        "reasoning": {"effort": "low", "summary": "auto"},
        "tools": [tool],
        "tool_choice": "auto",
        "text": {"format": {"type": "text"}},
        "temperature": 0.5,
        "user": "ann",
        "truncation": "auto",
    }
    found = _streamed([_START, *_TEXT_ALONE, *_end("end_turn")], asked(call(keep=lambda _: None), **fields))
    begun, ended = msgspec.convert(found[0]["response"], dict[str, object]), _final(found)
    assert found[0]["response"] == found[1]["response"]
    assert {name: ended[name] for name in fields} == fields
    assert (begun["id"], begun["object"], begun["created_at"]) == (f"resp_{NUMBER}", "response", 1795210000)
    assert (begun["status"], begun["output"], begun["usage"], begun["completed_at"]) == (
        "in_progress",
        [],
        None,
        None,
    )
    assert (ended["status"], ended["completed_at"], ended["error"]) == ("completed", 1795210003, None)
    assert (ended["model"], ended["store"], ended["background"]) == ("claude-opus-5-5", True, False)
    assert ended["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    }


_TEXT_ALONE = _block(0, TextBlock(""), TextDelta("Hi"))


def test_a_request_that_says_nothing_is_answered_with_the_defaults() -> None:
    """Protects clients that read these fields whether or not they sent them."""
    ended = _final(_streamed([_START, *_end("end_turn")]))
    defaults: dict[str, object] = {
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }
    assert {name: ended[name] for name in defaults} == defaults


@pytest.mark.parametrize("shown", list(ThinkingFormat))
@pytest.mark.parametrize("sealed", [True, False])
def test_thinking_is_shown_and_sealed_as_asked(shown: ThinkingFormat, sealed: bool) -> None:
    """Protects what operators hide, and clients that did not ask for seals from carrying them."""
    dialect = asked(**(_SEALED if sealed else {}))
    rendering = msgspec.structs.replace(RENDERING, thinking_format=shown)
    out = dialect.stream_encoder(rendering).encode([_START, *_THINKING, *_end("end_turn")])
    (item,) = _output(told(out))
    assert ("think" in str(item["summary"])) is (shown is not ThinkingFormat.NONE)
    assert ("encrypted_content" in item) is sealed
    assert (b"crs1." in out) is sealed


@pytest.mark.parametrize("signature", ["", "gw1.abc"])
def test_thinking_its_provider_would_not_know_again_is_not_sealed(signature: str) -> None:
    """Protects a later request from thinking that Anthropic refuses."""
    events = _block(0, ThinkingBlock(""), ThinkingDelta("x"), SignatureDelta(signature))
    (item,) = _output(_streamed([_START, *events, *_end("end_turn")], asked(**_SEALED)))
    assert "encrypted_content" not in item


def test_thinking_that_is_not_shown_has_no_summary() -> None:
    """Protects clients from empty summaries: added and done, and nothing between."""
    events = [
        *_block(0, ThinkingBlock(""), SignatureDelta("S")),
        ContentBlockStart(1, RedactedThinkingBlock("xyz")),
    ]
    found = _streamed([_START, *events, ContentBlockStop(1), *_end("end_turn")], asked(**_SEALED))
    assert _kinds(found)[2:-1] == ["output_item.added", "output_item.done"] * 2
    opened = [SEAL.open(str(item["encrypted_content"])) for item in _output(found)]
    assert opened == [ThinkingBlock("", "S"), RedactedThinkingBlock("xyz")]


def test_a_text_tools_call_is_unwrapped_and_a_grouped_tool_is_named_in_its_group() -> None:
    """Protects programs that get back the names and the input they know."""
    dialect = asked(tools=[_CUSTOM, _GROUPED])
    custom = _block(
        0, ToolUseBlock("a", "f", msgspec.Raw(b"{}")), InputJsonDelta('{"in'), InputJsonDelta('put":"x\\ny"}')
    )
    grouped = _block(1, ToolUseBlock("b", "n__g", msgspec.Raw(b"{}")), InputJsonDelta("{}"))
    found = _streamed([_START, *custom, *grouped, *_end("tool_use")], dialect)
    assert _kinds(found)[2:6] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    first, second = _output(found)
    assert (first["type"], first["name"], first["input"]) == ("custom_tool_call", "f", "x\ny")
    assert (second["type"], second["name"], second["namespace"]) == ("function_call", "g", "n")


@pytest.mark.parametrize(("whole", "text"), [(b"{}", ""), (b'{"input":"a"}', "a"), (b'{"x":1}', '{"x":1}')])
def test_a_text_tools_input_is_told_whatever_the_model_wrote(whole: bytes, text: str) -> None:
    """Protects a call whose input came with its begin, or is not as it should be."""
    events = _block(0, ToolUseBlock("a", "f", msgspec.Raw(whole)))
    (item,) = _output(_streamed([_START, *events, *_end("tool_use")], asked(tools=[_CUSTOM])))
    assert item["input"] == text


def test_a_call_without_arguments_has_an_empty_object() -> None:
    """Protects programs that parse the arguments: empty text is no JSON."""
    events = _block(0, ToolUseBlock("a", "f", msgspec.Raw(b"{}")), InputJsonDelta(""))
    found = _streamed([_START, *events, *_end("tool_use")])
    assert _output(found)[0]["arguments"] == "{}"
    assert "".join(str(event["delta"]) for event in found if "delta" in event) == "{}"


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_a_token_limit_makes_the_response_and_its_last_item_incomplete(reason: str) -> None:
    """Protects programs from running a call that was cut, and from taking half an answer for a whole one."""
    tool = _block(1, ToolUseBlock("a", "f", msgspec.Raw(b"{}")), InputJsonDelta('{"a'))
    found = _streamed([_START, *_TEXT_ALONE, *tool, *_end(reason)])
    assert _kinds(found)[-1] == "incomplete"
    ended = _final(found)
    assert (ended["status"], ended["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in _output(found)] == ["completed", "incomplete"]
    assert _output(found)[1]["arguments"] == '{"a'


def test_a_refusal_is_the_whole_output() -> None:
    """Protects users from what came before it, tool calls above all; programs see a response that is complete."""
    found = _streamed([_START, *_THINKING, *_TEXT, *_TOOL, *_end("refusal", explanation="No.")])
    kinds = _kinds(found)
    assert kinds[-7:] == [
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    (item,) = _output(found)
    assert item["content"] == [{"type": "refusal", "refusal": "No."}]


def test_sources_on_the_web_are_told_with_the_whole_text() -> None:
    """Protects citations; those of documents have no form here."""
    web = b'{"type":"web_search_result_location","url":"https://a","title":"A","cited_text":"x"}'
    page = b'{"type":"page_location","document_index":0}'
    deltas = (CitationsDelta(msgspec.Raw(web)), TextDelta("Hello"), CitationsDelta(msgspec.Raw(page)))
    found = _streamed([_START, *_block(0, TextBlock(""), *deltas), *_end("end_turn")])
    cited = {"type": "url_citation", "start_index": 0, "end_index": 5, "url": "https://a", "title": "A"}
    (told_,) = [event for event in found if event["type"] == "response.output_text.annotation.added"]
    assert (told_["annotation_index"], told_["annotation"]) == (0, cited)
    (item,) = _output(found)
    assert msgspec.convert(item["content"], list[dict[str, object]])[0]["annotations"] == [cited]


def test_a_fence_is_cut_off_json_asked_for_in_words() -> None:
    """Protects JSON mode, whole and streamed."""
    events = [
        _START,
        *_block(0, TextBlock(""), TextDelta("```json\n{"), TextDelta("}\n```")),
        *_end("end_turn"),
    ]
    wanted = {"text": {"format": {"type": "json_object"}}}
    found = _streamed(events, asked(**wanted))
    assert "".join(str(event["delta"]) for event in found if "delta" in event) == "{}"
    assert "```" in str(_output(_streamed(events)))


def test_server_tools_and_unknown_blocks_are_swallowed() -> None:
    """Protects clients from calls they could not answer."""
    for name in ("server_tool", "unknown_events_and_fields"):
        assert {item["type"] for item in _output(_streamed(recorded(name)))} == {"message"}


@pytest.mark.parametrize(("reason", "count"), [("tool_use", 1), ("refusal", 0)])
def test_the_thinking_of_a_turn_that_calls_tools_is_kept(reason: str, count: int) -> None:
    """Protects clients that lose reasoning items: by the id of the first call; not what was refused."""
    kept: list[tuple[str, list[Thought]]] = []
    rendering = msgspec.structs.replace(
        RENDERING, keep=lambda name, thoughts: kept.append((name, [*thoughts]))
    )
    asked().stream_encoder(rendering).encode([_START, *_THINKING, *_TEXT, *_TOOL, *_end(reason)])
    assert kept == [("toolu_1", [Thought(0, ThinkingBlock("think", "SIG"))])] * count


def test_what_is_stored_has_its_seals_although_the_client_sees_none() -> None:
    """Protects the thinking of stored conversations."""
    stored: list[bytes] = []
    found = _streamed([_START, *_THINKING, *_TEXT, *_end("end_turn")], asked(call(keep=stored.append)))
    assert "encrypted_content" not in str(found)
    (whole,) = stored
    item = msgspec.json.decode(whole)["output"][0]
    assert SEAL.open(item["encrypted_content"]) == ThinkingBlock("think", "SIG")
    assert {**msgspec.json.decode(whole), "output": None} == {**_final(found), "output": None}


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
    before = told(dialect.stream_encoder(RENDERING).encode([_START, *_THINKING, *_TEXT[:-1]]))
    after = told(dialect.error_frame(error, "req_1"))
    assert _kinds(after) == ["error", "failed"]
    assert [event["sequence_number"] for event in after] == [len(before), len(before) + 1]
    assert after[0]["message"] == error.message
    assert msgspec.convert(after[0]["error"], dict[str, object])["message"] == error.message
    failed = _final(after)
    assert (failed["id"], failed["status"]) == (f"resp_{NUMBER}", "failed")
    assert failed["error"] == {"code": code, "message": error.message}
    assert [item["type"] for item in _output(after)] == ["reasoning"]


@pytest.mark.parametrize("tried", [True, False])
def test_a_failure_before_anything_came_still_begins_with_the_response(tried: bool) -> None:
    """Protects clients that insist on it: after a long silence only keep-alives have been sent."""
    dialect = asked()
    if tried:
        assert dialect.stream_encoder(RENDERING).encode([Ping(), ErrorEvent(ErrorBody())]) == b""
    found = told(dialect.error_frame(_OVERLOADED, "req_1"))
    assert _kinds(found) == ["created", "in_progress", "error", "failed"]
    assert [event["sequence_number"] for event in found] == [0, 1, 2, 3]


@given(legal_streams(), st.booleans(), st.lists(st.integers(1, 5), max_size=9))
def test_any_legal_stream_keeps_the_clients_rules(
    events: list[Event], custom: bool, batches: list[int]
) -> None:
    """Protects the grammar of events: no gap in the numbers, what opens is closed, one end; batches change nothing."""
    tools = {"tools": [_CUSTOM]} if custom else {}
    found = _streamed(events, asked(**tools))
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
    streamed = _final(_streamed(events))
    assert body.keys() == streamed.keys()
    assert (body["status"], body["usage"]) == (streamed["status"], streamed["usage"])
    if message.stop_reason != "max_tokens":
        shape = [(item["type"], item.get("content"), item.get("summary")) for item in body["output"]]
        assert shape == [
            (item["type"], item.get("content"), item.get("summary"))
            for item in _output([{"response": streamed}])
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
    dialect = asked(input="x" * 100_000, tools=[_CUSTOM])
    assert len(dialect._understood.repeated) < 2000
    assert isinstance(dialect.stream_encoder(Rendering(request_id="r", created_s=1, model="m")), object)
