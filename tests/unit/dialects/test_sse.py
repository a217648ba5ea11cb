"""Server-sent events by the rules of the HTML standard."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.common import StreamBroken
from proxy.dialects.sse import EventSplitter, Frame, SseDecoder, encode_frame

_CAP_BYTES = 1000

# The format cases of the web platform tests, in our own words.
_FORMATS = [
    ("one event", b"data: a\n\n", [("message", b"a")]),
    ("a named event", b"event: e\ndata: a\n\n", [("e", b"a")]),
    ("the name after the data", b"data: a\nevent: e\n\n", [("e", b"a")]),
    ("the last name counts", b"event: e\nevent: f\ndata: a\n\n", [("f", b"a")]),
    ("an empty name is none", b"event:\ndata: a\n\n", [("message", b"a")]),
    ("the name does not stay", b"event: e\ndata: a\n\ndata: b\n\n", [("e", b"a"), ("message", b"b")]),
    ("no data, no event", b"event: e\n\ndata: b\n\n", [("message", b"b")]),
    ("several lines", b"data: a\ndata: b\n\n", [("message", b"a\nb")]),
    ("several lines with a name", b"event: e\ndata: a\ndata: b\n\n", [("e", b"a\nb")]),
    ("empty data", b"data:\n\n", [("message", b"")]),
    ("data without a colon", b"data\n\n", [("message", b"")]),
    ("two lines of empty data", b"data\ndata\n\n", [("message", b"\n")]),
    ("no space", b"data:a\n\n", [("message", b"a")]),
    ("one space is taken off", b"data:  a\n\n", [("message", b" a")]),
    ("a tab is data", b"data:\ta\n\n", [("message", b"\ta")]),
    ("colons in data", b"data: a:b: c\n\n", [("message", b"a:b: c")]),
    ("comments", b": c\n\n:\n\n:data: x\ndata: a\n: d\n\n", [("message", b"a")]),
    ("id and retry", b"id: 1\nretry: 5\ndata: a\n\n", [("message", b"a")]),
    ("unknown fields", b"dat: x\nDATA: x\n data: x\ndata: a\nhello\n\n", [("message", b"a")]),
    ("blank lines", b"\n\n\ndata: a\n\n\n\ndata: b\n\n\n", [("message", b"a"), ("message", b"b")]),
    ("an incomplete event", b"data: a\n\ndata: b\n", [("message", b"a")]),
    ("a byte order mark", b"\xef\xbb\xbfdata: a\n\n", [("message", b"a")]),
    ("one byte order mark only", b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [("message", b"b")]),
    ("a byte order mark later", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("message", b"a")]),
    ("bytes that are no UTF-8", b"data: a\xffb\xc3\n\n", [("message", "a\ufffdb\ufffd".encode())]),
    ("NUL", b"data: a\0b\n\n", [("message", b"a\0b")]),
    ("line separators of Unicode", "data: a\u2028b\x85\n\n".encode(), [("message", "a\u2028b\x85".encode())]),
]


def _frames(chunks: list[bytes], cap_bytes: int = _CAP_BYTES) -> list[tuple[str, bytes]]:
    decoder = SseDecoder(cap_bytes)
    return [(frame.event, frame.data) for chunk in chunks for frame in decoder.feed(chunk)]


def _singly(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(("name", "data", "frames"), _FORMATS)
def test_formats(name: str, data: bytes, frames: list[tuple[str, bytes]], line_end: bytes) -> None:
    """Each rule, with each line end, whole and byte by byte, with and without the fast way for data alone."""
    data = data.replace(b"\n", line_end)
    assert _frames([data]) == frames, name
    assert _frames(_singly(data)) == frames, name
    whole, single = SseDecoder(_CAP_BYTES), SseDecoder(_CAP_BYTES)
    assert whole.feed_data(data) == [part for _, part in frames], name
    assert [part for byte in _singly(data) for part in single.feed_data(byte)] == [part for _, part in frames]


_lines = st.lists(
    st.sampled_from([b"data: a", b"data:", b"event: e", b": c", b"", b"", b"x", b"data: \xc3\xa9\xff"]),
    max_size=12,
)
_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@settings(max_examples=500, deadline=None)
@given(lines=_lines, ends=st.lists(_ends, min_size=12, max_size=12), data=st.data())
def test_cuts_change_nothing(lines: list[bytes], ends: list[bytes], data: st.DataObject) -> None:
    """Mixed line ends cut anywhere give the same frames, and the splitter the same bytes."""
    text = b"".join(line + end for line, end in zip(lines, ends, strict=False))
    points = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    chunks = [text[a:b] for a, b in zip([0, *points], [*points, len(text)], strict=True)]
    frames = _frames([text])
    assert _frames(chunks) == frames
    whole, pieces = EventSplitter(_CAP_BYTES), EventSplitter(_CAP_BYTES)
    complete = whole.feed(text)
    out = [pieces.feed(chunk) for chunk in chunks]
    assert b"".join(out) == complete
    assert text.startswith(complete)
    assert _frames([complete]) == frames
    so_far = SseDecoder(_CAP_BYTES)
    assert [(f.event, f.data) for part in out for f in so_far.feed(part)] == frames


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_the_splitter_never_lets_half_an_event_out(line_end: bytes) -> None:
    """What came out so far always ends in a blank line, or in nothing."""
    data = b"data: a\n\n: c\n\nevent: e\ndata: b\n\n".replace(b"\n", line_end)
    splitter = EventSplitter(_CAP_BYTES)
    out = b""
    for byte in _singly(data):
        out += splitter.feed(byte)
        assert not out or out.endswith((line_end * 2, b"\r\n\r"))
    assert out == data


@pytest.mark.parametrize("feed", [SseDecoder.feed, SseDecoder.feed_data])
def test_an_event_at_the_cap_passes_and_one_byte_more_does_not(
    feed: Callable[[SseDecoder, bytes], object],
) -> None:
    """The cap holds however the event arrives."""
    fits = b"data: " + b"x" * 94
    for chunks in ([fits + b"\n\n"], _singly(fits + b"\n\n")):
        assert _frames(chunks, 100) == [("message", b"x" * 94)]
    for chunks in ([fits + b"x\n\n"], _singly(fits + b"x\n\n"), [fits + b"xxx"]):
        decoder = SseDecoder(100)
        with pytest.raises(StreamBroken):
            _ = [feed(decoder, chunk) for chunk in chunks]
        with pytest.raises(StreamBroken):
            feed(decoder, b"data: a\n\n")


def test_sound_events_before_a_fault_are_not_lost() -> None:
    """They are returned first; the fault is seen, and raised by the next call."""
    decoder = SseDecoder(100)
    frames = decoder.feed(b"data: a\n\n" + b"data: " + b"x" * 200)
    assert frames == [Frame("message", b"a")]
    assert isinstance(decoder.fault, StreamBroken)
    with pytest.raises(StreamBroken):
        decoder.feed(b"")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_the_splitter_has_the_same_cap(line_end: bytes) -> None:
    """A line that never ends does not fill the memory."""
    end = line_end * 2
    for chunks in ([b"x" * 100 + end], _singly(b"x" * 100 + end)):
        splitter = EventSplitter(100)
        assert b"".join([splitter.feed(chunk) for chunk in chunks]) == b"x" * 100 + end
    for chunks in ([b"x" * 101 + end], _singly(b"x" * 101 + end), [b"x" * 103]):
        splitter = EventSplitter(100)
        with pytest.raises(StreamBroken):
            _ = [splitter.feed(chunk) for chunk in chunks]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("sound", [1, 30])
def test_sound_events_before_one_over_the_cap_come_out_and_it_never_does(
    line_end: bytes, ended: bool, sound: int
) -> None:
    """An event over the cap does not pass because others came with it in one chunk, nor does it take them along."""
    end = line_end * 2
    before = (b"data: a" + line_end + b"data: " + b"x" * 86 + end) * sound
    over = b"x" * 101 + end if ended else b"x" * 103
    splitter = EventSplitter(100)
    assert splitter.feed(before + b"x" * 100 + end) == before + b"x" * 100 + end
    assert splitter.feed(before + over + (b"data: b" + end if ended else b"")) == before
    with pytest.raises(StreamBroken):
        splitter.feed(b"data: c" + end)


@pytest.mark.parametrize("flood", [b"\n", b": \n\n", b"event: ping\n\n", b"\r\n", b"x\n\n"])
def test_a_flood_of_empty_events_leaves_nothing_behind(flood: bytes) -> None:
    """A million of them in one chunk are no event, and the one after them is."""
    decoder = SseDecoder(_CAP_BYTES)
    assert decoder.feed(flood * 1_000_000) == []
    assert decoder.feed(b"\n\ndata: a\n\n") == [Frame("message", b"a")]


def test_a_flood_of_events_arrives_whole() -> None:
    """Windows inside a large chunk lose nothing at their edges."""
    count = 20_000
    decoder = SseDecoder(_CAP_BYTES)
    frames = decoder.feed(b"".join(b"event: e\ndata: %d\n\n" % number for number in range(count)))
    assert [frame.data for frame in frames] == [b"%d" % number for number in range(count)]


@pytest.mark.parametrize(
    ("data", "event", "wire"),
    [
        (b"a", "", b"data: a\n\n"),
        (b"a", "e", b"event: e\ndata: a\n\n"),
        (b"a\nb\r\nc\rd", "e", b"event: e\ndata: a\ndata: b\ndata: c\ndata: d\n\n"),
        (b"", "", b"data: \n\n"),
    ],
)
def test_frames_are_written_so_that_they_are_read(data: bytes, event: str, wire: bytes) -> None:
    """Line ends inside data cannot end the event."""
    assert encode_frame(data, event) == wire
    joined = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert _frames([wire]) == [(event or "message", joined)]
