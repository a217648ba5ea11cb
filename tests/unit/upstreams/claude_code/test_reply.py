"""What a child tells of its end, as the API's error it was."""

import msgspec
import pytest

from proxy.pool import Fault, UpstreamError
from proxy.upstreams.base import UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.reply import CodeReply, ended_error
from proxy.upstreams.claude_code.turn import Ended, Turn

_MESSAGE: dict[str, object] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
START: dict[str, object] = {"type": "message_start", "message": _MESSAGE}


def _delta(stop_reason: str | None) -> dict[str, object]:
    return {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": {"output_tokens": 2}}


STOP: dict[str, object] = {"type": "message_stop"}


def _reply(turn: Turn) -> CodeReply:
    return CodeReply(turn, 1_000_000, lambda _: None)


async def _told(*events: dict[str, object], ended: Ended) -> CodeReply:
    turn = Turn(wired=False)
    for event in events:
        await turn.tell(event)
    turn.end(ended)
    reply = _reply(turn)
    await reply.begin()
    return reply


async def _all(reply: CodeReply) -> bytes:
    found = b""
    while chunk := await reply.read():
        found += chunk
    return found


async def test_an_end_without_the_wires_word_is_believed_when_the_child_says_it_went_well() -> None:
    """Protects logins, whose wire nobody reads."""
    reply = await _told(START, _delta("end_turn"), STOP, ended=Ended())
    assert (await _all(reply)).endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert reply.ended


async def test_an_end_without_a_reason_is_made_up() -> None:
    """Protects clients of logins from an answer that was cut and looks whole."""
    reply = await _told(START, _delta(None), STOP, ended=Ended())
    await reply.read()
    with pytest.raises(UpstreamFault) as caught:
        await reply.read()
    assert caught.value.fault is Fault.TRUNCATED


async def test_an_error_in_the_middle_is_told_as_one() -> None:
    """Protects clients from silence, and the pool's judgement of what happened."""
    text = 'API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"busy"}}'
    reply = await _told(START, ended=Ended(failed=True, status=529, text=text))
    said = await _all(reply)
    error = msgspec.json.decode(said.rpartition(b"data: ")[2], type=dict[str, dict[str, str] | str])
    assert error["error"] == {"type": "overloaded_error", "message": "busy"}
    assert reply.ended


async def test_what_breaks_the_grammar_breaks_the_answer() -> None:
    """Protects clients' parsers from a program that has lost its thread."""
    with pytest.raises(UpstreamFault) as caught:
        await _told(STOP, _delta("end_turn"), ended=Ended())
    assert caught.value.fault is Fault.BROKEN_STREAM


async def test_a_turn_that_ends_without_a_word_is_an_empty_answer() -> None:
    """Protects the next attempt: nothing has reached the client."""
    with pytest.raises(UpstreamFault) as caught:
        await _told(ended=Ended())
    assert caught.value.fault is Fault.EMPTY_STREAM


def test_an_error_keeps_its_status_its_words_and_its_time() -> None:
    """Protects the rotation of logins: a limit is one, with the moment at which it ends."""
    text = 'API Error: 429 {"type":"error","error":{"type":"rate_limit_error","message":"slow"}}'
    error = ended_error(Ended(failed=True, status=429, text=text), 1_900_000_000)
    assert (error.status, error.type, error.message) == (429, "rate_limit_error", "slow")
    assert error.headers == {"anthropic-ratelimit-unified-reset": "1900000000"}


async def test_a_child_that_is_not_logged_in_has_no_key() -> None:
    """Protects the pool from asking a login again and again that is none."""
    with pytest.raises(UpstreamRefused) as caught:
        await _told(ended=Ended(failed=True, text="Not logged in"))
    error: UpstreamError = caught.value.error
    assert (error.status, error.type) == (401, "")
