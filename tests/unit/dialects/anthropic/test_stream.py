"""Streams decoded and tapped."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.anthropic.client import AnthropicDialect
from proxy.dialects.anthropic.stream import StreamDecoder, StreamTap
from proxy.dialects.common import Observed, Rendering, StreamBroken, StreamError
from proxy.model.events import ErrorEvent, Event
from proxy.model.message import OutputTokensDetails
from tests.conformance.dialects.slicing import stream
from tests.unit.model.streams import legal_streams

_CAP_BYTES = 1 << 20
_START = stream("text").partition(b"event: ping")[0]
_OPEN = b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":'
_OPEN += b'{"type":"text","text":""}}\n\n'
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
_DELTA += b'{"type":"text_delta","text":"a"}}\n\n'
_PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def _observed(name: str) -> Observed:
    tap = StreamTap(_CAP_BYTES)
    tap.feed(stream(name))
    return tap.observed


def test_usage_and_end_are_read_in_passing() -> None:
    """What accounting and health need, from a stream nobody decoded."""
    observed = _observed("thinking_summarized")
    assert observed.complete
    assert (observed.stop_reason, observed.model) == ("end_turn", "claude-opus-5-5")
    assert observed.usage.input_tokens == 12
    assert observed.usage.cache_read_input_tokens == 512
    assert observed.usage.output_tokens_details == OutputTokensDetails(31)


def test_text_about_the_end_is_not_the_end() -> None:
    """Answers talk about protocols, too."""
    data = stream("talks_about_the_end")
    for reader in (StreamTap(_CAP_BYTES), StreamDecoder(_CAP_BYTES)):
        reader.feed(data[: data.rindex(b"event: message_delta")])
        assert not reader.observed.complete
        assert reader.observed.error is None


def test_late_counts_do_not_delete_early_ones() -> None:
    """Null and zero in a later event leave the number from the first."""
    usage = _observed("several_message_deltas").usage
    assert (usage.input_tokens, usage.cache_creation_input_tokens, usage.output_tokens) == (12, 2048, 3)


def test_an_error_event_is_seen() -> None:
    """Both lanes report it and call nothing complete."""
    decoder = StreamDecoder(_CAP_BYTES)
    events = decoder.feed(stream("error_mid_stream"))
    assert isinstance(events[-1], ErrorEvent)
    for observed in (_observed("error_mid_stream"), decoder.observed):
        assert observed.error == StreamError("overloaded_error", "Overloaded", None)
        assert not observed.complete


@pytest.mark.parametrize("reader", [StreamTap(_CAP_BYTES), StreamDecoder(_CAP_BYTES)])
def test_pings_and_comments_start_nothing(reader: StreamTap | StreamDecoder) -> None:
    """A sign of life is no first event."""
    reader.feed(b": hello\n\n" + _PING)
    assert (reader.observed.started, reader.observed.events) == (False, 0)
    reader.feed(_START)
    assert (reader.observed.started, reader.observed.events) == (True, 1)


@pytest.mark.parametrize(
    "fault",
    [
        b"data: {\n\n",
        b"event: message_start\ndata: {]\n\n",
        b"event: novelty\ndata: {]\n\n",
        b"event: message_start\ndata: <html>\n\n",
        b'data: {"a":1}\n\n',
        b'event: message_start\ndata: {"type":"message_start","message":5}\n\n',
        _DELTA,
        _OPEN,
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        b"data: [DONE]\n\n",
    ],
)
def test_a_stream_that_begins_wrong_is_refused_at_once(fault: bytes) -> None:
    """So that another credential can still be asked."""
    for reader in (StreamTap(_CAP_BYTES), StreamDecoder(_CAP_BYTES)):
        with pytest.raises(StreamBroken):
            reader.feed(fault)
        assert not reader.observed.started


def test_the_tap_needs_no_event_line() -> None:
    """Some gateways leave it out; the type in the data says the same."""
    bare = b"\n".join(line for line in stream("text").split(b"\n") if not line.startswith(b"event:"))
    tap = StreamTap(_CAP_BYTES)
    assert tap.feed(bare) == bare
    assert tap.observed == _observed("text")


def test_the_tap_leaves_deltas_alone() -> None:
    """What nobody reads costs nothing, and bytes that are wrong inside pass unchanged."""
    odd = b"event: content_block_delta\ndata: {not json \xff}\n\n"
    tap = StreamTap(_CAP_BYTES)
    assert tap.feed(_START + _OPEN + odd + _DELTA) == _START + _OPEN + odd + _DELTA
    seen = tap.observed.events
    assert seen > 1
    assert tap.feed(odd + odd) == odd + odd
    assert tap.observed.events > seen


def test_pings_are_no_progress() -> None:
    """A stream that only pings has to be found out."""
    tap = StreamTap(_CAP_BYTES)
    tap.feed(_START)
    seen = tap.observed.events
    tap.feed(b"event: ping\ndata: {}\n\n: comment\n\n\n")
    assert tap.observed.events == seen


@pytest.mark.parametrize(
    "fault",
    [
        b"event: message_delta\ndata: {]\n\n",
        b'event: message_delta\ndata: {"type":"message_delta","delta":7}\n\n',
        _START,
        b"event: content_block_delta\ndata: " + b"x" * _CAP_BYTES + b"\n\n",
    ],
    ids=["no JSON", "a wrong type", "a second start", "over the cap"],
)
def test_the_tap_returns_what_was_sound_before_a_fault(fault: bytes) -> None:
    """The client gets every event up to it, however they were batched; then the fault shows."""
    tap = StreamTap(_CAP_BYTES)
    assert tap.feed(_START + _OPEN + fault + _DELTA) == _START + _OPEN
    assert isinstance(tap.fault, StreamBroken)
    with pytest.raises(StreamBroken):
        tap.feed(_DELTA)


@pytest.mark.parametrize(
    "fault",
    [
        b"event: content_block_delta\ndata: {]\n\n",
        b"data: [DONE]\n\n",
        _START,
        _DELTA.replace(b'"index":0', b'"index":1'),
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ],
)
def test_the_decoder_returns_what_was_sound_before_a_fault(fault: bytes) -> None:
    """The same for the translated lane, where the grammar counts too."""
    decoder = StreamDecoder(_CAP_BYTES)
    assert len(decoder.feed(_START + _OPEN + _DELTA + fault + _DELTA)) == 3
    assert isinstance(decoder.fault, StreamBroken)
    with pytest.raises(StreamBroken):
        decoder.feed(_DELTA)


def test_a_pending_oversized_event_is_seen_as_a_fault() -> None:
    """An event that will never end is known before the next chunk comes."""
    decoder = StreamDecoder(1000)
    assert len(decoder.feed(_START + b"data: " + b"x" * 2000)) == 1
    assert isinstance(decoder.fault, StreamBroken)


@pytest.mark.parametrize("behind", [b"data: [DONE]\n\n", _PING, _DELTA, _START, b"event: x\ndata: {]\n\n"])
def test_nothing_behind_the_end_can_spoil_it(behind: bytes) -> None:
    """The answer is whole; what a relay adds behind it is not ours to judge."""
    tap, decoder = StreamTap(_CAP_BYTES), StreamDecoder(_CAP_BYTES)
    events = len(decoder.feed(stream("text")))
    assert tap.feed(stream("text") + behind) == stream("text") + behind
    assert decoder.feed(behind) == []
    assert len(StreamDecoder(_CAP_BYTES).feed(stream("text") + behind)) == events
    assert decoder.observed == _observed("text")
    assert decoder.observed.complete


@settings(deadline=None)
@given(legal_streams(), st.booleans())
def test_what_we_write_we_read(events: list[Event], merged: bool) -> None:
    """Encoding and decoding any legal stream gives the same events, but for errors, which others write."""
    encoder = AnthropicDialect().stream_encoder(Rendering(request_id="r", created_s=0, model="m"))
    told = [event for event in events if not isinstance(event, ErrorEvent)]
    decoder = StreamDecoder(_CAP_BYTES)
    batches = [told] if merged else [[event] for event in told]
    again = [event for batch in batches for event in decoder.feed(encoder.encode(batch))]
    assert [type(event) for event in again] == [type(event) for event in told]
    assert again[1:] == told[1:]
