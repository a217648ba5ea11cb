"""Answers and errors for Messages clients."""

import msgspec

from proxy.dialects.anthropic import AnthropicDialect
from proxy.dialects.common import Dialect, Rendering
from proxy.dialects.sse import SseDecoder
from proxy.errors import ErrorKind, GatewayError
from proxy.model.content import TextBlock
from proxy.model.events import ErrorBody, ErrorEvent, MessageStart
from proxy.model.message import Message, Usage

_DIALECT: Dialect = AnthropicDialect()
_RENDERING = Rendering(request_id="req_1", created_s=0, model="shown")
_ERROR = GatewayError(529, ErrorKind.OVERLOADED, "busy")


def test_an_answer_is_shown_under_the_clients_name_for_the_model() -> None:
    """And with the two counts every client takes for granted."""
    body = _DIALECT.encode_message(Message(id="msg_1", model="asked", content=[TextBlock("a")]), _RENDERING)
    assert msgspec.json.decode(body) == {
        "type": "message",
        "id": "msg_1",
        "model": "shown",
        "content": [{"type": "text", "text": "a"}],
        "role": "assistant",
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def test_known_counts_are_not_touched() -> None:
    """Only what is missing is filled in."""
    start = MessageStart(Message(usage=Usage(input_tokens=3, cache_read_input_tokens=4)))
    frame = _DIALECT.stream_encoder(_RENDERING).encode([start])
    data = msgspec.json.decode(SseDecoder(1000).feed(frame)[0].data)
    assert data["message"]["usage"] == {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 0}


def test_errors_have_the_envelope_and_our_request_id() -> None:
    """Before and after the commit the same body."""
    expected = {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "busy"},
        "request_id": "req_1",
    }
    rendered = _DIALECT.render_error(_ERROR, "req_1")
    assert (rendered.status, msgspec.json.decode(rendered.body)) == (529, expected)
    (frame,) = SseDecoder(1000).feed(_DIALECT.error_frame(_ERROR, "req_1"))
    assert (frame.event, msgspec.json.decode(frame.data)) == ("error", expected)


def test_the_details_the_provider_gave_an_error_are_kept() -> None:
    """Protects clients that tell errors apart by them, as the provider's own SDKs do."""
    details = b'{"error_code":"file_not_downloadable"}'
    error = GatewayError(400, ErrorKind.INVALID_REQUEST, "no", details=details)
    body = msgspec.json.decode(_DIALECT.render_error(error, "req_1").body)
    assert body["error"] == {
        "type": "invalid_request_error",
        "message": "no",
        "details": {"error_code": "file_not_downloadable"},
    }


def test_an_error_event_is_left_to_whoever_sends_the_stream() -> None:
    """Else the client would get two."""
    assert _DIALECT.stream_encoder(_RENDERING).encode([ErrorEvent(ErrorBody())]) == b""


def test_the_keep_alive_is_a_ping() -> None:
    """The only frame that means nothing to these clients."""
    (frame,) = SseDecoder(1000).feed(_DIALECT.keep_alive)
    assert (frame.event, msgspec.json.decode(frame.data)) == ("ping", {"type": "ping"})
