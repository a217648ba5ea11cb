"""Anthropic's Messages API, on both sides: as clients speak it to us, and as we speak it to upstreams."""

from proxy.dialects.anthropic.caching import with_cache_marks
from proxy.dialects.anthropic.client import AnthropicDialect
from proxy.dialects.anthropic.request import read_messages
from proxy.dialects.anthropic.results import ResultsTap
from proxy.dialects.anthropic.stream import StreamDecoder, StreamTap
from proxy.dialects.anthropic.thinking import holds_our_signatures, without_foreign_thinking
from proxy.dialects.anthropic.upstream import (
    MessagesUpstream,
    decode_error,
    encode_count,
    encode_request,
    summarize,
)
from proxy.dialects.anthropic.wire import decode_message

__all__ = [
    "AnthropicDialect",
    "MessagesUpstream",
    "ResultsTap",
    "StreamDecoder",
    "StreamTap",
    "decode_error",
    "decode_message",
    "encode_count",
    "encode_request",
    "holds_our_signatures",
    "read_messages",
    "summarize",
    "with_cache_marks",
    "without_foreign_thinking",
]
