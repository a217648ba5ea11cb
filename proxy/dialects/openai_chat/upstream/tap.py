"""A tap on a stream that passes to clients of the same dialect."""

import re
from typing import Final

import msgspec

from proxy.dialects.common import Observed, StreamBroken
from proxy.dialects.openai_chat.upstream.chunk import DONE, Passing, decode_passing, observe
from proxy.dialects.sse import EventSplitter, encode_frame, parse_event

_BLANK: Final = b"\n\n"
_LINE_END: Final = re.compile(rb"\r\n|\r")
# a CR LF is one line end, which an atomic group never takes apart
_ANY_BLANK: Final = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_BOM: Final = b"\xef\xbb\xbf"


class ChatStreamTap:
    """Reads usage, finish reason and errors of a stream whose events pass byte for byte.

    Only a chunk that holds nothing but usage can be kept from the client, who may not have asked for it. The
    answer is whole when it gave a finish reason and then ``[DONE]`` or the end of its body came; in the second
    case the client still gets its ``[DONE]``.

    Attributes:
        observed: what has been seen so far.
        fault: what makes it unreadable from here on, found behind sound events.
    """

    __slots__ = ("_hid_half_a_line_end", "_hides_usage", "_splitter", "fault", "observed")

    def __init__(self, event_max_bytes: int, *, hides_usage: bool) -> None:
        self.observed = Observed()
        self.fault: StreamBroken | None = None
        self._splitter = EventSplitter(event_max_bytes)
        self._hides_usage = hides_usage
        self._hid_half_a_line_end = False

    def feed(self, chunk: bytes) -> bytes:
        """The whole events among the bytes so far, without what is kept from the client.

        Raises StreamBroken for an event that is no chunk or over the cap; if sound events came before it, they
        are returned and the next call raises.
        """
        if self.fault is not None:
            raise self.fault
        whole = self._splitter.feed(chunk)
        self.fault = self._splitter.fault
        if self._hid_half_a_line_end and whole:
            # the CR that ended a hidden event was the first half of a CR LF
            whole = whole.removeprefix(b"\n")
            self._hid_half_a_line_end = False
        kept: list[bytes] = []
        begin = passed = 0
        while begin < len(whole):
            end = _end(whole, begin)
            try:
                shown = self._look(whole[begin:end])
            except StreamBroken as fault:
                self.fault = fault
                if not begin:
                    raise
                kept.append(whole[passed:begin])
                return b"".join(kept)
            if not shown:
                kept.append(whole[passed:begin])
                passed = end
                self._hid_half_a_line_end = end == len(whole) and whole.endswith(b"\r")
            begin = end
        return whole if not passed else b"".join([*kept, whole[passed:]])

    def end(self) -> bytes:
        """See `StreamTap.end`."""
        observed = self.observed
        if observed.stop_reason is None or observed.error is not None or self.fault is not None:
            return b""
        observed.complete = True
        return encode_frame(DONE)

    def _look(self, event: bytes) -> bool:
        """Read one event with its line ends. Whether the client is to have it; raises StreamBroken."""
        observed = self.observed
        if observed.complete or observed.error is not None:
            return True
        data = _data(event, first=not observed.started)
        if not data:
            return True
        if data == DONE:
            if observed.stop_reason is None:
                raise StreamBroken("the stream ends without a finish reason")
            observed.complete = True
            return True
        chunk = decode_passing(data)
        observe(observed, chunk, data)
        return not (self._hides_usage and _is_usage_alone(chunk))


def _is_usage_alone(chunk: Passing) -> bool:
    return not chunk.choices and chunk.usage is not msgspec.UNSET and chunk.error is msgspec.UNSET


def _end(whole: bytes, begin: int) -> int:
    """Where the event that begins there ends, its blank line included."""
    if b"\r" not in whole:
        end = whole.find(_BLANK, begin)
        return end + len(_BLANK) if end >= 0 else len(whole)
    found = _ANY_BLANK.search(whole, begin)
    return found.end() if found is not None else len(whole)


def _data(event: bytes, *, first: bool) -> bytes:
    """The data of an event; empty where it has none."""
    if b"\r" in event:
        event = _LINE_END.sub(b"\n", event)
    if first:
        event = event.removeprefix(_BOM)
    event = event.strip(b"\n")
    if not event.isascii():
        event = event.decode("utf-8", "replace").encode()
    frame = parse_event(event) if event else None
    return frame.data if frame is not None else b""
