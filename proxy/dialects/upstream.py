"""What a dialect offers where an upstream speaks it: whole answers, streams and errors in the canonical form."""

from dataclasses import dataclass
from typing import Protocol

import msgspec

from proxy.dialects.common import Observed, StreamBroken
from proxy.model.events import Event
from proxy.model.message import Message, Usage


class MessageBroken(ValueError):
    """A body that should be an answer and is none."""


class Summary(msgspec.Struct):
    """What is kept of a unary answer that passes unchanged.

    Attributes:
        usage: what it used; None where it does not say.
        stop_reason: why it ended, in Anthropic's words.
        message_id: its id.
    """

    usage: Usage | None = None
    stop_reason: str | None = None
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What an error body tells; empty where it is no error envelope.

    Attributes:
        type: ``error.type``.
        message: ``error.message``.
        code: ``error.details.error_code`` (Anthropic) or ``error.code`` (OpenAI).
        details: ``error.details`` where it is a JSON object of at most 2 KiB (Anthropic), without blanks; else empty.
        param: ``error.param``, the request field it is about (OpenAI).
    """

    type: str = ""
    message: str = ""
    code: str | None = None
    details: bytes = b""
    param: str | None = None


class StreamDecoder(Protocol):
    """Bytes, cut anywhere, to canonical events that keep the stream grammar. One instance serves one stream."""

    @property
    def observed(self) -> Observed:
        """What has been seen so far."""
        ...

    @property
    def fault(self) -> StreamBroken | None:
        """What makes it unreadable from here on, found behind sound events."""
        ...

    def feed(self, chunk: bytes) -> list[Event]:
        """The events `chunk` completes. Raises StreamBroken."""
        ...

    def end(self) -> list[Event]:
        """The body has ended well: the events that only its end completes."""
        ...


class StreamTap(Protocol):
    """Reads usage, stop reason and errors from a stream that passes. One instance serves one stream."""

    @property
    def observed(self) -> Observed:
        """What has been seen so far."""
        ...

    @property
    def fault(self) -> StreamBroken | None:
        """What makes it unreadable from here on, found behind sound events."""
        ...

    def feed(self, chunk: bytes) -> bytes:
        """The whole events among the bytes so far. Raises StreamBroken."""
        ...

    def end(self) -> bytes:
        """The body has ended well: the bytes that only its end completes."""
        ...


class UpstreamDialect(Protocol):
    """An upstream's wire format."""

    def decode_message(self, body: bytes) -> Message:
        """The canonical form of a whole answer. Raises MessageBroken."""
        ...

    def summarize(self, body: bytes) -> Summary:
        """What is kept of a whole answer that passes unchanged. Raises MessageBroken for a body that is none."""
        ...

    def decode_error(self, body: bytes) -> ErrorFacts:
        """What an error body tells, whatever it is: an HTML page, nothing, or JSON cut off in the middle."""
        ...

    def spelled(self, body: bytes) -> bytes:
        """A whole answer told as the stream that was asked for. Raises MessageBroken for a body that is none."""
        ...

    def stream_decoder(self, event_max_bytes: int) -> StreamDecoder:
        """A fresh decoder for one streamed answer."""
        ...

    def stream_tap(self, event_max_bytes: int, *, hides_usage: bool) -> StreamTap:
        """A fresh tap for one streamed answer; with `hides_usage` a chunk of usage alone is kept from the client."""
        ...
