"""Server-sent events: bytes to frames, frames to bytes, and the cut between whole events.

The rules are those of the HTML standard (WHATWG), section "Server-sent events": lines end in LF, CR or
CRLF, a byte order mark at the very start is skipped, a line that begins with a colon is a comment, a blank
line ends an event, and what is not ended by one when the stream ends is no event. ``id`` and ``retry`` mean
nothing here.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from proxy.dialects.common import StreamBroken

_BOM: Final = b"\xef\xbb\xbf"
_WINDOW_BYTES: Final = 65_536
_TWO_LINES = re.compile(rb"event: [^\n]*\ndata: ([^\n]*)\n\n")
_MANY_BLANK_LINES = re.compile(rb"\n{3,}")
_BLANK_LINES = re.compile(rb"(?>\r\n|\r|\n){2,}")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event: its name (``message`` when it has none) and its data, UTF-8 with lines joined by LF."""

    event: str
    data: bytes


def encode_frame(data: bytes, event: str = "") -> bytes:
    """One event on the wire; data of several lines becomes several ``data`` lines."""
    name = f"event: {event}\n".encode() if event else b""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    return b"%bdata: %b\n\n" % (name, data)


class SseDecoder:
    """Bytes, cut anywhere, to frames.

    Bytes that are no UTF-8 become U+FFFD. No more than one unfinished event is kept.

    Attributes:
        fault: what makes the stream unreadable from here on, found behind sound events.
    """

    __slots__ = ("_event_max_bytes", "_skip_lf", "_started", "_tail", "fault")

    def __init__(self, event_max_bytes: int) -> None:
        self._event_max_bytes = event_max_bytes
        self._tail = bytearray()
        self._skip_lf = False
        self._started = False
        self.fault: StreamBroken | None = None

    def feed(self, chunk: bytes) -> list[Frame]:
        """The events `chunk` completes.

        Raises StreamBroken for an event over the cap; if sound events came before it in the same chunk, they
        are returned and the next call raises.
        """
        frames: list[Frame] = []
        for event in self._events(chunk):
            frame = parse_event(event)
            if frame is not None:
                frames.append(frame)
        return frames

    def feed_data(self, chunk: bytes) -> list[bytes]:
        """As `feed`, but only the data of each event, for streams whose data tells its own type."""
        if self.fault is None and len(chunk) <= _WINDOW_BYTES:
            block = self._whole_events(self._unified(chunk))
            found: list[bytes] = _TWO_LINES.findall(block)
            fits = max(len(block), len(self._tail)) <= self._event_max_bytes
            # Three line ends for each, and no other: nothing else is in the block.
            if fits and 3 * len(found) == block.count(b"\n"):
                return found
            events = self._guarded(self._split, block)
        else:
            events = self._events(chunk)
        return [frame.data for event in events if (frame := parse_event(event)) is not None]

    def _events(self, chunk: bytes) -> list[bytes]:
        """The whole events of a chunk, each without its blank line, line ends LF, valid UTF-8."""
        if len(chunk) > _WINDOW_BYTES:
            return self._guarded(self._split_large, chunk)
        return self._guarded(self._split_small, chunk)

    def _guarded(self, split: Callable[[bytes, list[bytes]], None], data: bytes) -> list[bytes]:
        """What `split` finds; a fault behind sound events waits for the next call."""
        if self.fault is not None:
            raise self.fault
        events: list[bytes] = []
        try:
            split(data, events)
        except StreamBroken as fault:
            self.fault = fault
            if not events:
                raise
        return events

    def _split_small(self, chunk: bytes, events: list[bytes]) -> None:
        self._split(self._whole_events(self._unified(chunk)), events)

    def _unified(self, chunk: bytes) -> bytes:
        """The chunk with LF as its only line end."""
        if self._skip_lf and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._skip_lf = False
        if b"\r" in chunk:
            self._skip_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _whole_events(self, chunk: bytes) -> bytes:
        """Everything up to the last blank line; the rest stays in the tail."""
        tail = self._tail
        if not tail:
            chunk = chunk.lstrip(b"\n")
        cut = chunk.rfind(b"\n\n") + 2
        if cut == 1:
            cut = 1 if tail.endswith(b"\n") and chunk.startswith(b"\n") else 0
        if not cut:
            tail += chunk
            return b""
        block = bytes(tail) + chunk[:cut] if tail else chunk[:cut]
        self._tail = bytearray(chunk[cut:].lstrip(b"\n"))
        if not self._started:
            self._started = True
            block = block.removeprefix(_BOM)
        return block if block.isascii() else _valid(block)

    def _split_large(self, chunk: bytes, events: list[bytes]) -> None:
        """In windows, and without what holds no data, so that a flood of empty events takes no memory."""
        for start in range(0, len(chunk), _WINDOW_BYTES):
            found: list[bytes] = []
            try:
                window = self._unified(chunk[start : start + _WINDOW_BYTES])
                self._split(self._whole_events(window), found)
            finally:
                events += [event for event in found if b"data" in event]

    def _split(self, block: bytes, events: list[bytes]) -> None:
        if b"\n\n\n" in block:
            block = _MANY_BLANK_LINES.sub(b"\n\n", block)
        cap = self._event_max_bytes
        found = block.split(b"\n\n")
        found.pop()
        if len(block) > cap:
            for event in found:
                if len(event) > cap:
                    raise StreamBroken(f"an event is larger than {cap} bytes")
                events.append(event)
        else:
            events += found
        # One byte more than the cap may be the first half of the blank line.
        if len(self._tail) > cap + 1:
            raise StreamBroken(f"an event is larger than {cap} bytes")


