"""An upstream's stream, decoded for translation or tapped while it passes."""

import re
from typing import Final

import msgspec

from proxy.dialects.anthropic.wire import decode_event, decode_known_event, event_type, observe
from proxy.dialects.common import Observed, StreamBroken
from proxy.dialects.sse import EventSplitter, Frame, SseDecoder, parse_event
from proxy.model.events import ContentBlockDelta, Event, MessageStart, Ping
from proxy.model.grammar import GrammarError, StreamGrammar

_BLANK: Final = b"\n\n"
_CONTENT: Final = b"event: content_block_"
_NO_CONTENT: Final = re.compile(rb"\n\n(?!event: content_block_|\Z)")
_NEEDS_A_START: Final = frozenset(
    ("content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop")
)
_TOLD: Final = frozenset(("message_start", "message_delta", "message_stop", "error"))


class StreamDecoder:
    """Bytes, cut anywhere, to canonical events that keep the stream grammar.

    Unknown event types are skipped, and so is whatever follows the end of the answer.

    Attributes:
        observed: what has been seen so far.
        fault: what makes it unreadable from here on, found behind sound events.
    """

    __slots__ = ("_grammar", "_sse", "fault", "observed")

    def __init__(self, event_max_bytes: int) -> None:
        self.observed = Observed()
        self._sse = SseDecoder(event_max_bytes)
        self._grammar = StreamGrammar()
        self.fault: StreamBroken | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events `chunk` completes.

        Raises StreamBroken for an event that cannot be read or may not come here; if sound events came before
        it in the same chunk, they are returned and the next call raises.
        """
        if self.fault is not None:
            raise self.fault
        events: list[Event] = []
        try:
            self._take(self._sse.feed_data(chunk), events)
            self.fault = self._sse.fault
        except StreamBroken as fault:
            self.fault = fault
            if not events:
                raise
        return events

    def end(self) -> list[Event]:
        """See `proxy.dialects.upstream`: only ``message_stop`` ends an answer, so the end of its body adds nothing."""
        return []

    def _take(self, found: list[bytes], events: list[Event]) -> None:
        grammar, observed = self._grammar, self.observed
        for data in found:
            try:
                event: Event | None = decode_known_event(data)
            except (ValueError, RecursionError):
                event = self._unfamiliar(data)
            if type(event) is ContentBlockDelta and event.index == grammar.open_index:
                observed.events += 1
                events.append(event)
            elif event is not None:
                self._step(event, events)

    def _ended(self) -> bool:
        return self.observed.complete or self.observed.error is not None

    def _unfamiliar(self, data: bytes) -> Event | None:
        if not data or self._ended():
            return None
        event = decode_event(data)
        if event is None:
            self._count()
        return event

    def _step(self, event: Event, events: list[Event]) -> None:
        if self._ended():
            return
        try:
            self._grammar.accept(event)
        except GrammarError as error:
            raise StreamBroken(str(error)) from None
        if type(event) is not Ping:
            self._count()
            observe(self.observed, event)
        events.append(event)

    def _count(self) -> None:
        self.observed.started = True
        self.observed.events += 1


class StreamTap:
    """Reads usage, stop reason and errors from a stream that passes unchanged.

    Whole events come out byte for byte as they came in. An event is recognised by its ``event`` line, or by
    the ``type`` of its data where it has none; never by searching the data, which may talk about anything.
    Deltas are not decoded.

    Attributes:
        observed: what has been seen so far.
        fault: what makes it unreadable from here on, found behind sound events.
    """

    __slots__ = ("_begun", "_decoder", "_event_max_bytes", "_splitter", "fault", "observed")

    def __init__(self, event_max_bytes: int) -> None:
        self.observed = Observed()
        self._event_max_bytes = event_max_bytes
        self._splitter = EventSplitter(event_max_bytes)
        self._decoder: SseDecoder | None = None
        self.fault: StreamBroken | None = None
        self._begun = False

    def feed(self, chunk: bytes) -> bytes:
        """The whole events among the bytes so far.

        Raises StreamBroken when the stream does not begin as one, an event that is read is no JSON, or an
        event is over the cap; if sound events came before it in the same chunk, they are returned and the
        next call raises.
        """
        if self.fault is not None:
            raise self.fault
        whole = self._splitter.feed(chunk)
        self.fault = self._splitter.fault
        if self._decoder is not None or b"\r" in whole:
            return self._read_any_line_ends(whole)
        return self._survey(whole) if whole else whole

    def end(self) -> bytes:
        """See `proxy.dialects.upstream`: only ``message_stop`` ends an answer, so the end of its body adds nothing."""
        return b""

    def _survey(self, whole: bytes) -> bytes:
        """Look at the events that may tell something; returns those before the first that cannot be read.

        A blank line never stands inside an event, so what follows one is the first line of the next.
        """
        observed = self.observed
        if observed.started and whole.startswith(_CONTENT) and _NO_CONTENT.search(whole) is None:
            observed.events += 1
            return whole
        at = 0
        while not observed.started and at < len(whole):
            if not self._sound(whole, at):
                return whole[:at]
            at = _end(whole, at) + len(_BLANK)
        if not at and not whole.startswith(_CONTENT) and not self._sound(whole, 0):
            return b""
        for found in _NO_CONTENT.finditer(whole, max(at - len(_BLANK), 0)):
            if not self._sound(whole, found.end()):
                return whole[: found.end()]
        if whole.startswith(_CONTENT, at) or whole.find(_BLANK + _CONTENT, at) >= 0:
            observed.events += 1
        return whole

    def _sound(self, whole: bytes, begin: int) -> bool:
        """Look at the event that begins there. False if it cannot be read; raises StreamBroken if it is the first."""
        try:
            self._look(whole[begin : _end(whole, begin)])
        except StreamBroken as fault:
            self.fault = fault
            if not begin:
                raise
            return False
        return True

    def _read_any_line_ends(self, whole: bytes) -> bytes:
        if self._decoder is None:
            self._decoder = SseDecoder(self._event_max_bytes)
        for frame in self._decoder.feed(whole):
            self._read(frame)
        return whole

    def _look(self, event: bytes) -> None:
        if not self.observed.started:
            event = event.removeprefix(b"\xef\xbb\xbf")
        if not event:
            return
        frame = parse_event(event if event.isascii() else event.decode("utf-8", "replace").encode())
        if frame is not None:
            self._read(frame)

    def _read(self, frame: Frame) -> None:
        observed = self.observed
        if observed.complete or observed.error is not None or not frame.data:
            return
        kind = frame.event if frame.event != "message" else event_type(frame.data)
        if kind == "ping":
            return
        # read before it counts as a beginning: until then another credential can be asked
        event = decode_event(frame.data) if kind in _TOLD else None
        if not observed.started:
            self._check_first(kind, frame.data)
            observed.started = True
        observed.events += 1
        if event is not None:
            if isinstance(event, MessageStart):
                if self._begun:
                    raise StreamBroken("a second message_start")
                self._begun = True
            observe(observed, event)

    def _check_first(self, kind: str, data: bytes) -> None:
        if kind in _NEEDS_A_START:
            raise StreamBroken(f"the stream begins with {kind}")
        try:
            msgspec.json.decode(data, type=msgspec.Raw)
        except (ValueError, RecursionError):
            raise StreamBroken("the first event is no JSON") from None


def _end(whole: bytes, begin: int) -> int:
    """Where the event that begins there ends; lone line ends at the end of the bytes belong to none."""
    end = whole.find(_BLANK, begin)
    return end if end >= 0 else len(whole)
