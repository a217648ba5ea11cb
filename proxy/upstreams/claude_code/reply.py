"""A child's answer as the Messages API would have given it, which is what the rest of the house reads."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from proxy.credentials import Kind
from proxy.dialects.anthropic import StreamDecoder, decode_error
from proxy.dialects.common import StreamBroken, StreamError
from proxy.dialects.sse import encode_frame
from proxy.model.collect import Collector
from proxy.model.events import ErrorBody, ErrorEvent
from proxy.model.message import Message
from proxy.pool import Fault, UpstreamError, event_error
from proxy.upstreams.base import Source, UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.turn import Ended, Turn
from proxy.watch import Watch

_STOP: Final = b"event: message_stop\n"
_ERROR: Final = "API Error: "
_RESET: Final = "anthropic-ratelimit-unified-reset"
_encoder = msgspec.json.Encoder()


class CodeReply:
    """A streamed answer under way; see `ByteReply`. Closing it ends the use of its child."""

    content_type: Final = "text/event-stream"

    def __init__(self, turn: Turn, event_max_bytes: int, closed: Callable[[Message | None], None]) -> None:
        """`closed` is called once: with the answer if it came whole, else with None."""
        self._turn = turn
        self._decoder = StreamDecoder(event_max_bytes)
        self._collector = Collector()
        self._closed = closed
        self._ready = b""
        self._stop = b""
        self._open = True

    @property
    def source(self) -> Source:
        """See `ByteReply.source`."""
        return self._turn.source

    @property
    def ended(self) -> bool:
        """See `ByteReply.ended`."""
        return self._over and not self._ready

    @property
    def acted(self) -> bool:
        """Whether tools were used for it, so that asking again would use them twice."""
        return self._turn.acted

    async def begin(self) -> None:
        """Wait for the first event. Raises UpstreamRefused, and UpstreamFault. Safe to cancel."""
        while not self._ready:
            if not (events := await self._turn.told()):
                raise self._nothing()
            self._ready = self._taken(events)

    async def read(self) -> bytes:
        """See `ByteReply.read`."""
        while not self.ended:
            if self._ready:
                ready, self._ready = self._ready, b""
                return ready
            if events := await self._turn.told():
                self._ready = self._taken(events)
            else:
                return self._last()
        return b""

    async def read_all(self, watch: Watch, limit_s: float) -> bytes:
        """The whole answer as one message. Raises UpstreamRefused for an error event, and UpstreamFault."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + limit_s
        try:
            while await watch.within(max(due_s - loop.time(), 0.0), self.read()):
                if (told := self._decoder.observed.error) is not None:
                    error = event_error(told.type, told.message, told.code, kind=Kind.CLAUDE_CODE)
                    raise UpstreamRefused(error, self.source)
        except TimeoutError:
            raise UpstreamFault(Fault.HEADERS_TIMEOUT) from None
        if not self._decoder.observed.complete:
            raise UpstreamFault(Fault.TRUNCATED)
        return _encoder.encode(self._collector.message())

    def close(self) -> None:
        """See `ByteReply.close`."""
        if self._open:
            self._open = False
            self._closed(self._collector.message() if self._decoder.observed.complete else None)

    @property
    def _over(self) -> bool:
        observed = self._decoder.observed
        return observed.complete or observed.error is not None

    def _taken(self, told: Iterable[bytes]) -> bytes:
        """What a batch of events adds to the answer. Raises UpstreamFault for what breaks its grammar."""
        taken: list[bytes] = []
        for frames in told:
            if self._over:
                break
            if frames.startswith(_STOP) and not self._sure:
                self._stop = frames
            else:
                self._read(frames)
                taken.append(frames)
        return b"".join(taken)

    @property
    def _sure(self) -> bool:
        """Whether the wire has shown the end: the program makes one up where an answer breaks."""
        return self._turn.observed is not None and self._turn.observed.complete

    def _read(self, frames: bytes) -> None:
        try:
            for event in self._decoder.feed(frames):
                self._collector.add(event)
        except StreamBroken:
            raise UpstreamFault(Fault.BROKEN_STREAM) from None

    def _last(self) -> bytes:
        """What is left to be said once the turn is over. Raises UpstreamFault."""
        error = self._told_error()
        # an end that the program makes up has no reason
        whole = bool(self._stop) and self._decoder.observed.stop_reason is not None
        if error is None and whole:
            self._read(self._stop)
            return self._stop
        if error is None:
            raise UpstreamFault(Fault.TRUNCATED)
        code = {"error_code": error.code} if error.code is not None else None
        body = ErrorBody(
            error.type, error.message, msgspec.Raw(_encoder.encode(code)) if code else msgspec.UNSET
        )
        frame = encode_frame(_encoder.encode(ErrorEvent(body)), "error")
        self._read(frame)
        return frame

    def _told_error(self) -> StreamError | None:
        turn = self._turn
        if turn.observed is not None and turn.observed.error is not None:
            return turn.observed.error
        if turn.ended is None or not turn.ended.failed:
            return None
        error = ended_error(turn.ended, turn.resets_unix_s)
        return StreamError(error.type or "api_error", error.message, error.code)

    def _nothing(self) -> UpstreamRefused | UpstreamFault:
        """What it means that a turn is over without an event."""
        turn = self._turn
        if turn.observed is not None and (told := turn.observed.error) is not None:
            error = event_error(told.type, told.message, told.code, kind=Kind.CLAUDE_CODE)
            return UpstreamRefused(error, self.source)
        if turn.ended is not None and turn.ended.failed:
            return UpstreamRefused(ended_error(turn.ended, turn.resets_unix_s), self.source)
        return UpstreamFault(Fault.EMPTY_STREAM)


def ended_error(ended: Ended, resets_unix_s: int | None) -> UpstreamError:
    """The API's error a child ran into, as far as its words tell; without a status it is not logged in."""
    status = ended.status or 401
    facts = decode_error(ended.text.removeprefix(f"{_ERROR}{status}").strip().encode())
    headers = {_RESET: str(resets_unix_s)} if resets_unix_s is not None else {}
    return UpstreamError(
        status=status,
        type=facts.type,
        message=facts.message,
        code=facts.code,
        headers=headers,
        kind=Kind.CLAUDE_CODE,
    )
