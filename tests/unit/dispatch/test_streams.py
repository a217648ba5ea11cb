"""A running stream: every frame before a fault is sent, and only the stop event ends it well."""

import pytest

from proxy.credentials import Kind
from proxy.dispatch.lanes import SPOKEN, TranslatedLane, VerbatimLane
from proxy.dispatch.streams import RunningStream, StreamCut
from proxy.pool import FailureClass, Fault
from proxy.settings import Policy
from proxy.upstreams.base import UpstreamFault
from proxy.watch import Watch
from tests.support.clock import FakeClock
from tests.unit.dialects.openai_chat.upstream.building import DONE as CHAT_DONE
from tests.unit.dialects.openai_chat.upstream.building import HELLO as CHAT_HELLO
from tests.unit.dialects.openai_chat.upstream.building import STOP as CHAT_STOP
from tests.unit.dialects.openai_chat.upstream.building import frame as chat_frame
from tests.unit.dispatch.building import (
    CHAT,
    CLOSE,
    DELTA,
    HELLO,
    OPEN,
    OVERLOADED,
    PING,
    RENDERING,
    START,
    STOP,
    WHOLE,
    ScriptedReply,
    changed,
    frame,
    streamed,
)

_PATIENT_S = 60.0
_EVENT_MAX_BYTES = 64 * 1024


def _running(reply: ScriptedReply, *, verbatim: bool = True, **times: float) -> RunningStream:
    policy = changed(Policy(), times)
    lane = (
        VerbatimLane(_EVENT_MAX_BYTES)
        if verbatim
        else TranslatedLane(CHAT.stream_encoder(RENDERING), _EVENT_MAX_BYTES)
    )
    return RunningStream(reply, lane, policy, FakeClock(), Watch(), verbatim=verbatim)


async def _drained(stream: RunningStream) -> tuple[bytes, StreamCut | None]:
    found = b""
    try:
        await stream.prime(_PATIENT_S)
        while (frames := await stream.frames(_PATIENT_S)) is not None:
            found += frames
    except StreamCut as cut:
        return found, cut
    return found, None


async def test_a_whole_answer_comes_through_untouched() -> None:
    """Protects every byte of an answer in its own dialect."""
    stream = _running(streamed(*WHOLE))
    assert await _drained(stream) == (b"".join(WHOLE), None)
    assert stream.observed.complete
    assert stream.observed.stop_reason == "end_turn"
    assert stream.observed.usage.output_tokens == 7


async def test_nothing_is_lost_between_the_first_event_and_the_relay() -> None:
    """Protects pings and events that came before anybody knew the answer was real."""
    assert await _drained(_running(streamed(PING, PING + START + OPEN, *WHOLE[2:]))) == (
        PING + PING + b"".join(WHOLE),
        None,
    )


@pytest.mark.parametrize("size", [1, 2, 7, 50])
@pytest.mark.parametrize("verbatim", [True, False], ids=["verbatim", "translated"])
async def test_the_client_gets_the_same_however_the_bytes_are_cut(size: int, verbatim: bool) -> None:
    """Protects answers from the accidents of the network."""
    data = b"".join(WHOLE)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    cut = await _drained(_running(streamed(*pieces), verbatim=verbatim))
    assert cut == await _drained(_running(streamed(data), verbatim=verbatim))
    assert cut[1] is None


@pytest.mark.parametrize("chunks", [[], [PING], [PING, b": comment\n\n", b"event: mess"]])
async def test_an_end_before_the_first_event_can_still_be_tried_again(chunks: list[bytes]) -> None:
    """Protects clients from an empty answer: nothing of it counts as begun."""
    with pytest.raises(UpstreamFault) as fault:
        await _running(streamed(*chunks)).prime(_PATIENT_S)
    assert fault.value.fault is Fault.EMPTY_STREAM


@pytest.mark.parametrize("chunks", [[None], [PING, None]])
async def test_pings_alone_do_not_count_as_a_beginning(chunks: list[bytes | None]) -> None:
    """Protects clients from an upstream that lives and says nothing."""
    with pytest.raises(UpstreamFault) as fault:
        await _running(streamed(*chunks)).prime(0.01)
    assert fault.value.fault is Fault.FIRST_EVENT_TIMEOUT