def parse_event(event: bytes) -> Frame | None:
    """One event without its blank line, line ends LF, valid UTF-8; None where it has no data."""
    if event.startswith(b"event: "):
        name, separator, data = event.partition(b"\ndata: ")
        if separator and b"\n" not in data and b"\n" not in name:
            return Frame(name[7:].decode(), data)
    elif event.startswith(b"data: ") and b"\n" not in event:
        return Frame("message", event[6:])
    return _parse_lines(event)


def _parse_lines(event: bytes) -> Frame | None:
    name, data = b"", []
    for line in event.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    if not data:
        return None
    return Frame(name.decode() or "message", b"\n".join(data))


def _valid(block: bytes) -> bytes:
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode("utf-8", "replace").encode()
    return block


class EventSplitter:
    """Bytes, cut anywhere, to the same bytes, cut only between events.

    Whatever the line ends, every byte comes out as it went in; a half event never does.

    Attributes:
        fault: an event over the cap, found behind sound events.
    """

    __slots__ = ("_event_max_bytes", "_tail", "fault")

    def __init__(self, event_max_bytes: int) -> None:
        self._event_max_bytes = event_max_bytes
        self._tail = bytearray()
        self.fault: StreamBroken | None = None

    def feed(self, chunk: bytes) -> bytes:
        """The bytes up to the end of the last complete event, and any blank lines behind it.

        Raises StreamBroken for an event over the cap; if sound events came before it in the same chunk, they
        are returned and the next call raises.
        """
        if self.fault is not None:
            raise self.fault
        tail = self._tail
        if tail:
            # The tail holds no blank line, so that only its last byte can begin one.
            end = _last_event_end(tail[-1:] + chunk) - 1
        else:
            end = max(_last_event_end(chunk), len(chunk) - len(chunk.lstrip(b"\r\n")))
        if end <= 0:
            tail += chunk
            whole = b""
        else:
            whole = bytes(tail) + chunk[:end] if tail else chunk[:end]
            self._tail = tail = bytearray(chunk[end:])
        cap = self._event_max_bytes
        # Two bytes more than the cap may be the line end before the blank line.
        if len(whole) <= cap and len(tail) <= cap + 2:
            return whole
        return self._within_cap(whole)

    def _within_cap(self, whole: bytes) -> bytes:
        """What comes before the first event over the cap; raises StreamBroken where that is nothing."""
        cap = self._event_max_bytes
        at = len(whole) - len(whole.lstrip(b"\r\n"))
        for blank in _BLANK_LINES.finditer(whole, at):
            # CR LF counts as one byte, as it does for who decodes
            size_bytes = blank.start() - at - whole.count(b"\r\n", at, blank.start())
            if size_bytes > cap:
                return self._break_off(whole[:at])
            at = blank.end()
        return whole if len(self._tail) <= cap + 2 else self._break_off(whole)

    def _break_off(self, sound: bytes) -> bytes:
        self._tail = bytearray()
        self.fault = StreamBroken(f"an event is larger than {self._event_max_bytes} bytes")
        if not sound:
            raise self.fault
        return sound


def _last_event_end(data: bytes | bytearray) -> int:
    """The index after the last blank line; 0 where there is none.

    Two line ends in a row are LF LF, LF CR or CR CR, with one more LF where the second is CR LF.
    """
    if b"\r" not in data:
        start = data.rfind(b"\n\n")
        return start + 2 if start >= 0 else 0
    start = max(data.rfind(b"\n\n"), data.rfind(b"\n\r"), data.rfind(b"\r\r"))
    if start < 0:
        return 0
    end = start + 2
    return end + 1 if data[end - 1 : end + 1] == b"\r\n" else end
