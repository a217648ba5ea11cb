"""An answer of claude.ai as the Messages API would have given it, which is what the rest of the house reads."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from proxy.credentials import Kind
from proxy.dialects.claude_web import LimitFacts, WebStreamDecoder
from proxy.dialects.common import StreamBroken
from proxy.dialects.sse import encode_frame
from proxy.model.collect import Collector
from proxy.model.events import ContentBlockDelta, Event, TextDelta
from proxy.pool import Fault, event_error, limit_reached
from proxy.upstreams.base import Source, UpstreamFault, UpstreamRefused
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch

_encoder = msgspec.json.Encoder()


class Ended(msgspec.Struct, frozen=True):
    """What is known when an answer is closed.

    Attributes:
        limit: what the site said about the account's limit, if it did.
        text: the text of an answer that came whole; None for any other.
    """

    limit: LimitFacts | None
    text: str | None


class WebReply:
    """A streamed answer under way; see `ByteReply`. Closing it ends the use of its conversation."""

    content_type: Final = "text/event-stream"

    def __init__(
        self, reply: HttpReply, decoder: WebStreamDecoder, closed: Callable[[Ended], None], *, listens: bool
    ) -> None:
        """`closed` is called once, with what was learned; the text is only gathered for one who `listens`."""
        self._reply = reply
        self._decoder = decoder
        self._closed = closed
        self._listens = listens
        self._said: list[str] = []
        self._open = True

    @property
    def source(self) -> Source:
        """See `ByteReply.source`; the account's limit is told at the end of an answer."""
        limit = self._decoder.limit
        if limit is None or not limit.exceeded:
            return self._reply.source
        return msgspec.structs.replace(self._reply.source, limit=limit_reached(limit.until_unix_ms))

    @property
    def ended(self) -> bool:
        """See `ByteReply.ended`; an answer that was cut here has ended too."""
        observed = self._decoder.observed
        return observed.complete or observed.error is not None or self._reply.ended

    async def read(self) -> bytes:
        """See `ByteReply.read`."""
        return b"".join(map(_frame, await self.events()))

    async def events(self) -> list[Event]:
        """The next events; none at the end. Raises UpstreamFault. Safe to cancel."""
        while not self.ended:
            if not (chunk := await self._reply.read()):
                break
            try:
                if events := self._decoder.feed(chunk):
                    if self._listens:
                        self._said += _texts(events)
                    return events
            except StreamBroken:
                raise UpstreamFault(Fault.BROKEN_STREAM) from None
        return []

    async def read_all(self, watch: Watch, limit_s: float) -> bytes:
        """The whole answer as one message. Raises UpstreamRefused for an error event, and UpstreamFault."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + limit_s
        collector = Collector()
        observed = self._decoder.observed
        try:
            while events := await watch.within(max(due_s - loop.time(), 0.0), self.events()):
                if (told := observed.error) is not None:
                    error = event_error(told.type, told.message, told.code, kind=Kind.CLAUDE_WEB)
                    raise UpstreamRefused(error, self.source)
                for event in events:
                    collector.add(event)
        except TimeoutError:
            raise UpstreamFault(Fault.HEADERS_TIMEOUT) from None
        if not observed.complete:
            raise UpstreamFault(Fault.TRUNCATED if observed.started else Fault.EMPTY_STREAM)
        return _encoder.encode(collector.message())

    def close(self) -> None:
        """See `ByteReply.close`."""
        if self._open:
            self._open = False
            self._reply.close()
            text = "".join(self._said) if self._decoder.whole else None
            self._closed(Ended(self._decoder.limit, text))


def _texts(events: Iterable[Event]) -> Iterator[str]:
    for event in events:
        if isinstance(event, ContentBlockDelta) and isinstance(event.delta, TextDelta):
            yield event.delta.text


def _frame(event: Event) -> bytes:
    return encode_frame(_encoder.encode(event), str(event.__struct_config__.tag))
