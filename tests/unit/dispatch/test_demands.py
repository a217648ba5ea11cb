"""Tool calls a client demands of a model that can only be asked for them."""

import msgspec
import pytest

from proxy.dispatch.attempt import UnaryOpened
from proxy.dispatch.trace import Trace
from proxy.pool import Success
from tests.unit.dispatch.asking import ask
from tests.unit.dispatch.building import CHAT, bench, body, exchange, refused, whole

_DEMAND = body(
    max_tokens=100,
    tools=[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
    tool_choice="required",
)
_CALL = msgspec.json.encode(
    {
        "type": "message",
        "id": "msg_2",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
)


async def test_a_demanded_tool_call_that_did_not_come_is_asked_for_once_more() -> None:
    """Protects clients that force a tool on a model that can only be asked: one more try, and no more."""
    house, trace = bench(whole(), whole(_CALL), whole(_CALL)), Trace()
    opened = await ask(house, exchange(_DEMAND, dialect=CHAT), trace=trace)
    assert isinstance(opened, UnaryOpened)
    assert b"toolu_1" in opened.body
    assert (trace.attempts, [each.outcome for each in trace.failed]) == (2, ["no_tool_call"])
    house.dispatcher.end(opened, Success())
    assert house.pool.in_flight == 0


async def test_the_second_answer_stands_even_without_the_call() -> None:
    """Protects against asking for ever."""
    house, trace = bench(whole(), whole(), whole(_CALL)), Trace()
    opened = await ask(house, exchange(_DEMAND, dialect=CHAT), trace=trace)
    assert isinstance(opened, UnaryOpened)
    assert not opened.calls_tool
    assert trace.attempts == 2


async def test_the_first_answer_stands_when_asking_again_fails() -> None:
    """Protects a good answer from the failure of the attempt to better it, and its place from being freed twice."""
    house = bench(whole(), refused(400))
    opened = await ask(house, exchange(_DEMAND, dialect=CHAT))
    assert isinstance(opened, UnaryOpened)
    house.dispatcher.end(opened, Success())
    assert house.pool.in_flight == 0


@pytest.mark.parametrize("demand", [_DEMAND.replace(b"required", b"auto"), body(max_tokens=100)])
async def test_an_answer_nobody_demanded_a_call_from_is_not_asked_again(demand: bytes) -> None:
    """Protects ordinary requests from being paid twice."""
    house, trace = bench(whole(), whole(_CALL)), Trace()
    await ask(house, exchange(demand, dialect=CHAT), trace=trace)
    assert trace.attempts == 1


async def test_no_retry_setting_means_no_second_question_either() -> None:
    """Protects an operator's wish that nothing is done twice."""
    house, trace = bench(whole(), whole(_CALL), retry_count=0), Trace()
    await ask(house, exchange(_DEMAND, dialect=CHAT), trace=trace)
    assert trace.attempts == 1
