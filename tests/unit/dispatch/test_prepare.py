"""What goes upstream: the client's own bytes wherever they can be, and only what has to change otherwise."""

import dataclasses

import msgspec
import pytest

from proxy.dialects.common import Demand, ThinkingFormat, Thought
from proxy.dialects.openai_chat.text import OpenAITextDialect
from proxy.dispatch.prepare import Prepared, prepare, prepare_chat, without_thinking
from proxy.dispatch.thinking import ThinkingMemory
from proxy.errors import InvalidRequest
from proxy.exchange import Operation
from proxy.model.content import ThinkingBlock
from proxy.settings import RequestDefaults
from tests.support.clock import FakeClock
from tests.unit.dispatch.building import CATALOG, CHAT, MEMORY, MODEL, NO_DEFAULTS, body, exchange

_TEXT = OpenAITextDialect()
_OWN = ("claude_options", "conversation_id", "session_id", "project_id", "system_prompt")
_ODD = (
    b' {"unknown" : [1,  2.50, {"deep":null}],\n"model":"' + MODEL.encode() + b'","max_tokens":64,'
    b'"messages":[{"role":"user","content":"caf\\u00e9"}], "stream":true }'
)


def _sent(raw: bytes) -> dict[str, object]:
    return msgspec.json.decode(raw, type=dict[str, object])


def test_a_messages_request_goes_out_byte_for_byte() -> None:
    """Protects prompt caches, and fields that are newer than we are."""
    prepared = prepare(exchange(_ODD), CATALOG, NO_DEFAULTS, MEMORY)
    assert prepared.call.body is _ODD
    assert prepared.rendering is None
    assert prepared.call.stream
    assert prepared.dropped == ()


def test_version_and_betas_are_the_clients_or_the_usual_ones() -> None:
    """Protects clients of a newer API version, and those that name none."""
    plain = prepare(exchange(), CATALOG, NO_DEFAULTS, MEMORY).call
    assert (plain.version, plain.beta) == ("2023-06-01", None)
    named = prepare(exchange(version="2026-10-21", beta="a,b"), CATALOG, NO_DEFAULTS, MEMORY).call
    assert (named.version, named.beta) == ("2026-10-21", "a,b")


def test_under_another_model_only_the_model_changes() -> None:
    """Protects everything else of the body, down to its bytes, when a name stood for another."""
    prepared = prepare(exchange(_ODD, model="claude-opus-5-5"), CATALOG, NO_DEFAULTS, MEMORY)
    assert prepared.rendering is None
    assert _sent(prepared.call.body) == _sent(_ODD) | {"model": "claude-opus-5-5"}
    assert b"[1,  2.50, {" in prepared.call.body
    assert b"caf\\u00e9" in prepared.call.body


def test_a_body_whose_model_matters_is_written_anew_with_one_model() -> None:
    """Protects lists of models: of two models in one body the upstream must read the one we have read."""
    twice = b'{"model":"claude-opus-5-5","model":"' + MODEL.encode() + b'", "messages":[],"x":[1,  2]}'
    sent = prepare(exchange(twice, rewritten=True), CATALOG, NO_DEFAULTS, MEMORY).call.body
    once = b'{"model":"' + MODEL.encode() + b'","messages":[],"x":[1,  2]}'
    assert sent == once
    escaped = twice.replace(b'{"model"', b'{"mo\\u0064el"')
    assert prepare(exchange(escaped, rewritten=True), CATALOG, NO_DEFAULTS, MEMORY).call.body == once
    assert prepare(exchange(twice), CATALOG, NO_DEFAULTS, MEMORY).call.body is twice


@pytest.mark.parametrize("name", _OWN)
def test_a_field_of_ours_is_taken_out_and_told(name: str) -> None:
    """Protects the upstream from a field it would refuse, and the client from not knowing."""
    prepared = prepare(exchange(body(**{name: {"a": 1}})), CATALOG, NO_DEFAULTS, MEMORY)
    assert _sent(prepared.call.body) == _sent(body())
    assert [item.field for item in prepared.dropped] == [name]


