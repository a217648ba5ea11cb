"""OpenAI's Chat Completions, on both sides: as clients speak it to us, and as we speak it to upstreams."""

from typing import Final

from proxy.dialects.common import Envelope, RenderedError, Rendering, StreamEncoder, Target, Translated
from proxy.dialects.openai_chat import errors, request, response
from proxy.dialects.openai_chat.errors import FIELDS, told_field
from proxy.dialects.openai_chat.shaping import shaped_message, shaped_stream
from proxy.dialects.openai_chat.stream import ChatStreamEncoder
from proxy.dialects.openai_chat.upstream import ChatUpstream
from proxy.errors import GatewayError
from proxy.model.message import Message

__all__ = ["FIELDS", "ChatStreamEncoder", "ChatUpstream", "OpenAIChatDialect", "told_field"]


class OpenAIChatDialect:
    """The Chat Completions API as its clients speak it."""

    name: Final = "openai_chat"
    keep_alive: Final = b": ping\n\n"

    def peek(self, body: bytes) -> Envelope:
        """See `Dialect.peek`."""
        return request.peek(body)

    def decode_request(self, body: bytes, target: Target) -> Translated:
        """See `Dialect.decode_request`."""
        return request.decode_request(body, target)

    def encode_message(self, message: Message, rendering: Rendering) -> bytes:
        """See `Dialect.encode_message`."""
        return response.encode_message(shaped_message(message, rendering.form), rendering)

    def stream_encoder(self, rendering: Rendering) -> StreamEncoder:
        """See `Dialect.stream_encoder`."""
        return shaped_stream(ChatStreamEncoder(rendering), rendering.form)

    def render_error(self, error: GatewayError, request_id: str) -> RenderedError:
        """See `Dialect.render_error`."""
        return errors.render_error(error, request_id)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """See `Dialect.error_frame`."""
        return errors.error_frame(error, request_id)
