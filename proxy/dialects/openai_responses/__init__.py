"""OpenAI's Responses API as clients speak it to us.

It stands on the rooms of Chat Completions: both are OpenAI's words for the same things.
"""

from typing import Final

from proxy.dialects.common import Envelope, RenderedError, Rendering, Target, Translated
from proxy.dialects.openai_chat import errors
from proxy.dialects.openai_responses import request
from proxy.dialects.openai_responses.call import Call
from proxy.dialects.openai_responses.fields import NAMED
from proxy.dialects.openai_responses.output import repeated
from proxy.dialects.openai_responses.request import Understood
from proxy.dialects.openai_responses.schema import ResponsesRequest
from proxy.dialects.openai_responses.sealing import Seal, SealBroken
from proxy.dialects.openai_responses.stream import ResponseStreamEncoder
from proxy.errors import GatewayError
from proxy.model.message import Message
from proxy.model.spell import spelled

__all__ = ["NAMED", "Call", "ResponseStreamEncoder", "ResponsesDialect", "Seal", "SealBroken"]

_NOTHING: Final = Understood(repeated(ResponsesRequest(), store=False))


class ResponsesDialect:
    """The Responses API as the client of one call speaks it.

    An answer repeats much of its request, and tells a failure as a part of itself: an instance serves one call, and
    remembers what it was asked and how far its stream has come.
    """

    name: Final = "openai_responses"
    keep_alive: Final = b": ping\n\n"

    def __init__(self, call: Call) -> None:
        self._call = call
        self._understood = _NOTHING
        self._encoder: ResponseStreamEncoder | None = None

    def peek(self, body: bytes) -> Envelope:
        """See `Dialect.peek`."""
        return request.peek(body, self._call)

    def decode_request(self, body: bytes, target: Target) -> Translated:
        """See `Dialect.decode_request`."""
        translated, self._understood = request.understand(body, target, self._call)
        return translated

    def encode_message(self, message: Message, rendering: Rendering) -> bytes:
        """See `Dialect.encode_message`."""
        encoder = ResponseStreamEncoder(self._call, self._understood, rendering)
        encoder.encode([*spelled(message)])
        return encoder.finished or b""

    def stream_encoder(self, rendering: Rendering) -> ResponseStreamEncoder:
        """See `Dialect.stream_encoder`."""
        encoder = self._encoder = ResponseStreamEncoder(self._call, self._understood, rendering)
        return encoder

    def render_error(self, error: GatewayError, request_id: str) -> RenderedError:
        """See `Dialect.render_error`."""
        return errors.render_error(error, request_id, NAMED)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """See `Dialect.error_frame`."""
        encoder = self._encoder
        if encoder is None:
            # the answer had to begin before anybody could give one
            rendering = Rendering(request_id=request_id, created_s=self._call.unix_s(), model="")
            encoder = ResponseStreamEncoder(self._call, self._understood, rendering)
        return encoder.failed(error)
