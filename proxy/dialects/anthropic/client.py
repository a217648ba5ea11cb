"""Towards Messages clients: answers, streams and errors in Anthropic's own format.

Source: the ``Message`` object, "Streaming messages" and "Errors" in Anthropic's API documentation.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.dialects.anthropic import request
from proxy.dialects.common import Envelope, RenderedError, Rendering, Target, Translated
from proxy.dialects.sse import encode_frame
from proxy.errors import GatewayError
from proxy.model.events import ErrorEvent, Event, MessageStart
from proxy.model.message import Message, Usage

_encoder = msgspec.json.Encoder()


class MessagesErrorBody(msgspec.Struct, omit_defaults=True):
    """An error in Anthropic's words."""

    type: str
    message: str
    details: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class MessagesError(msgspec.Struct, tag_field="type", tag="error"):
    """The envelope of an error."""

    error: MessagesErrorBody
    request_id: str


class AnthropicStreamEncoder:
    """Canonical events to the bytes of a Messages stream.

    An ``error`` event gives no bytes: whoever sends the stream ends it with `AnthropicDialect.error_frame`.
    """

    __slots__ = ("_rendering",)

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering

    def encode(self, events: Sequence[Event]) -> bytes:
        """See `proxy.dialects.common.StreamEncoder.encode`."""
        return b"".join([self._frame(event) for event in events if type(event) is not ErrorEvent])

    def _frame(self, event: Event) -> bytes:
        if isinstance(event, MessageStart):
            event = MessageStart(_shown(event.message, self._rendering))
        return encode_frame(_encoder.encode(event), str(event.__struct_config__.tag))


class AnthropicDialect:
    """The Messages API as its clients speak it."""

    name: Final = "anthropic"
    keep_alive: Final = b'event: ping\ndata: {"type": "ping"}\n\n'

    def peek(self, body: bytes) -> Envelope:
        """See `Dialect.peek`."""
        return request.peek(body)

    def decode_request(self, body: bytes, target: Target) -> Translated:
        """See `Dialect.decode_request`."""
        return request.decode_request(body, target)

    def encode_message(self, message: Message, rendering: Rendering) -> bytes:
        """See `Dialect.encode_message`."""
        return _encoder.encode(_shown(message, rendering))

    def stream_encoder(self, rendering: Rendering) -> AnthropicStreamEncoder:
        """See `Dialect.stream_encoder`."""
        return AnthropicStreamEncoder(rendering)

    def render_error(self, error: GatewayError, request_id: str) -> RenderedError:
        """See `Dialect.render_error`."""
        return RenderedError(error.status, _encoder.encode(_envelope(error, request_id)))

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """See `Dialect.error_frame`."""
        return encode_frame(_encoder.encode(_envelope(error, request_id)), "error")


def _envelope(error: GatewayError, request_id: str) -> MessagesError:
    body = MessagesErrorBody(error.kind.value, error.message)
    if error.details:
        body.details = msgspec.Raw(error.details)
    return MessagesError(body, request_id)


def _shown(message: Message, rendering: Rendering) -> Message:
    """The message under the name its client knows, with the id and the two counts that clients take for granted."""
    usage = message.usage
    if usage.input_tokens is None or usage.output_tokens is None:
        usage = Usage(input_tokens=0, output_tokens=0).merge(usage)
    return msgspec.structs.replace(
        message,
        id=message.id or "msg_" + rendering.request_id.removeprefix("req_"),
        model=rendering.model or message.model,
        usage=usage,
    )
