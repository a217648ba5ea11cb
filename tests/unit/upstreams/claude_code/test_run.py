"""Many answers of the API told as one."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import pytest

from proxy.credentials import Kind
from proxy.dialects.claude_options import OutputFormat
from proxy.dialects.common import Observed
from proxy.pool import Fault, UpstreamError
from proxy.upstreams.base import Source, UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.run import CALLS_MAX, RunTurn
from proxy.upstreams.claude_code.turn import Edits, Ended

_Event = dict[str, object]
_RESULT: Final = {"type": "result", "result": "done", "session_id": "s"}


def _answer(texts: Sequence[str], stop_reason: str, *, tool: bool = False, used: int = 5) -> list[_Event]:
    """The events of one answer: a block for each text, and perhaps a call."""
    message = {
        "id": "msg",
        "role": "assistant",
        "content": [],
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }
    events: list[_Event] = [{"type": "message_start", "message": message}]
    blocks: list[Mapping[str, object]] = [{"type": "text", "text": text} for text in texts]
    if tool:
        blocks.append({"type": "tool_use", "id": "t", "name": "Read", "input": {}})
    for at, block in enumerate(blocks):
        empty = {**block, "text": ""} if "text" in block else block
        events.append({"type": "content_block_start", "index": at, "content_block": empty})
        delta = {"type": "text_delta", "text": block.get("text", "")}
        events.append({"type": "content_block_delta", "index": at, "delta": delta})
        events.append({"type": "content_block_stop", "index": at})
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": used}})
    events.append({"type": "message_stop"})
    return events


def _turn(output_format: OutputFormat = "text") -> RunTurn:
    return RunTurn(Edits(), output_format)


async def _heard(turn: RunTurn) -> list[_Event]:
    """What was told since the last call."""
    frames = b"".join(await turn.told()).split(b"\n\n")[:-1]
    return [msgspec.json.decode(frame.partition(b"data: ")[2], type=dict[str, object]) for frame in frames]


async def _told(turn: RunTurn, *answers: list[_Event]) -> list[_Event]:
    for events in answers:
        assert turn.begin()
        for event in events:
            await turn.tell(event)
    turn.end(Ended())
    return await _heard(turn)


def _texts(events: Sequence[_Event]) -> str:
    found = (event["delta"] for event in events if event["type"] == "content_block_delta")
    return "".join(msgspec.convert(delta, dict[str, str])["text"] for delta in found)


async def test_two_answers_are_one_without_the_call_between_them() -> None:
    """Protects clients from calls of tools that are none of theirs, and counts what all answers used."""
    events = await _told(
        _turn(), _answer(["Let me see."], "tool_use", tool=True), _answer(["A heron."], "end_turn", used=7)
    )
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-1], kinds.count("message_start"), kinds.count("message_stop")) == (
        "message_start",
        "message_stop",
        1,
        1,
    )
    assert [event["index"] for event in events if event["type"] == "content_block_start"] == [0, 1]
    assert _texts(events) == "Let me see.\n\nA heron."
    assert events[-2]["usage"] == {"input_tokens": 20, "output_tokens": 12}
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}


async def test_a_run_that_is_stopped_among_its_tools_has_an_end() -> None:
    """Protects clients from an answer that never ends where the most calls were made."""
    events = await _told(_turn(), _answer(["Let me see."], "tool_use", tool=True))
    assert msgspec.convert(events[-2]["delta"], dict[str, str | None])["stop_reason"] == "pause_turn"
    assert events[-1] == {"type": "message_stop"}


@pytest.mark.parametrize(
    ("stop_reason", "more"),
    [("tool_use", True), ("end_turn", True), ("max_tokens", False), ("refusal", False)],
)
async def test_what_the_program_would_ask_by_itself_is_not_passed(stop_reason: str, *, more: bool) -> None:
    """Protects the owner's money from what follows an answer that was cut off."""
    turn = _turn()
    assert turn.begin()
    turn._seen = Observed(stop_reason=stop_reason)
    assert turn.begin() is more


async def test_there_are_only_so_many_calls() -> None:
    """Protects the owner's money from a model that goes round in circles."""
    turn = _turn()
    assert [turn.begin() for _ in range(CALLS_MAX + 1)] == [True] * CALLS_MAX + [False]
    assert turn.acted
    once = RunTurn(Edits(), acts=False)
    assert (once.begin(), once.begin(), once.acted) == (True, False, False)
    gone = _turn()
    gone.abort()
    assert not gone.begin()


async def test_the_result_alone_is_told_as_json() -> None:
    """Protects clients that parse the content."""
    turn = _turn("json")
    for event in _answer(["Let me see."], "end_turn"):
        await turn.tell(event)
    turn.saw({"type": "assistant"})
    turn.saw(_RESULT)
    turn.end(Ended())
    events = await _heard(turn)
    assert msgspec.json.decode(_texts(events)) == _RESULT
    assert [event["type"] for event in events][-3:] == ["content_block_stop", "message_delta", "message_stop"]


async def test_each_message_is_told_in_a_line_without_the_servers_own_paths() -> None:
    """Protects clients that read lines, and the server's folders from being told."""
    turn = _turn("stream-json")
    turn.saw({"type": "system", "subtype": "init", "cwd": "/data/canary", "model": "m"})
    turn.saw({"type": "system", "subtype": "status"})
    for event in _answer(["Hi."], "end_turn"):
        await turn.tell(event)
    turn.saw({"type": "assistant", "message": "Hi.\nHo."})
    turn.saw({"type": "assistant", "parent_tool_use_id": "of a helper"})
    turn.saw(_RESULT)
    turn.end(Ended())
    lines = [msgspec.json.decode(line) for line in _texts(await _heard(turn)).splitlines()]
    assert lines == [
        {"type": "system", "subtype": "init", "model": "m"},
        {"type": "assistant", "message": "Hi.\nHo."},
        _RESULT,
    ]


def _refusal() -> UpstreamRefused:
    error = UpstreamError(
        status=429, type="rate_limit_error", message="slow down", code=None, headers={}, kind=Kind.CLAUDE_CODE
    )
    return UpstreamRefused(error, Source())


async def test_a_refusal_counts_for_another_key_before_anything_was_said_and_is_an_error_after() -> None:
    """Protects the walk over keys at the start, and clients from a clean end of half a run."""
    turn = _turn()
    turn.refuse(_refusal())
    with pytest.raises(UpstreamRefused):
        await turn.told()
    turn = _turn()
    for event in _answer(["Let me see."], "tool_use", tool=True):
        await turn.tell(event)
    turn.refuse(_refusal())
    assert [event["type"] for event in await _heard(turn)][-1] == "content_block_stop"
    assert await turn.told() == []
    assert turn.observed is not None
    assert turn.observed.error is not None
    assert turn.observed.error.type == "rate_limit_error"


async def test_a_fault_is_a_fault_at_any_time() -> None:
    """Protects clients from a break that is taken for an end."""
    turn = _turn()
    for event in _answer(["Let me see."], "tool_use", tool=True):
        await turn.tell(event)
    turn.fail(Fault.TRUNCATED)
    turn.end(Ended())
    await turn.told()
    with pytest.raises(UpstreamFault):
        await turn.told()
