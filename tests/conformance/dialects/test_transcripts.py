"""Whatever way a stream is cut on the wire, the client gets the same bytes."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.anthropic import AnthropicDialect, StreamDecoder, StreamTap
from proxy.dialects.common import Observed, Rendering, ThinkingFormat
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dialects.openai_chat.text import OpenAITextDialect
from proxy.dialects.sse import SseDecoder
from proxy.model.collect import Collector
from tests.conformance.dialects.slicing import NAMES, cut, slicings, stream

_CAP_BYTES = 1 << 20
_RENDERING = Rendering(
    request_id="req_1", created_s=1795210000, model="claude-opus-5-5", thinking_format=ThinkingFormat.BOTH
)
_DIALECTS = (OpenAIChatDialect(), AnthropicDialect(), OpenAITextDialect())


def _verbatim(chunks: list[bytes]) -> tuple[bytes, Observed]:
    tap = StreamTap(_CAP_BYTES)
    return b"".join([tap.feed(chunk) for chunk in chunks]), tap.observed


def _translated(chunks: list[bytes]) -> tuple[list[bytes], Observed]:
    decoder = StreamDecoder(_CAP_BYTES)
    encoders = [dialect.stream_encoder(_RENDERING) for dialect in _DIALECTS]
    out = [b"" for _ in encoders]
    for chunk in chunks:
        events = decoder.feed(chunk)
        out = [so_far + encoder.encode(events) for so_far, encoder in zip(out, encoders, strict=True)]
    return out, decoder.observed


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_gives_the_same_verbatim_bytes(name: str) -> None:
    """The verbatim lane neither changes nor loses a byte of a complete event."""
    data = stream(name)
    _, observed = _verbatim([data])
    for how, chunks in slicings(data):
        assert _verbatim(chunks) == (data, observed), how


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_gives_the_same_translated_bytes(name: str) -> None:
    """The translated lane depends on the events alone."""
    data = stream(name)
    expected = _translated([data])
    for how, chunks in slicings(data):
        assert _translated(chunks) == expected, how


@pytest.mark.parametrize("name", NAMES)
def test_tap_and_decoder_see_the_same(name: str) -> None:
    """Usage, stop reason and errors do not depend on the lane."""
    data = stream(name)
    assert _verbatim([data])[1] == _translated([data])[1]


@settings(max_examples=2000, deadline=None)
@given(name=st.sampled_from(NAMES), points=st.lists(st.integers(min_value=0, max_value=6000), max_size=12))
def test_random_cuts_give_the_same_bytes(name: str, points: list[int]) -> None:
    """Cut points nobody thought of."""
    data = stream(name)
    chunks = cut(data, [point % (len(data) + 1) for point in points])
    assert _verbatim(chunks) == _verbatim([data])
    assert _translated(chunks) == _translated([data])


@pytest.mark.parametrize("name", NAMES)
def test_line_ends_change_nothing(name: str) -> None:
    """LF, CR LF and CR are the same stream."""
    data = stream(name).replace(b"\r\n", b"\n")
    expected = _translated([data])
    for line_end in (b"\r\n", b"\r"):
        other = data.replace(b"\n", line_end)
        for how, chunks in slicings(other):
            assert _translated(chunks) == expected, (line_end, how)
            assert _verbatim(chunks) == (other, expected[1]), (line_end, how)


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_off_stream_never_ends_cleanly(name: str) -> None:
    """Neither ``[DONE]`` nor a finish reason nor ``message_stop`` is ever invented."""
    data = stream(name)
    last = data.rindex(b"event: message_stop") if name != "error_mid_stream" else len(data)
    (chat, messages, text), observed = _translated([data[:last]])
    assert not observed.complete
    for frame in SseDecoder(_CAP_BYTES).feed(chat + text):
        chunk = msgspec.json.decode(frame.data)
        assert chunk["choices"][0]["finish_reason"] is None
    assert all(frame.event != "message_stop" for frame in SseDecoder(_CAP_BYTES).feed(messages))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "error_mid_stream"])
def test_decoding_our_own_stream_gives_the_same_answer(name: str) -> None:
    """What we send to Messages clients means what we were sent."""
    (_, messages, _), _ = _translated([stream(name)])
    answers = []
    for data in (stream(name), messages):
        collector = Collector()
        for event in StreamDecoder(_CAP_BYTES).feed(data):
            collector.add(event)
        answers.append(msgspec.json.encode(collector.message()))
    assert answers[0] == answers[1]