@pytest.mark.parametrize("junk", [b"<html>\n\n", b"data: {\n\n", b"event: x\ndata: nothing\n\n", DELTA])
async def test_a_first_event_that_is_none_can_still_be_tried_again(junk: bytes) -> None:
    """Protects clients from an answer that is no stream of messages."""
    with pytest.raises(UpstreamFault) as fault:
        await _running(streamed(junk), verbatim=False).prime(_PATIENT_S)
    assert fault.value.fault in {Fault.BROKEN_STREAM, Fault.EMPTY_STREAM}


async def test_a_first_event_that_is_an_error_is_told_as_what_it_says() -> None:
    """Protects the next attempt: an overload at the beginning is known as one."""
    with pytest.raises(StreamCut) as cut:
        await _running(streamed(OVERLOADED)).prime(_PATIENT_S)
    assert cut.value.failure.cls is FailureClass.OVERLOADED


@pytest.mark.parametrize("end", [[], [STOP[:-1]], [STOP[:20]], [Fault.RESET], [Fault.TRUNCATED], [START]])
@pytest.mark.parametrize("verbatim", [True, False], ids=["verbatim", "translated"])
async def test_an_answer_without_its_stop_event_is_cut_after_everything_that_came(
    end: list[bytes | Fault], verbatim: bool
) -> None:
    """Protects clients from half an answer that looks whole, and from losing the half there was."""
    sound = [START, OPEN, HELLO]
    found, cut = await _drained(_running(streamed(*sound, *end), verbatim=verbatim))
    assert cut is not None
    assert cut.shown is not None
    assert cut.shown.status == 502
    assert b"Hello" in found
    assert b"message_stop" not in found
    assert b"[DONE]" not in found
    if verbatim:
        assert found.startswith(b"".join(sound))


async def test_half_an_event_is_not_sent() -> None:
    """Protects the client's parser, which would put the error into the middle of an event."""
    found, cut = await _drained(_running(streamed(START, OPEN, HELLO[:30])))
    assert cut is not None
    assert found == START + OPEN


@pytest.mark.parametrize("end", [[], [Fault.RESET], [Fault.TRUNCATED], [Fault.STALLED]])
async def test_after_the_stop_event_nothing_can_spoil_the_answer(end: list[Fault]) -> None:
    """Protects a whole answer from how its connection ends."""
    assert await _drained(_running(streamed(*WHOLE, *end))) == (b"".join(WHOLE), None)


async def test_after_the_stop_event_the_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects clients from an upstream that has said everything and does not hang up."""
    monkeypatch.setattr("proxy.dispatch.streams._AFTER_STOP_S", 0.01)
    assert await _drained(_running(streamed(*WHOLE, None))) == (b"".join(WHOLE), None)


async def test_silence_is_told_so_that_a_keep_alive_can_be_sent() -> None:
    """Protects the client's connection while a model thinks."""
    stream = _running(streamed(START, None))
    await stream.prime(_PATIENT_S)
    assert await stream.frames(_PATIENT_S) == START
    assert await stream.frames(0.01) == b""
    assert await stream.frames(0.01) == b""


async def test_too_long_a_silence_cuts_the_answer() -> None:
    """Protects clients from waiting for ever on a connection that is dead."""
    _, cut = await _drained(_running(streamed(START, None), idle_timeout_s=0.01))
    assert cut is not None
    assert cut.failure.fault is Fault.STALLED
    assert cut.shown is not None
    assert cut.shown.status == 504


async def test_pings_do_not_keep_an_answer_alive_for_ever() -> None:
    """Protects clients from an upstream that lives and says nothing more."""
    _, cut = await _drained(_running(streamed(START, PING, None), ping_only_timeout_s=0.01))
    assert cut is not None
    assert cut.failure.fault is Fault.PING_ONLY


async def test_an_answer_has_a_longest_life() -> None:
    """Protects places from answers without an end."""
    _, cut = await _drained(_running(streamed(START, None), stream_wall_s=0.01))
    assert cut is not None
    assert cut.shown is not None
    assert cut.shown.status == 504


async def test_an_error_event_in_its_own_dialect_is_passed_on_and_nothing_added() -> None:
    """Protects clients from two errors for one."""
    found, cut = await _drained(_running(streamed(START, OVERLOADED)))
    assert found == START + OVERLOADED
    assert cut is not None
    assert cut.shown is None
    assert cut.failure.cls is FailureClass.OVERLOADED


