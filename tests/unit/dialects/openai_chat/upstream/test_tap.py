"""A stream passes byte for byte, and what it tells is read on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import StreamBroken
from proxy.dialects.openai_chat.upstream import ChatStreamDecoder, ChatStreamTap
from tests.unit.dialects.openai_chat.upstream.building import (
    CAP_BYTES,
    DONE,
    HELLO,
    ROLE,
    SPENT,
    STOP,
    USAGE,
    WHOLE,
    call,
    delta,
    frame,
)

_ODD = (
    b": comment\n\n",
    b"event: message\nid: 7\n" + HELLO,
    b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"[DONE]"}}],"new":{"a":1.50}}\n\n',
    b'data:{"choices":[{"index":0,"delta":{"content":"\xc3\xa9 \\"finish_reason\\":\\"stop\\" data: [DONE]"}}]}\n\n\n',
    STOP,
    SPENT,
    DONE,
)


def _tap(*, hides_usage: bool = False) -> ChatStreamTap:
    return ChatStreamTap(CAP_BYTES, hides_usage=hides_usage)


@pytest.mark.parametrize("frames", [WHOLE, _ODD, tuple(each.replace(b"\n", b"\r\n") for each in _ODD)])
def test_every_byte_passes(frames: tuple[bytes, ...]) -> None:
    """Protects what clients read: comments, line ends, spaces and unknown fields."""
    tap = _tap()
    assert b"".join(tap.feed(each) for each in frames) == b"".join(frames)
    observed = tap.observed
    assert (observed.complete, observed.stop_reason) == (True, "end_turn")
    assert (observed.usage.input_tokens, observed.usage.output_tokens) == (5, 4)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_chunk_of_usage_alone_can_be_kept_back(line_end: bytes) -> None:
    """Protects clients that did not ask for it, and read the first choice of every chunk."""
    tap = _tap(hides_usage=True)
    stream = b"".join(WHOLE).replace(b"\n", line_end)
    kept = b"".join((*WHOLE[:4], DONE)).replace(b"\n", line_end)
    assert tap.feed(stream) + tap.feed(b"") == kept
    assert tap.observed.usage.output_tokens == 4
    assert tap.observed.complete


def test_usage_beside_a_choice_is_not_kept_back() -> None:
    """Protects the finish reason of upstreams that send usage in the same chunk, and errors without a choice."""
    finish = frame(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=USAGE)
    tap = _tap(hides_usage=True)
    assert tap.feed(HELLO + finish) == HELLO + finish
    failing = frame(choices=[], usage=USAGE, error={"message": "no"})
    assert _tap(hides_usage=True).feed(HELLO + failing) == HELLO + failing


def test_half_an_event_waits() -> None:
    """Protects frames of our own from landing inside an event."""
    tap = _tap()
    assert tap.feed(ROLE + HELLO[:9]) == ROLE
    assert tap.feed(HELLO[9:]) == HELLO


def test_an_answer_that_talks_about_its_end_has_not_ended() -> None:
    """Protects clients from a cut right after the model said ``[DONE]``."""
    tap = _tap()
    tap.feed(delta(content='data: [DONE]\n\n{"finish_reason":"stop"}'))
    assert not tap.observed.complete
    assert tap.observed.stop_reason is None
    assert tap.end() == b""


def test_done_without_a_finish_reason_breaks_the_stream() -> None:
    """Protects clients from servers that end every stream in order, whatever became of the answer."""
    tap = _tap()
    assert tap.feed(HELLO + DONE) == HELLO
    assert not tap.observed.complete
    with pytest.raises(StreamBroken):
        tap.feed(b"\n")


def test_the_end_of_the_body_after_a_finish_reason_is_completed_for_the_client() -> None:
    """Protects clients that wait for ``[DONE]`` from upstreams that never say it."""
    tap = _tap()
    tap.feed(HELLO + STOP)
    assert tap.end() == DONE
    assert tap.observed.complete


def test_an_error_is_read_and_passes() -> None:
    """Protects the pool, which learns from it, and the client, who is told by its own upstream's frame."""
    failing = frame(error={"message": "slow", "type": "rate_limit_error"})
    tap = _tap()
    assert tap.feed(HELLO + failing) == HELLO + failing
    assert tap.observed.error is not None
    assert tap.observed.error.type == "rate_limit_error"
    assert tap.end() == b""
    assert not tap.observed.complete


@pytest.mark.parametrize("bad", [b"data: {broken\n\n", b"data: []\n\n", b"data: " + b"x" * (2 * CAP_BYTES)])
def test_what_is_no_chunk_breaks_the_stream_behind_what_was_sound(bad: bytes) -> None:
    """Protects clients from garbage, and from losing what came before it."""
    tap = _tap()
    assert tap.feed(HELLO) == HELLO
    with pytest.raises(StreamBroken):
        tap.feed(bad)
    with pytest.raises(StreamBroken):
        _tap().feed(bad)
    late = _tap()
    assert late.feed(HELLO + bad + b"\n\n" + STOP) == HELLO
    assert isinstance(late.fault, StreamBroken)
    with pytest.raises(StreamBroken):
        late.feed(DONE)


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4])
def test_a_line_end_cut_in_two_behind_a_hidden_chunk_is_hidden_whole(cut: int) -> None:
    """Protects clients from a stray line end where the usage they did not ask for was."""
    before, hidden, after = (each.replace(b"\n", b"\r\n") for each in (STOP, SPENT, DONE))
    tap = _tap(hides_usage=True)
    end = len(before) + len(hidden) - cut
    stream = before + hidden + after
    assert tap.feed(stream[:end]) + tap.feed(stream[end:]) == before + after


_frames = st.lists(
    st.one_of(
        st.builds(lambda text: delta(content=text), st.text(max_size=5)),
        st.builds(lambda index: call(index, id=f"c{index}", name="f", arguments="{}"), st.integers(0, 2)),
        st.sampled_from([SPENT, ROLE, b": ping\n\n"]),
    ),
    max_size=10,
)


@given(_frames, st.booleans(), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_any_cut_gives_the_same_bytes_and_tells_what_the_decoder_tells(
    frames: list[bytes], hides_usage: bool, line_end: bytes, data: st.DataObject
) -> None:
    """Protects clients and accounts from where the network cuts."""
    shown = [each for each in (*frames, STOP, SPENT, DONE) if not (hides_usage and each is SPENT)]
    stream = b"".join([*frames, STOP, SPENT, DONE]).replace(b"\n", line_end)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    tap, decoder = _tap(hides_usage=hides_usage), ChatStreamDecoder(CAP_BYTES)
    found = b"".join([tap.feed(piece) for piece in pieces])
    for piece in pieces:
        decoder.feed(piece)
    assert found == b"".join(shown).replace(b"\n", line_end)
    assert (tap.observed.usage, tap.observed.complete) == (decoder.observed.usage, True)
    assert tap.observed.model == decoder.observed.model
