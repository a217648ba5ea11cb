"""Towards Anthropic: requests out, whole answers and errors in.

Source: "Create a Message", "Count tokens in a Message" and "Errors" in Anthropic's API documentation.
"""

from typing import Final, Literal

import msgspec

from proxy.dialects.anthropic.stream import StreamDecoder, StreamTap
from proxy.dialects.anthropic.wire import decode_message, error_code, shown_details
from proxy.dialects.sse import encode_frame
from proxy.dialects.upstream import ErrorFacts, MessageBroken, Summary
from proxy.model.events import Event
from proxy.model.message import Message, Usage
from proxy.model.request import Request
from proxy.model.spell import spelled

_encoder = msgspec.json.Encoder()
_WEIGHS: Final = (
    *("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"),
)


def encode_request(request: Request) -> bytes:
    """The body of a request; the same request gives the same bytes."""
    return _encoder.encode(request)


def encode_count(request: Request) -> bytes:
    """The body of a request to count the tokens of this one: what weighs nothing is not accepted there."""
    fields = {name: getattr(request, name) for name in _WEIGHS}
    return _encoder.encode({name: value for name, value in fields.items() if value})


class _Summary(msgspec.Struct):
    type: Literal["message"]
    usage: Usage | None = None
    stop_reason: str | None = None
    id: str = ""


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""
    details: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _WithError(msgspec.Struct):
    error: _Error | None = None


class _AnyMessage(msgspec.Struct):
    type: Literal["message"]


_summary_decoder = msgspec.json.Decoder(_Summary)
_message_decoder = msgspec.json.Decoder(_AnyMessage)
_error_decoder = msgspec.json.Decoder(_WithError)


def summarize(body: bytes) -> Summary:
    """Read what is kept of a unary answer; what it tells in no known form is left out, and costs nobody the answer.

    Raises MessageBroken for a body that is no message.
    """
    try:
        found = _summary_decoder.decode(body)
    except (ValueError, RecursionError):
        pass
    else:
        return Summary(found.usage, found.stop_reason, found.id)
    try:
        _message_decoder.decode(body)
    except (ValueError, RecursionError):
        raise MessageBroken("the answer is no message") from None
    return Summary()


def decode_error(body: bytes) -> ErrorFacts:
    """Read an error body, whatever it is: an HTML page, nothing, or JSON cut off in the middle."""
    try:
        error = _error_decoder.decode(body).error
    except (ValueError, RecursionError):
        return ErrorFacts()
    if error is None:
        return ErrorFacts()
    return ErrorFacts(error.type, error.message, error_code(error.details), shown_details(error.details))


class MessagesUpstream:
    """The Messages API as upstreams speak it."""

    def decode_message(self, body: bytes) -> Message:
        """See `UpstreamDialect.decode_message`."""
        return decode_message(body)

    def summarize(self, body: bytes) -> Summary:
        """See `UpstreamDialect.summarize`."""
        return summarize(body)

    def decode_error(self, body: bytes) -> ErrorFacts:
        """See `UpstreamDialect.decode_error`."""
        return decode_error(body)

    def spelled(self, body: bytes) -> bytes:
        """See `UpstreamDialect.spelled`."""
        return b"".join(map(_frame, spelled(decode_message(body))))

    def stream_decoder(self, event_max_bytes: int) -> StreamDecoder:
        """See `UpstreamDialect.stream_decoder`."""
        return StreamDecoder(event_max_bytes)

    def stream_tap(self, event_max_bytes: int, *, hides_usage: bool) -> StreamTap:  # noqa: ARG002 - usage stands in events that are needed
        """See `UpstreamDialect.stream_tap`."""
        return StreamTap(event_max_bytes)


def _frame(event: Event) -> bytes:
    return encode_frame(_encoder.encode(event), str(event.__struct_config__.tag))