def test_a_suffix_that_asks_for_thinking_turns_it_on() -> None:
    """Protects clients that can only choose a model's name."""
    raw = body(model=f"{MODEL}-think", max_tokens=4000)
    prepared = prepare(exchange(raw, model=MODEL, think=True), CATALOG, NO_DEFAULTS, MEMORY)
    assert _sent(prepared.call.body)["thinking"] == {"type": "adaptive", "display": "summarized"}


def test_a_request_that_says_how_to_think_is_not_overruled() -> None:
    """Protects a client's own words from a suffix."""
    raw = body(model=f"{MODEL}-think", thinking={"type": "disabled"})
    prepared = prepare(exchange(raw, model=MODEL, think=True), CATALOG, NO_DEFAULTS, MEMORY)
    assert _sent(prepared.call.body)["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize(
    ("max_tokens", "budget"), [(1024, None), (1025, 1024), (4000, 3999), (9000, 8192), (64_000, 8192)]
)
def test_where_thinking_has_a_budget_it_stays_below_the_answers_tokens(
    max_tokens: int, budget: int | None
) -> None:
    """Protects requests from being refused for a budget that does not fit."""
    model = "claude-haiku-4-5-20251001"
    raw = body(model=f"{model}-think", max_tokens=max_tokens)
    prepared = prepare(exchange(raw, model=model, think=True), CATALOG, NO_DEFAULTS, MEMORY)
    wanted = None if budget is None else {"type": "enabled", "budget_tokens": budget}
    assert _sent(prepared.call.body).get("thinking") == wanted


def test_counting_tokens_goes_to_its_own_endpoint() -> None:
    """Protects a count from being answered as a message."""
    call = prepare(exchange(operation=Operation.COUNT_TOKENS), CATALOG, NO_DEFAULTS, MEMORY).call
    assert call.operation is Operation.COUNT_TOKENS


@pytest.mark.parametrize("stream", [False, True])
def test_a_translated_request_is_counted_as_a_whole_one_that_asks_for_nothing(stream: bool) -> None:
    """Protects counts for clients of other dialects: no stream, nothing collected, nothing that weighs nothing."""
    raw = body(max_tokens=None, max_completion_tokens=30_000, stream=stream)
    prepared = prepare(
        exchange(raw, dialect=CHAT, operation=Operation.COUNT_TOKENS), CATALOG, NO_DEFAULTS, MEMORY
    )
    assert not prepared.call.stream
    assert not prepared.collect
    assert msgspec.json.decode(prepared.call.body).keys() == {"model", "messages"}


def test_a_chat_request_is_translated() -> None:
    """Protects clients of the other dialect; how each field is translated is tested with the dialect."""
    raw = body(max_tokens=99, stream=True, logit_bias={"1": 2}, messages=[{"role": "user", "content": "Hi"}])
    prepared = prepare(exchange(raw, dialect=CHAT), CATALOG, NO_DEFAULTS, MEMORY)
    sent = _sent(prepared.call.body)
    assert prepared.rendering is not None
    assert prepared.rendering.model == MODEL
    assert not prepared.collect
    assert (sent["model"], sent["max_tokens"], sent["stream"]) == (MODEL, 99, True)
    assert [item.field for item in prepared.dropped] == ["logit_bias"]


