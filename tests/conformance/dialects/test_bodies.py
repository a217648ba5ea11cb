"""Whatever a client sends, a dialect answers with a request or a clean 400."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.anthropic import AnthropicDialect, encode_request
from proxy.dialects.common import Dialect, Target
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.dialects.openai_chat.text import OpenAITextDialect
from proxy.dialects.openai_chat.text.request import TextRequest
from proxy.errors import InvalidRequest
from proxy.model.catalog import Catalog

_CATALOG = Catalog.load()
_TARGETS = [
    Target(facts=_CATALOG.facts(model), model=model, think=think)
    for model in ("claude-opus-5-5", "claude-opus-4-6", "claude-haiku-4-5", "claude-sonnet-5-5")
    for think in (False, True)
]
_DIALECTS: list[Dialect] = [OpenAIChatDialect(), OpenAITextDialect(), AnthropicDialect()]

_texts = st.sampled_from(["", " ", "a", "\x00", "ä\U0001f600", "x" * 300])
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_parts = st.one_of(
    _texts.map(lambda text: {"type": "text", "text": text}),
    _texts.map(lambda text: {"type": "image_url", "image_url": {"url": "data:image/png;base64," + text}}),
    _texts.map(lambda text: {"type": "tool_result", "tool_use_id": text, "content": text}),
    st.just({"type": "tool_use", "id": "a", "name": "f", "input": {}}),
    _json,
)
_calls = st.builds(
    lambda call, text: {"id": call, "type": "function", "function": {"name": "f", "arguments": text}},
    st.sampled_from(["a", "b", "a|b"]),
    _texts,
)
_messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "robot"])},
    optional={
        "content": _texts | st.lists(_parts, max_size=3) | _json,
        "tool_calls": st.lists(_calls, max_size=3),
        "function_call": st.just({"name": "f", "arguments": "{"}) | _json,
        "name": _texts,
        "tool_call_id": st.sampled_from(["a", "b", "a|b"]),
    },
)
_keywords = st.sampled_from(["type", "properties", "anyOf", "allOf", "$ref", "$defs", "items", "required"])
_schemas = st.recursive(
    st.sampled_from(["object", "string", "#/$defs/a"]) | _json,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_keywords | _texts, inner, max_size=3),
    max_leaves=8,
)
_formats = st.builds(
    lambda schema: {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}, _schemas
)
_tools = st.lists(
    st.builds(
        lambda name, schema: {
            "type": "function",
            "function": {"name": name, "strict": True, "parameters": schema},
        },
        _texts,
        _schemas,
    ),
    max_size=2,
)
_bodies = st.builds(
    lambda messages, fields: {"max_tokens": 5, **fields, "messages": messages},
    st.lists(_messages, max_size=5),
    st.dictionaries(
        st.sampled_from(sorted({*ChatRequest.__struct_fields__, *TextRequest.__struct_fields__, "system"})),
        _json | _formats | _tools,
        max_size=2,
    ),
)


def _answer(dialect: Dialect, body: bytes, target: Target) -> None:
    try:
        dialect.peek(body)
        translated = dialect.decode_request(body, target)
    except InvalidRequest as refused:
        error = refused
    else:
        sent = msgspec.json.decode(encode_request(translated.request))
        assert sent["model"] == target.model
        assert all(loss.field.isascii() for loss in translated.dropped)
        return
    assert error.status == 400
    assert len(error.message) < 300
    assert (error.param or "").isprintable()


@settings(max_examples=300, deadline=None)
@given(dialect=st.sampled_from(_DIALECTS), body=_bodies, target=st.sampled_from(_TARGETS))
def test_odd_requests(dialect: Dialect, body: object, target: Target) -> None:
    """Nearly right requests, with anything anywhere."""
    _answer(dialect, msgspec.json.encode(body), target)


@given(dialect=st.sampled_from(_DIALECTS), body=st.binary(max_size=40) | _json.map(msgspec.json.encode))
def test_odd_bodies(dialect: Dialect, body: bytes) -> None:
    """Bytes that are no request at all."""
    _answer(dialect, body, _TARGETS[0])


@pytest.mark.parametrize("dialect", _DIALECTS)
@pytest.mark.parametrize(
    "part",
    [
        b'"\xff"',
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b"NaN",
        b"1e400",
        b"1" * 5000,
        b"-0",
        b"[" * 100_000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b'"\\u0000"',
    ],
)
@pytest.mark.parametrize(
    "frame",
    [
        b'{"messages":[{"role":"user","content":%b}],"max_tokens":5}',
        b'{"messages":[{"role":"user","content":"a"}],"max_tokens":%b}',
        b'{"messages":[{"role":"user","content":"a"}],"max_tokens":5,"metadata":%b}',
        b'{"messages":[{"role":"user","content":"a"}],"max_tokens":5,"unknown":%b}',
        b'{"messages":[{"role":"user","content":"a"}],"max_tokens":5,"claude_options":%b}',
        b'{"messages":[{"role":"user","content":[{"type":"text","text":%b}]}],"max_tokens":5}',
        b'{"messages":[{"role":"user","content":"a"}],"max_tokens":5,"tools":[%b]}',
        b'{"messages":[],"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"a":%b}}}]}',
        b'{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"schema":%b}}}',
        b'{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"anyOf":[%b]}}}]}',
        b'{"prompt":%b}',
        b'{"prompt":[%b]}',
        b"%b",
    ],
)
def test_hostile_values_anywhere(dialect: Dialect, part: bytes, frame: bytes) -> None:
    """Numbers without end, broken text, endless nesting."""
    body = frame.replace(b"%b", part)
    for target in _TARGETS[:1]:
        try:
            dialect.peek(body)
            request = dialect.decode_request(body, target).request
        except InvalidRequest:
            continue
        encode_request(request)
