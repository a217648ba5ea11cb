"""A turn as it is told from both sides, and what becomes of the child's request."""

import asyncio
from typing import Final

import msgspec
import pytest

from proxy.dialects.common import Observed, StreamError
from proxy.pool import Fault
from proxy.upstreams.base import UpstreamFault
from proxy.upstreams.claude_code import turn as module
from proxy.upstreams.claude_code.environment import RESUME_PROMPT
from proxy.upstreams.claude_code.turn import Edits, Ended, Turn

_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'


def _edited(edits: Edits, body: dict[str, object]) -> dict[str, object]:
    text = msgspec.json.encode(body)
    return msgspec.json.decode(edits.apply(text), type=dict[str, object])


def test_the_clients_fields_take_the_place_of_the_programs() -> None:
    """Protects the client's limits and formats, and keeps what it did not ask for out."""
    edits = Edits({"max_tokens": b"7", "tools": b"[]"}, frozenset({"thinking"}))
    body: dict[str, object] = {"model": "m", "max_tokens": 32000, "thinking": {"type": "adaptive"}}
    assert _edited(edits, body) == {"model": "m", "max_tokens": 7, "tools": []}


def test_what_the_program_says_of_itself_is_taken_out_and_nothing_else() -> None:
    """Protects the history, and the mark for the prompt cache that stood on the program's own words."""
    mark = {"type": "ephemeral"}
    result: dict[str, object] = {"type": "tool_result", "tool_use_id": "t", "content": "r"}
    own: dict[str, object] = {"type": "text", "text": RESUME_PROMPT, "cache_control": mark}
    told: list[object] = [
        {"role": "user", "content": f"Say: {RESUME_PROMPT}"},
        {"role": "system", "content": [], "output_config": {"effort": "medium"}},
        {"role": "system", "content": "Mind the gap."},
        {"role": "user", "content": [result, own]},
        {"role": "user", "content": [own]},
    ]
    kept = [told[0], told[2], {"role": "user", "content": [{**result, "cache_control": mark}]}, told[4]]
    assert _edited(Edits(), {"messages": told})["messages"] == kept


def test_a_body_of_another_shape_passes_as_it_is() -> None:
    """Protects a request of a newer program from being refused here."""
    body: dict[str, object] = {"messages": [{"role": "system", "content": {"new": RESUME_PROMPT}}]}
    assert _edited(Edits(), body) == body


async def test_events_come_in_order_and_then_the_end() -> None:
    """Protects an answer's order, and tells its reader when it is over."""
    turn = Turn(wired=False)
    await turn.tell({"type": "ping"})
    await turn.tell({"kind": "no event"})
    await turn.tell({"type": "later"})
    turn.end(Ended())
    assert await turn.told() == [_PING, b'event: later\ndata: {"type":"later"}\n\n']
    assert await turn.told() == []


async def test_what_the_wire_says_is_the_answer_and_what_the_child_makes_of_it_is_not() -> None:
    """Protects clients from waiting for the child, and from hearing everything twice."""
    turn = Turn()
    await turn.pass_on(_PING)
    await turn.tell({"type": "ping"})
    turn.end(Ended())
    assert await turn.told() == [_PING]
    assert await turn.told() == []


async def test_the_wire_of_one_answer_among_many_is_not_the_whole_one() -> None:
    """Protects runs, whose answers are joined from what the child tells."""
    turn = Turn(wired=False)
    await turn.pass_on(_PING)
    turn.end(Ended())
    assert await turn.told() == []


async def test_a_fault_comes_after_what_was_told_before_it_and_the_first_one_counts() -> None:
    """Protects the part of an answer that did come, and the true reason of its break."""
    turn = Turn(wired=False)
    await turn.tell({"type": "ping"})
    turn.fail(Fault.TRUNCATED)
    turn.fail(Fault.RESET)
    await turn.tell({"type": "message_stop"})
    assert await turn.told() == [_PING]
    with pytest.raises(UpstreamFault) as caught:
        await turn.told()
    assert caught.value.fault is Fault.TRUNCATED


async def test_nothing_is_believed_after_an_error_on_the_wire() -> None:
    """Protects clients from an end that the program makes up."""
    turn = Turn(wired=False)
    turn.observed = Observed(error=StreamError("overloaded_error", "busy"))
    await turn.tell({"type": "message_stop"})
    turn.end(Ended(failed=True))
    assert await turn.told() == []


async def test_only_one_request_may_pass_and_none_once_nobody_waits() -> None:
    """Protects the owner's money."""
    turn = Turn()
    assert [turn.begin(), turn.begin()] == [True, False]
    left = Turn()
    left.abort()
    assert not left.begin()


@pytest.mark.parametrize("wired", [False, True])
async def test_who_tells_waits_for_a_reader_that_is_behind(
    monkeypatch: pytest.MonkeyPatch, *, wired: bool
) -> None:
    """Protects memory from an answer that is read slowly."""
    monkeypatch.setattr(module, "_WAITING_MAX_BYTES", 2 * len(_PING))
    turn = Turn(wired=wired)

    async def tell() -> None:
        await (turn.pass_on(_PING) if wired else turn.tell({"type": "ping"}))

    await tell()
    await tell()
    telling = asyncio.get_running_loop().create_task(tell())
    await asyncio.sleep(0)
    assert not telling.done()
    assert len(await turn.told()) == 2
    await telling
    assert len(await turn.told()) == 1


async def test_nothing_waits_for_a_reader_that_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the listener from waiting for ever, and memory from what nobody will read."""
    monkeypatch.setattr(module, "_WAITING_MAX_BYTES", 1)
    turn = Turn()
    await turn.pass_on(_PING)
    telling = asyncio.get_running_loop().create_task(turn.pass_on(_PING))
    await asyncio.sleep(0)
    turn.abort()
    await telling
    assert await turn.told() == [_PING]


async def test_a_reader_may_be_cancelled_and_loses_nothing() -> None:
    """Protects what comes after a keep-alive."""
    turn = Turn()
    reading = asyncio.get_running_loop().create_task(turn.told())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait({reading})
    await turn.pass_on(_PING)
    assert await turn.told() == [_PING]