def test_the_form_a_client_asks_for_is_that_of_its_answer() -> None:
    """Protects JSON mode, functions of the old style and the like, for Claude and for other APIs."""
    raw = body(response_format={"type": "json_object"})
    prepared = prepare(exchange(raw, dialect=CHAT), CATALOG, NO_DEFAULTS, MEMORY)
    assert prepared.rendering is not None
    assert (prepared.rendering.form.unfence, prepared.demand) == (True, Demand.JSON)
    prompt = msgspec.json.encode({"model": MODEL, "prompt": "Hi", "echo": True})
    for ready in (
        prepare(exchange(prompt, dialect=_TEXT), CATALOG, NO_DEFAULTS, MEMORY),
        prepare_chat(exchange(prompt, dialect=_TEXT), CATALOG, NO_DEFAULTS),
    ):
        assert ready.rendering is not None
        assert ready.rendering.form.echo == "Hi"


def test_a_chat_clients_version_and_betas_are_not_passed_on() -> None:
    """Protects a translated request, which is made for one version, from being read as another."""
    call = prepare(exchange(dialect=CHAT, version="2026-10-21", beta="x"), CATALOG, NO_DEFAULTS, MEMORY).call
    assert (call.version, call.beta) == ("2023-06-01", None)


@pytest.mark.parametrize(("max_tokens", "collect"), [(21_000, False), (21_001, True)])
def test_a_long_answer_that_is_not_streamed_is_streamed_upstream_and_collected(
    max_tokens: int, collect: bool
) -> None:
    """Protects long answers from time-outs: the API asks for a stream above this size."""
    prepared = prepare(exchange(body(max_tokens=max_tokens), dialect=CHAT), CATALOG, NO_DEFAULTS, MEMORY)
    assert prepared.collect is collect
    assert prepared.call.stream is collect
    assert bool(_sent(prepared.call.body).get("stream")) is collect


def test_the_operators_defaults_fill_in_what_a_client_left_out() -> None:
    """Protects the settings for requests that say nothing, and a client's own words from them."""
    raw = msgspec.json.encode({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]})
    defaults = RequestDefaults(model=None, temperature=None, max_tokens=77, thinking_format=None)
    sent = _sent(prepare(exchange(raw, dialect=CHAT), CATALOG, defaults, MEMORY).call.body)
    assert sent["max_tokens"] == 77
    sent = _sent(prepare(exchange(body(max_tokens=5), dialect=CHAT), CATALOG, defaults, MEMORY).call.body)
    assert sent["max_tokens"] == 5


def test_what_cannot_be_carried_is_refused_by_name() -> None:
    """Protects clients from an answer to another question than theirs."""
    with pytest.raises(InvalidRequest) as refused:
        prepare(exchange(body(n=2), dialect=CHAT), CATALOG, NO_DEFAULTS, MEMORY)
    assert refused.value.param == "n"


_CHAT = body(messages=[{"role": "user", "content": "Hi"}])


@pytest.mark.parametrize(
    ("chosen", "think", "wanted"),
    [
        (None, False, ThinkingFormat.REASONING_CONTENT),
        (None, True, ThinkingFormat.THINK),
        ("none", True, ThinkingFormat.NONE),
        ("both", False, ThinkingFormat.BOTH),
    ],
)
def test_thinking_is_shown_as_the_operator_or_else_the_models_name_says(
    chosen: str | None, think: bool, wanted: ThinkingFormat
) -> None:
    """Protects clients that can only choose a model's name, and operators who decide for all."""
    defaults = RequestDefaults(
        model=None,
        temperature=None,
        max_tokens=None,
        thinking_format=chosen,  # type: ignore[arg-type]  # one of the words of the setting
    )
    rendering = prepare(exchange(_CHAT, dialect=CHAT, think=think), CATALOG, defaults, MEMORY).rendering
    assert rendering is not None
    assert rendering.thinking_format is wanted


def test_a_messages_request_is_translated_for_other_apis() -> None:
    """Protects clients of Anthropic's dialect; how each field is translated is tested with the dialect."""
    raw = body(stream=True, top_k=3, novelty=1)
    prepared = prepare_chat(exchange(raw), CATALOG, NO_DEFAULTS, model="gpt-4o")
    sent = _sent(prepared.call.body)
    assert (sent["model"], sent["max_completion_tokens"], sent["stream"]) == ("gpt-4o", 64, True)
    assert sent["messages"] == [{"role": "user", "content": "Hello"}]
    assert prepared.rendering is not None
    assert (prepared.model, prepared.rendering.model) == ("gpt-4o", "gpt-4o")
    assert sorted(item.field for item in prepared.dropped) == ["novelty", "top_k"]
    assert not prepared.hides_usage


