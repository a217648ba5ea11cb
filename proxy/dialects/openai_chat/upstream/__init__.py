"""OpenAI's Chat Completions, as we speak it to upstreams."""

from proxy.dialects.openai_chat.upstream import answer, spelling, wire
from proxy.dialects.openai_chat.upstream.passing import passing_body
from proxy.dialects.openai_chat.upstream.request import encode_request
from proxy.dialects.openai_chat.upstream.stream import ChatStreamDecoder
from proxy.dialects.openai_chat.upstream.tap import ChatStreamTap
from proxy.dialects.openai_chat.upstream.wire import decode_error
from proxy.dialects.upstream import ErrorFacts, Summary
from proxy.model.message import Message

__all__ = [
    "ChatStreamDecoder",
    "ChatStreamTap",
    "ChatUpstream",
    "decode_error",
    "encode_request",
    "passing_body",
]


class ChatUpstream:
    """The Chat Completions API as upstreams speak it."""

    def decode_message(self, body: bytes) -> Message:
        """See `UpstreamDialect.decode_message`."""
        return answer.decode_message(body)

    def summarize(self, body: bytes) -> Summary:
        """See `UpstreamDialect.summarize`."""
        return answer.summarize(body)

    def decode_error(self, body: bytes) -> ErrorFacts:
        """See `UpstreamDialect.decode_error`."""
        return wire.decode_error(body)

    def spelled(self, body: bytes) -> bytes:
        """See `UpstreamDialect.spelled`."""
        return spelling.spelled(body)

    def stream_decoder(self, event_max_bytes: int) -> ChatStreamDecoder:
        """See `UpstreamDialect.stream_decoder`."""
        return ChatStreamDecoder(event_max_bytes)

    def stream_tap(self, event_max_bytes: int, *, hides_usage: bool) -> ChatStreamTap:
        """See `UpstreamDialect.stream_tap`."""
        return ChatStreamTap(event_max_bytes, hides_usage=hides_usage)
