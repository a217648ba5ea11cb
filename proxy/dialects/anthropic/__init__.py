"""Anthropic's Messages API, on both sides: as clients speak it to us, and as we speak it to upstreams."""

from proxy.dialects.anthropic.client import AnthropicDialect
from proxy.dialects.anthropic.stream import StreamDecoder, StreamTap
from proxy.dialects.anthropic.upstream import (
    decode_error,
    encode_request,
    splice,
    summarize,
)
from proxy.dialects.anthropic.wire import MessageBroken, decode_message

__all__ = [
    "AnthropicDialect",
    "MessageBroken",
    "StreamDecoder",
    "StreamTap",
    "decode_error",
    "decode_message",
    "encode_request",
    "splice",
    "summarize",
]
