"""A whole Responses request: the peek, and what it becomes."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import PLAIN_FORM, Demand, Envelope
from proxy.dialects.json_text import JSON_WISH
from proxy.dialects.openai_responses.request import peek
from proxy.errors import InvalidRequest
from proxy.model.request import InputMessage
from tests.unit.dialects.openai_responses.building import MODEL, call, dropped, sent, translated


def _peeked(**fields: object) -> Envelope:
    return peek(msgspec.json.encode(fields), call())


@pytest.mark.parametrize(
    ("fields", "envelope"),
    [
        ({"model": "m", "input": "hi"}, Envelope("m", stream=False)),
        ({"model": "m", "stream": True, "input": None}, Envelope("m", stream=True)),
        ({"prompt_cache_key": "k"}, Envelope("", stream=False, conversation="k")),
        ({"previous_response_id": "resp_1"}, Envelope("", stream=False, continuing=True)),
        ({"input": [{"role": "user", "content": "a"}]}, Envelope("", stream=False)),
        (
            {"input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            Envelope("", stream=False, continuing=True),
        ),
        (
            {"input": [{"role": "user", "content": "a"}, {"type": "function_call_output", "call_id": "c"}]},
            Envelope("", stream=False, continuing=True),
        ),
        ({"claude_options": {}}, Envelope("", stream=False, own_fields=("claude_options",))),
    ],
    ids=str,
)
def test_the_peek_reads_what_routing_needs(fields: dict[str, object], envelope: Envelope) -> None:
    """Protects routing and affinity."""
    assert msgspec.structs.replace(_peeked(**fields), opening=b"") == envelope


def test_a_stored_conversation_keeps_its_name_whatever_the_request_says() -> None:
    """Protects the binding of a conversation to its credential from one turn to the next."""
    body = msgspec.json.encode({"input": "hi", "prompt_cache_key": "k"})
    assert peek(body, call(conversation="resp_first")).conversation == "resp_first"


def test_the_opening_is_the_instructions_and_the_first_words() -> None:
    """Protects affinity: later turns share it, however the first words were written; other words do not."""
    first = _peeked(instructions="Be kind.", input="hi")
    parts = [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]
    later = _peeked(instructions="Be kind.", input=[*parts, {"role": "assistant", "content": "yo"}])
    assert first.opening == later.opening
    assert _peeked(input="hi").opening != first.opening
    assert _peeked(instructions="Be kind.", input="ho").opening != first.opening


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"nonsense", None),
        (b"[]", None),
        (b'{"model":[]}', "model"),
        (b'{"input":5}', "input"),
        (b'{"input":[5]}', "input[0]"),
        (b'{"previous_response_id":5}', "previous_response_id"),
    ],
)
def test_a_peek_at_something_wrong_is_a_400(body: bytes, param: str | None) -> None:
    """Named where there is a name."""
    with pytest.raises(InvalidRequest) as caught:
        peek(body, call())
    assert caught.value.param == param


def test_the_smallest_request() -> None:
    """What the upstream needs, and nothing it was not asked for."""
    assert sent() == {
        "model": "claude-opus-5-5",
        "max_tokens": 16_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }


def test_codex_asks_and_nothing_is_refused() -> None:
    """Protects a program that sends every field it knows and tools of OpenAI's own."""
    tools = [
        {
            "type": "function",
            "name": "shell",
            "strict": False,
            "parameters": {"type": "object", "properties": {}},
        },
        {
            "type": "custom",
            "name": "apply_patch",
            "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
        },
        {"type": "namespace", "name": "multi_agent_v1", "tools": [{"type": "function", "name": "spawn"}]},
        {"type": "web_search", "external_web_access": False},
        {"type": "local_shell"},
    ]
    found = translated(
        MODEL,
        call(lenient=True),
        stream=True,
        store=False,
        input=[
            {
                "type": "message",
                "role": "developer",
                "content": [{"type": "input_text", "text": "You are Codex."}],
            },
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]},
        ],
        tools=tools,
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"summary": "auto"},
        include=["reasoning.encrypted_content"],
        prompt_cache_key="s",
        client_metadata={"x": "y"},
    )
    assert sorted(loss.field for loss in found.dropped) == ["client_metadata", "tools[3]", "tools[4]"]
    assert [block.text for block in found.request.system] == ["You are Codex."]


_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def _format(**fields: object) -> dict[str, object]:
    return {"text": {"format": fields}}


def test_a_schema_compels_the_model() -> None:
    """Protects structured answers: the schema is closed, and the format's description goes into it."""
    body = sent(**_format(type="json_schema", name="n", strict=True, schema=_SCHEMA, description="Says a."))
    expected = {**_SCHEMA, "description": "Says a.", "additionalProperties": False}
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": expected}}
    assert dropped(**_format(type="json_schema", name="n", schema=_SCHEMA)) == []