@pytest.mark.parametrize(
    ("fields", "hides"),
    [
        ({}, False),
        ({"stream": True}, True),
        ({"stream": True, "stream_options": {"include_usage": True}}, False),
    ],
)
def test_a_chat_request_passes_to_other_apis(fields: dict[str, object], *, hides: bool) -> None:
    """Protects the client's own words, and clients that did not ask for usage from a chunk of it."""
    raw = body(messages=[{"role": "user", "content": "Hi"}], n=2, **fields)
    prepared = prepare_chat(exchange(raw, dialect=CHAT), CATALOG, NO_DEFAULTS)
    assert prepared.rendering is None
    assert prepared.hides_usage is hides
    assert _sent(prepared.call.body)["n"] == 2
    assert (prepared.model, prepared.call.stream) == (MODEL, bool(fields))


def test_a_suffix_that_asks_for_thinking_is_told_to_be_lost() -> None:
    """Protects clients from believing that another API was asked to think."""
    raw = body(messages=[{"role": "user", "content": "Hi"}], model=f"{MODEL}-think")
    prepared = prepare_chat(exchange(raw, dialect=CHAT, think=True), CATALOG, NO_DEFAULTS)
    assert [item.field for item in prepared.dropped] == ["model"]


def test_a_request_can_be_made_ready_for_another_model_than_its_own() -> None:
    """Protects credentials that are kept to a model: its rules hold, not those of the model asked for."""
    native = prepare(exchange(_ODD), CATALOG, NO_DEFAULTS, MEMORY, model="claude-opus-5-5")
    assert (native.model, _sent(native.call.body)["model"]) == ("claude-opus-5-5", "claude-opus-5-5")
    raw = body(messages=[{"role": "user", "content": "Hi"}], temperature=0.5)
    chat = exchange(raw, dialect=CHAT)
    assert "temperature" in _sent(
        prepare(chat, CATALOG, NO_DEFAULTS, MEMORY, model="claude-sonnet-4-6").call.body
    )
    assert "temperature" not in _sent(
        prepare(chat, CATALOG, NO_DEFAULTS, MEMORY, model="claude-opus-5-5").call.body
    )


_CALLED: list[object] = [
    {"role": "user", "content": "Hi"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "t1", "content": "r"},
]
_THOUGHT = {"type": "thinking", "thinking": "I think.", "signature": "s"}


def _memory() -> ThinkingMemory:
    memory = ThinkingMemory(FakeClock())
    memory.keep("client", "t1", [Thought(0, ThinkingBlock("I think.", "s"))])
    return memory


def _spoken(prepared: Prepared) -> list[dict[str, object]]:
    messages = msgspec.convert(_sent(prepared.call.body)["messages"], list[dict[str, object]])
    return msgspec.convert(messages[1]["content"], list[dict[str, object]])


def test_a_chat_clients_tool_turn_has_its_thinking_back() -> None:
    """Protects thinking from clients that lose it, and from those it does not belong to."""
    call = exchange(body(messages=_CALLED), dialect=CHAT)
    memory = _memory()
    assert _spoken(prepare(call, CATALOG, NO_DEFAULTS, memory))[0] == _THOUGHT
    other = msgspec.structs.replace(call, client="other")
    assert [block["type"] for block in _spoken(prepare(other, CATALOG, NO_DEFAULTS, memory))] == ["tool_use"]


