"""How an upstream's bytes become the client's, chosen anew for every attempt.

Verbatim: both speak the same dialect, whole events go through untouched and a tap reads what is needed.
Translated: upstream bytes to canonical events to the client's frames, a whole chunk at a time.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from proxy.dialects.anthropic import MessagesUpstream
from proxy.dialects.common import Observed, StreamBroken, StreamEncoder
from proxy.dialects.openai_chat import ChatUpstream
from proxy.dialects.upstream import UpstreamDialect

SPOKEN: Final[Mapping[str, UpstreamDialect]] = {
    "anthropic": MessagesUpstream(),
    "openai_chat": ChatUpstream(),
}
"""What upstreams speak, by the name they give for it."""

_MESSAGES: Final = SPOKEN["anthropic"]


class StreamLane(Protocol):
    """The path of one streamed answer."""

    @property
    def observed(self) -> Observed:
        """What has been seen of the answer so far."""
        ...

    @property
    def fault(self) -> StreamBroken | None:
        """What makes it unreadable from here on, found behind sound events of the last chunk."""
        ...

    def feed(self, chunk: bytes) -> bytes:
        """What the client gets for one upstream chunk. Raises StreamBroken."""
        ...

    def end(self) -> bytes:
        """What the client gets when the upstream's body has ended well."""
        ...


class VerbatimLane:
    """Lane 0 and 1: the client speaks the upstream's dialect."""

    __slots__ = ("_tap", "end", "feed")

    def __init__(
        self, event_max_bytes: int, spoken: UpstreamDialect = _MESSAGES, *, hides_usage: bool = False
    ) -> None:
        self._tap = spoken.stream_tap(event_max_bytes, hides_usage=hides_usage)
        self.feed = self._tap.feed
        self.end = self._tap.end

    @property
    def observed(self) -> Observed:
        """See `StreamLane.observed`."""
        return self._tap.observed

    @property
    def fault(self) -> StreamBroken | None:
        """See `StreamLane.fault`."""
        return self._tap.fault


class TranslatedLane:
    """Lane 2: decode, canonical events, encode."""

    __slots__ = ("_decoder", "_encoder")

    def __init__(
        self, encoder: StreamEncoder, event_max_bytes: int, spoken: UpstreamDialect = _MESSAGES
    ) -> None:
        self._decoder = spoken.stream_decoder(event_max_bytes)
        self._encoder = encoder

    @property
    def observed(self) -> Observed:
        """See `StreamLane.observed`."""
        return self._decoder.observed

    @property
    def fault(self) -> StreamBroken | None:
        """See `StreamLane.fault`."""
        return self._decoder.fault

    def feed(self, chunk: bytes) -> bytes:
        """See `StreamLane.feed`."""
        events = self._decoder.feed(chunk)
        return self._encoder.encode(events) if events else b""

    def end(self) -> bytes:
        """See `StreamLane.end`."""
        events = self._decoder.end()
        return self._encoder.encode(events) if events else b""
