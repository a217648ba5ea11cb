"""A Messages client's request."""

import msgspec
import pytest

from proxy.dialects.anthropic.request import decode_request, peek, read_messages
from proxy.dialects.common import Dropped, Envelope, Target
from proxy.errors import InvalidRequest
from proxy.model.catalog import Catalog
from proxy.model.content import TextBlock, ToolResultBlock
from proxy.model.request import InputMessage, Tool

_TARGET = Target(facts=Catalog.load().facts("claude-haiku-4-5"), model="claude-haiku-4-5", stream=True)
_HELLO = [{"role": "user", "content": "hi"}]


def _body(**fields: object) -> bytes:
    return msgspec.json.encode({"model": "m", "max_tokens": 9, "messages": _HELLO} | fields)


@pytest.mark.parametrize(
    ("body", "envelope"),
    [
        (b"{}", Envelope("", stream=False)),
        (b'{"model":"m","stream":true}', Envelope("m", stream=True)),
        (b'{"model":null,"stream":null,"messages":null}', Envelope("", stream=False)),
        (b'{"model":"a","model":"b"}', Envelope("b", stream=False)),
        (
            b'{"messages":[{"role":"user","content":[1]},{"role":"assistant"}]}',
            Envelope("", False, continuing=True),
        ),
        (
            b'{"session_id":"x","claude_options":{}}',
            Envelope("", False, own_fields=("claude_options", "session_id")),
        ),
        (b'{"thread":{"type":"create"}}', Envelope("", False, thread="")),
        (
            b'{"thread":{"type":"continue","previous_message_id":"msg_1"}}',
            Envelope("", False, thread="msg_1"),
        ),
        (b'{"thread":null}', Envelope("", False)),
        (b'{"thread":[1]}', Envelope("", False)),
        (b'{"thinking":{},"max_tokens":5}', Envelope("", False, has_thinking=True, max_tokens=5)),
    ],
)
def test_the_peek_reads_what_routing_needs(body: bytes, envelope: Envelope) -> None:
    """And nothing else: content of any shape passes."""
    assert msgspec.structs.replace(peek(body), opening=b"") == envelope


def test_a_thread_cannot_be_translated_and_the_sdks_are_told_what_to_do_instead() -> None:
    """Protects conversations of which the upstream would see the last turn alone; source: the SDKs' recovery."""
    body = _body(thread={"type": "continue", "previous_message_id": "msg_1"})
    with pytest.raises(InvalidRequest) as caught:
        decode_request(body, _TARGET)
    assert caught.value.param == "thread"
    assert caught.value.details == b'{"error_code":"thread_unsupported_request"}'
    assert decode_request(_body(thread=None), _TARGET).dropped == ()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"model":3}', "model"),
        (b'{"stream":"yes"}', "stream"),
        (b'{"messages":{}}', "messages"),
        (b'{"messages":[{"role":1}]}', "messages[0].role"),
    ],
)
def test_a_peek_at_something_wrong_is_a_400(body: bytes, param: str | None) -> None:
    """Before any credential is asked."""
    with pytest.raises(InvalidRequest) as caught:
        peek(body)
    assert caught.value.param == param


def test_shorthands_are_written_out() -> None:
    """Strings become blocks, so that nobody behind has to know both."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}
    body = _body(system="s", messages=[*_HELLO, {"role": "user", "content": [result]}])
    request = decode_request(body, _TARGET).request
    assert request.system == [TextBlock("s")]
    assert request.messages == [
        InputMessage("user", [TextBlock("hi")]),
        InputMessage("user", [ToolResultBlock("t", [TextBlock("ok")])]),
    ]
    assert request.model == "claude-haiku-4-5"


def test_tools_are_the_clients_or_stay_raw() -> None:
    """A server tool is carried without being understood."""
    mine = {"name": "f", "input_schema": {"type": "object"}}
    search = {"type": "web_search_20250305", "name": "web_search"}
    tools = decode_request(_body(tools=[mine, mine | {"type": "custom"}, search]), _TARGET).request.tools
    assert isinstance(tools[0], Tool)
    assert isinstance(tools[1], Tool)
    assert isinstance(tools[2], msgspec.Raw)


def test_limits_and_losses() -> None:
    """More tokens than the model has are cut; fields nobody knows are told."""
    translated = decode_request(_body(max_tokens=10**6, novelty=1), _TARGET)
    assert translated.request.max_tokens == 64_000
    assert translated.dropped == (Dropped("novelty", "unknown field"),)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
        ),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0]"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "perhaps"}}, "tool_choice.type"),
    ],
)
def test_mistakes_are_named(fields: dict[str, object], param: str) -> None:
    """With the path of the field."""
    with pytest.raises(InvalidRequest) as caught:
        decode_request(_body(**fields), _TARGET)
    assert caught.value.param == param


def test_messages_are_read_alone_as_they_are_within_a_request() -> None:
    """Protects requests to count tokens, which have no ``max_tokens``."""
    body = _body(messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}, *_HELLO])
    assert read_messages(body) == decode_request(body, _TARGET).request.messages
    assert read_messages(msgspec.json.encode({"messages": _HELLO})) == [
        InputMessage("user", [TextBlock("hi")])
    ]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "messages"),
        (b'{"messages":[]}', "messages"),
        (b'{"messages":[{"role":"user","content":7}]}', "messages[0].content"),
        (b'{"messages":[{"role":"user","content":[{}]}]}', "messages[0].content[0].type"),
    ],
)
def test_messages_that_cannot_be_read_are_a_400_that_names_them(body: bytes, param: str | None) -> None:
    """Protects clients from a 500 where only the messages are looked at."""
    with pytest.raises(InvalidRequest) as caught:
        read_messages(body)
    assert caught.value.param == param
