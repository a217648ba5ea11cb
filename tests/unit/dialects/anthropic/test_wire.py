"""Anthropic's events: what is new passes, what is wrong does not."""

import msgspec
import pytest

from proxy.dialects.anthropic.wire import (
    decode_event,
    decode_message,
    error_code,
    event_type,
)
from proxy.dialects.common import StreamBroken
from proxy.dialects.upstream import MessageBroken
from proxy.model.content import TextBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ErrorBody,
    ErrorEvent,
    Event,
    MessageDelta,
    MessageStart,
    Stop,
)
from proxy.model.message import Message, Usage


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b'{"type":"novelty","a":1}', None),
        (
            b'{"type":"content_block_start","index":2,"content_block":{"type":"new","a": 1}}',
            ContentBlockStart(2, msgspec.Raw(b'{"type":"new","a":1}')),
        ),
        (
            b'{"type":"content_block_delta","index":2,"delta":{"type":"new_delta", "a":1}}',
            ContentBlockDelta(2, msgspec.Raw(b'{"type":"new_delta","a":1}')),
        ),
        (
            b'{"type":"message_start","message":{"type":"message","content":[{"type":"new"}],"usage":null}}',
            MessageStart(Message(content=[msgspec.Raw(b'{"type":"new"}')])),
        ),
        (
            b'{"type":"message_delta","delta":{"stop_reason":"x"},"usage":null}',
            MessageDelta(Stop("x"), Usage()),
        ),
        (b'{"type":"message_delta","delta":{"stop_reason":"x"}}', MessageDelta(Stop("x"), Usage())),
        (b'{"type":"error","error":{}}', ErrorEvent(ErrorBody("api_error", ""))),
    ],
)
def test_what_is_new_passes(data: bytes, event: Event | None) -> None:
    """The API may add events, deltas, blocks and leave counts out."""
    assert decode_event(data) == event


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[DONE]",
        b"{",
        b"[]",
        b"{}",
        b'{"type":7}',
        b'{"type":"content_block_stop"}',
        b'{"type":"content_block_stop","index":"0"}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta"}}',
        b'{"type":"content_block_delta","index":0,"delta":{}}',
        b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":5}}',
        b'{"type":"message_start","message":{"type":"error","content":[]}}',
        b'{"type":"message_delta","delta":3}',
        b'{"type":"error","error":{"message":"\xff"}}',
        b"[" * 100_000,
    ],
)
def test_what_is_wrong_breaks_the_stream(data: bytes) -> None:
    """Never an exception of another kind."""
    with pytest.raises(StreamBroken):
        decode_event(data)


def test_the_type_alone_can_be_read() -> None:
    """For frames that come without an event line."""
    assert event_type(b'{"a":[1,2],"type":"ping"}') == "ping"
    with pytest.raises(StreamBroken):
        event_type(b"[DONE]")


def test_a_message_needs_neither_model_nor_usage() -> None:
    """An answer without them is an answer; unknown counts stay unknown."""
    message = decode_message(b'{"type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"new"}')
    assert message == Message(content=[TextBlock("a")], stop_reason="new")
    assert message.usage.input_tokens is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"type":"error","error":{}}',
        b'{"type":"completion","content":[]}',
        b'{"type":"message"}',
        b'{"type":"message","content":"text"}',
        b'{"type":"message","content":[{"type":"text"}]}',
        b'{"type":"message","content":[' + b"[" * 100_000,
        b'{"type":"message","content":[{"type":"tool_use","id":"a","name":"f","input":{"x":"\xc1"}}]}',
    ],
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    """A 200 with something else in it is a fault of the upstream."""
    with pytest.raises(MessageBroken):
        decode_message(body)


@pytest.mark.parametrize(
    ("details", "code"),
    [
        (msgspec.UNSET, None),
        (b"null", None),
        (b'{"error_code":"x"}', "x"),
        (b'{"error_code":7}', None),
        (b"[]", None),
        (b'"x"', None),
    ],
)
def test_error_codes_are_read_if_they_can_be(details: bytes | msgspec.UnsetType, code: str | None) -> None:
    """Details of any shape never hide the error itself."""
    assert error_code(details) == code
