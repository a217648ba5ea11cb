"""OpenAI's text completions, the dialect before there were chats: a prompt in, text out."""

from typing import Final

from proxy.dialects.common import Envelope, RenderedError, Rendering, StreamEncoder, Target, Translated
from proxy.dialects.openai_chat import errors
from proxy.dialects.openai_chat.text import answer, request
from proxy.dialects.openai_chat.text.request import FIELDS
from proxy.dialects.openai_chat.text.stream import TextStreamEncoder
from proxy.errors import GatewayError
from proxy.model.message import Message

__all__ = ["FIELDS", "OpenAITextDialect", "TextStreamEncoder"]


class OpenAITextDialect:
    """The text completions API as its clients speak it."""

    name: Final = "openai_text"
    keep_alive: Final = b": ping\n\n"

    def peek(self, body: bytes) -> Envelope:
        """See `Dialect.peek`."""
        return request.peek(body)

    def decode_request(self, body: bytes, target: Target) -> Translated:
        """See `Dialect.decode_request`."""
        return request.decode_request(body, target)

    def encode_message(self, message: Message, rendering: Rendering) -> bytes:
        """See `Dialect.encode_message`."""
        return answer.encode_message(message, rendering)

    def stream_encoder(self, rendering: Rendering) -> StreamEncoder:
        """See `Dialect.stream_encoder`."""
        return TextStreamEncoder(rendering)

    def render_error(self, error: GatewayError, request_id: str) -> RenderedError:
        """See `Dialect.render_error`."""
        return errors.render_error(error, request_id)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """See `Dialect.error_frame`."""
        return errors.error_frame(error, request_id)