def test_a_schema_and_an_effort_go_together() -> None:
    """Protects either from the other."""
    fields = _format(type="json_schema", name="n", schema=_SCHEMA) | {"reasoning": {"effort": "low"}}
    config = msgspec.convert(sent(**fields)["output_config"], dict[str, object])
    assert config["effort"] == "low"
    assert "format" in config


def test_a_schema_that_cannot_be_compiled_is_asked_for_in_words_and_told() -> None:
    """Protects users of open schemas: the model still knows what is wanted, and they know it was only asked."""
    fields = _format(type="json_schema", name="n", schema={"type": "object"})
    (wish,) = msgspec.convert(sent(**fields)["system"], list[dict[str, str]])
    assert wish["text"].startswith(JSON_WISH)
    assert '{"type":"object"}' in wish["text"]
    assert "output_config" not in sent(**fields)
    assert dropped(**fields) == ["text.format.schema"]


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    """Protects JSON mode, which the upstream has not; other instructions come first."""
    body = sent(instructions="Be kind.", **_format(type="json_object"))
    assert body["system"] == [{"type": "text", "text": "Be kind."}, {"type": "text", "text": JSON_WISH}]
    found = translated(**_format(type="json_object"))
    assert (found.demand, found.form.unfence) == (Demand.JSON, True)


@pytest.mark.parametrize("text", [None, {}, {"format": None}, {"format": {"type": "text"}}])
def test_plain_text_asks_for_nothing(text: object) -> None:
    """Protects ordinary requests from sentences nobody asked for."""
    body = sent(text=text)
    assert not body.keys() & {"system", "output_config"}
    found = translated(text=text)
    assert (found.demand, found.form) == (None, PLAIN_FORM)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"type": "xml"}, "text.format.type"),
        ({"type": "json_schema", "name": "n"}, "text.format.schema"),
        ({"type": "json_schema", "name": "n", "schema": None}, "text.format.schema"),
        ({"type": "json_schema", "name": "n", "schema": [1]}, "text.format.schema"),
        ({"type": 1}, "text.format.type"),
    ],
    ids=str,
)
def test_a_format_that_cannot_be_is_named(fields: dict[str, object], param: str) -> None:
    """Protects users from an answer in no format at all."""
    with pytest.raises(InvalidRequest) as caught:
        translated(**_format(**fields))
    assert caught.value.param == param


def test_a_schema_beyond_compiling_is_the_input_of_a_tool_where_one_can_be_forced() -> None:
    """Protects open schemas on models that can be made to call: the answer follows them, and is told as text."""
    fields = _format(type="json_schema", name="n", schema={"type": "object"})
    found = translated("claude-opus-5", **fields)
    assert found.form.text_tool == "n"
    assert [loss.field for loss in found.dropped] == ["text.format.schema"]
    assert sent("claude-opus-5", **fields)["tool_choice"] == {
        "type": "tool",
        "name": "n",
        "disable_parallel_tool_use": True,
    }


def test_a_tool_that_is_only_wished_for_is_demanded() -> None:
    """Protects forced calls on models that take no force: an answer without one is asked for once more."""
    tool = {"type": "function", "name": "f"}
    assert translated(tools=[tool], tool_choice="required").demand is Demand.CALL
    assert translated(tools=[tool]).demand is None


@pytest.mark.parametrize("verbosity", ["low", "medium", "high", None])
def test_the_length_is_asked_for_in_words(verbosity: str | None) -> None:
    """Protects ``text.verbosity``; the middle is what models do anyway."""
    body = sent(instructions="Be kind.", text={"verbosity": verbosity})
    texts = msgspec.convert(body["system"], list[dict[str, str]])
    assert len(texts) == (2 if verbosity in {"low", "high"} else 1)
    assert texts[0]["text"] == "Be kind."


_texts = st.sampled_from(["", " ", "a", "\x00", "ä\U0001f600"])
_items = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["message", "function_call", "function_call_output", "reasoning", "custom_tool_call"]
        )
    },
    optional={
        "role": st.sampled_from(["user", "assistant", "developer", "system"]),
        "content": _texts
        | st.lists(st.fixed_dictionaries({"type": st.just("input_text"), "text": _texts}), max_size=2),
        "call_id": st.sampled_from(["a", "b", "a|b"]),
        "name": st.sampled_from(["f", "g"]),
        "arguments": _texts | st.just('{"a":1}'),
        "output": _texts,
        "input": _texts,
    },
)


@given(st.lists(_items, max_size=6))
def test_whatever_the_items_the_turns_are_lawful_or_the_field_is_named(items: list[object]) -> None:
    """Protects the upstream's order: the user first, roles in turn, each call answered in the next message."""
    try:
        messages = translated("claude-opus-4-6", input=items).request.messages
    except InvalidRequest as refused:
        error = refused
    else:
        _check_order(messages)
        return
    assert error.param is not None
    assert error.param.startswith("input")


def _check_order(messages: list[InputMessage]) -> None:
    roles = [message.role for message in messages]
    assert roles[0] == "user"
    assert roles[-1] == "user"
    assert all(one != other for one, other in pairwise(roles))
    assert all(message.content for message in messages)