async def test_an_error_event_is_put_into_the_clients_dialect() -> None:
    """Protects clients of the other dialect, who would not understand it."""
    found, cut = await _drained(_running(streamed(START, OVERLOADED), verbatim=False))
    assert b"overloaded" not in found.lower()
    assert cut is not None
    assert cut.shown is not None
    assert (cut.shown.status, cut.shown.message) == (529, "Overloaded")


@pytest.mark.parametrize("kind", ["authentication_error", "billing_error"])
async def test_an_error_about_our_credential_is_not_told_as_the_clients(kind: str) -> None:
    """Protects a client from believing that its own key was refused."""
    event = frame("error", error={"type": kind, "message": "m"})
    _, cut = await _drained(_running(streamed(START, event), verbatim=False))
    assert cut is not None
    assert cut.shown is not None
    assert cut.shown.status >= 500


async def test_whose_credential_it_was_is_not_told_in_an_error_event() -> None:
    """Protects the operator's accounts from being named to clients, in either lane."""
    event = frame("error", error={"type": "api_error", "message": "trouble in org_1"})
    found, _ = await _drained(_running(streamed(START, event)))
    assert found == START + event.replace(b"org_1", b"[redacted]")
    _, cut = await _drained(_running(streamed(START, event), verbatim=False))
    assert cut is not None
    assert cut.shown is not None
    assert cut.shown.message == "trouble in [redacted]"


async def test_an_event_over_its_cap_cuts_the_answer_after_what_came_before() -> None:
    """Protects memory from an endless event."""
    found, cut = await _drained(_running(streamed(START, OPEN, b"data: " + b"x" * 2 * _EVENT_MAX_BYTES)))
    assert found == START + OPEN
    assert cut is not None
    assert cut.failure.fault is Fault.BROKEN_STREAM


async def test_sound_events_of_the_chunk_that_breaks_are_still_sent() -> None:
    """Protects text that had already come when something else went wrong."""
    found, cut = await _drained(_running(streamed(START + OPEN + HELLO + START, CLOSE), verbatim=False))
    assert b"Hello" in found
    assert cut is not None
    assert cut.failure.fault is Fault.BROKEN_STREAM


async def test_a_body_that_ends_after_its_finish_reason_is_whole_where_the_dialect_says_so() -> None:
    """Protects answers of other APIs that never say ``[DONE]``: the client still gets its end."""
    for frames in ((CHAT_HELLO, CHAT_STOP), (CHAT_HELLO, CHAT_STOP, CHAT_DONE)):
        stream = _over_chat(streamed(*frames))
        assert await _drained(stream) == (CHAT_HELLO + CHAT_STOP + CHAT_DONE, None)
        assert stream.observed.complete


async def test_a_body_that_ends_before_its_finish_reason_is_cut() -> None:
    """Protects clients from half an answer of another API."""
    found, cut = await _drained(_over_chat(streamed(CHAT_HELLO)))
    assert found == CHAT_HELLO
    assert cut is not None
    assert cut.failure.fault is Fault.TRUNCATED


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        ({"message": "slow", "type": "rate_limit_error"}, FailureClass.RATE),
        (
            {"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"},
            FailureClass.BILLING,
        ),
        ({"message": "oops", "type": "server_error"}, FailureClass.SERVER),
        ({"message": "busy", "code": 503}, FailureClass.SERVER),
        ({"message": "no", "type": "invalid_request_error"}, FailureClass.REQUEST),
    ],
)
async def test_an_error_in_another_apis_stream_means_what_it_says(
    error: dict[str, object], cls: FailureClass
) -> None:
    """Protects the pool, which learns of limits and faults from streams too."""
    found, cut = await _drained(_over_chat(streamed(CHAT_HELLO, chat_frame(error=error))))
    assert found == CHAT_HELLO + chat_frame(error=error)
    assert cut is not None
    assert (cut.failure.cls, cut.shown) == (cls, None)


def _over_chat(reply: ScriptedReply) -> RunningStream:
    lane = VerbatimLane(_EVENT_MAX_BYTES, SPOKEN["openai_chat"])
    return RunningStream(reply, lane, Policy(), FakeClock(), Watch(), verbatim=True, kind=Kind.OPENAI)
