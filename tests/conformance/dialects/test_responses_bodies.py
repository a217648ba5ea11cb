"""Whatever a client of the Responses API sends, it gets an answer or a clean 400."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.anthropic import encode_request
from proxy.dialects.openai_responses import ResponsesDialect
from proxy.dialects.openai_responses.fields import VERDICTS
from proxy.dialects.openai_responses.history import read_asked, references, stored_input
from proxy.dialects.openai_responses.items import _READERS, LEFT_OUT
from proxy.errors import GatewayError
from tests.unit.dialects.openai_responses.building import NUMBER, call, target

_texts = st.sampled_from(["", " ", "a", "\x00", "ä\U0001f600", "x" * 300, "crs1.AAAA", "item_reference"])
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_parts = (
    st.fixed_dictionaries(
        {"type": st.sampled_from(["input_text", "output_text", "refusal", "input_image", "input_file", "x"])},
        optional=dict.fromkeys(("text", "refusal", "image_url", "file_data", "file_url", "file_id"), _texts),
    )
    | _json
)
_items = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*_READERS, *LEFT_OUT, "item_reference", "robot"]),
        "role": st.sampled_from(["system", "developer", "user", "assistant", "robot"]),
        "content": _texts | st.lists(_parts, max_size=3) | _json,
        "call_id": st.sampled_from(["a", "b", "a|b"]),
        **dict.fromkeys(("id", "name", "arguments", "input", "output", "encrypted_content"), _texts | _json),
    },
)
_tools = st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "custom", "namespace", "web_search", "shell"])},
    optional={"name": _texts, "parameters": _json, "strict": _json, "tools": _json, "format": _json},
)
_bodies = st.builds(
    lambda items, tools, fields: {"input": items, "tools": tools, **fields},
    _texts | st.lists(_items | _json, max_size=5),
    st.lists(_tools, max_size=2),
    st.dictionaries(st.sampled_from([*VERDICTS, "claude_options"]), _json, max_size=2),
)


def _answer(body: bytes, model: str) -> None:
    dialect = ResponsesDialect(call())
    try:
        asked = read_asked(body)
        references(body, asked.items)
        stored = stored_input(asked.items, f"resp_{NUMBER}")
        dialect.peek(body)
        translated = dialect.decode_request(body, target(model))
    except GatewayError as refused:
        error = refused
    else:
        sent = msgspec.json.decode(encode_request(translated.request), type=dict[str, msgspec.Raw])
        assert bytes(sent["model"]) == msgspec.json.encode(model)
        assert all(loss.field.isascii() for loss in translated.dropped)
        repeated = b"{" + dialect._understood.repeated + b"}"
        assert msgspec.json.decode(repeated.decode(), type=dict[str, msgspec.Raw])
        assert stored.decode()
        return
    assert error.status == 400
    assert len(error.message) < 300
    assert (error.param or "").isprintable()


@settings(max_examples=300, deadline=None)
@given(body=_bodies, model=st.sampled_from(["claude-opus-5-5", "claude-opus-4-6", "claude-haiku-4-5"]))
def test_odd_requests(body: object, model: str) -> None:
    """Nearly right requests, with anything anywhere."""
    _answer(msgspec.json.encode(body), model)


@given(body=st.binary(max_size=40) | _json.map(msgspec.json.encode))
def test_odd_bodies(body: bytes) -> None:
    """Bytes that are no request at all."""
    _answer(body, "claude-opus-5-5")


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
        b"%b",
        b'{"input":%b}',
        b'{"input":[%b]}',
        b'{"input":[{"role":"user","content":%b}]}',
        b'{"input":[{"role":"user","content":[{"type":"input_text","text":%b}]}]}',
        b'{"input":[{"type":"shell_call","call_id":"c","action":%b},{"type":"shell_call_output","call_id":"c","output":%b}]}',
        b'{"input":[{"type":"web_search_call","odd":%b}]}',
        b'{"input":"a","text":{"format":{"type":"json_schema","schema":%b}}}',
        b'{"input":"a","text":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":%b}}}}}',
        b'{"input":"a","tools":[{"type":"function","name":"f","strict":true,"parameters":{"a":%b}}]}',
        b'{"input":"a","metadata":%b}',
        b'{"input":"a","unknown":%b}',
        b'{"input":"a","previous_response_id":%b}',
    ],
)
def test_hostile_values_anywhere(part: bytes, frame: bytes) -> None:
    """Numbers without end, broken text, endless nesting."""
    _answer(frame.replace(b"%b", part), "claude-opus-5-5")