def test_what_a_chat_client_is_told_of_its_thinking_is_kept() -> None:
    """Protects the next turn: the answer's rendering fills the memory under the client's name."""
    memory = ThinkingMemory(FakeClock())
    rendering = prepare(exchange(_CHAT, dialect=CHAT), CATALOG, NO_DEFAULTS, memory).rendering
    assert rendering is not None
    assert rendering.keep is not None
    rendering.keep("t2", [Thought(0, ThinkingBlock("a", "b"))])
    assert memory.recall("client", "t2") == (Thought(0, ThinkingBlock("a", "b")),)


def test_without_thinking_the_memory_loses_it_too() -> None:
    """Protects the turn after a refusal from being refused again."""
    call, memory = exchange(body(messages=_CALLED), dialect=CHAT), _memory()
    prepared = prepare(call, CATALOG, NO_DEFAULTS, memory)
    plain = without_thinking(prepared, call, CATALOG, NO_DEFAULTS, memory)
    assert plain is not None
    assert [block["type"] for block in _spoken(plain)] == ["tool_use"]
    assert len(memory) == 0
    assert without_thinking(plain, call, CATALOG, NO_DEFAULTS, memory) is None


def test_thinking_the_client_brought_back_is_left_out_and_told() -> None:
    """Protects clients that keep their thinking from losing it unawares."""
    detail = {"type": "reasoning.text", "text": "I think.", "signature": "s"}
    first, second, third = _CALLED
    messages = [first, msgspec.convert(second, dict[str, object]) | {"reasoning_details": [detail]}, third]
    call = exchange(body(messages=messages), dialect=CHAT)
    prepared = prepare(call, CATALOG, NO_DEFAULTS, MEMORY)
    assert _spoken(prepared)[0] == _THOUGHT
    plain = without_thinking(prepared, call, CATALOG, NO_DEFAULTS, MEMORY)
    assert plain is not None
    assert [item.field for item in plain.dropped if "reasoning" in item.field] == [
        "messages[1].reasoning_details"
    ]


_SIGNED = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": [_THOUGHT, {"type": "text", "text": "So."}]},
    {"role": "user", "content": "And?"},
]


def test_a_messages_clients_thinking_is_its_own_matter() -> None:
    """Protects the bytes of its history, also after the upstream has refused them."""
    raw = body(messages=_SIGNED)
    call = exchange(raw)
    prepared = prepare(call, CATALOG, NO_DEFAULTS, MEMORY)
    assert prepared.call.body is raw
    assert without_thinking(prepared, call, CATALOG, NO_DEFAULTS, MEMORY) is None


def test_signatures_of_ours_never_leave_for_anthropic() -> None:
    """Protects conversations that another provider has answered for a while from being refused for ever."""
    raw = body(messages=_SIGNED).replace(b'"signature":"s"', b'"signature":"gw1.x"')
    prepared = prepare(exchange(raw), CATALOG, NO_DEFAULTS, MEMORY)
    assert b"gw1." not in prepared.call.body
    assert [item.field for item in prepared.dropped] == ["messages[1].content"]


@pytest.mark.parametrize(
    ("auto_cache", "continuing", "explicit", "marked"),
    [
        (True, True, False, True),
        (False, True, False, False),
        (True, False, False, False),
        (True, True, True, False),
    ],
)
def test_only_conversations_that_go_on_are_marked_for_the_cache(
    auto_cache: bool, continuing: bool, explicit: bool, marked: bool
) -> None:
    """Protects first turns from paying for a cache nobody may read, and operators and clients who want none."""
    messages = [{"role": "system", "content": "x" * 10_000}, *_CALLED[: 3 if continuing else 1]]
    defaults = dataclasses.replace(NO_DEFAULTS, auto_cache=auto_cache)
    options = {"mode": "explicit"} if explicit else None
    raw = body(messages=messages, prompt_cache_options=options)
    sent = prepare(exchange(raw, dialect=CHAT), CATALOG, defaults, MEMORY).call.body
    assert (b"cache_control" in sent) is marked
