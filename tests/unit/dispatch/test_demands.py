"""What a client demands of a model that can only be asked for it: tool calls, and JSON."""

import msgspec
import pytest

from proxy.dialects.common import Demand
from proxy.dispatch.attempt import UnaryOpened
from proxy.dispatch.demands import is_met
from proxy.dispatch.trace import Trace
from proxy.model.content import Block, TextBlock, ToolUseBlock
from proxy.model.message import Message, Usage
from proxy.pool import Success
from tests.unit.dispatch.asking import ask
from tests.unit.dispatch.building import CHAT, MESSAGE, bench, body, exchange, refused, whole

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
    assert opened.lacks is Demand.CALL
    assert trace.attempts == 2


async def test_the_first_answer_stands_when_asking_again_fails() -> None:
    """Protects a good answer from the failure of the attempt to better it, and its place from being freed twice."""
    house = bench(whole(), refused(400))
    opened = await ask(house, exchange(_DEMAND, dialect=CHAT))
    assert isinstance(opened, UnaryOpened)
    house.dispatcher.end(opened, Success())
    assert house.pool.in_flight == 0


_FENCED = MESSAGE.replace(b'"Hello"', msgspec.json.encode("```json\n{}\n```"))


async def test_json_that_does_not_parse_is_asked_for_once_more() -> None:
    """Protects clients that read the answer with a program; its fence is taken off."""
    demand = body(response_format={"type": "json_object"})
    house, trace = bench(whole(), whole(_FENCED)), Trace()
    opened = await ask(house, exchange(demand, dialect=CHAT), trace=trace)
    assert isinstance(opened, UnaryOpened)
    assert b'"content":"{}"' in opened.body
    assert [each.outcome for each in trace.failed] == ["no_json"]


async def test_json_that_parses_is_asked_for_once() -> None:
    """Protects ordinary answers from being paid twice."""
    house, trace = bench(whole(_FENCED), whole()), Trace()
    await ask(house, exchange(body(response_format={"type": "json_object"}), dialect=CHAT), trace=trace)
    assert trace.attempts == 1


@pytest.mark.parametrize(
    ("demand", "content", "met"),
    [
        (Demand.CALL, [TextBlock("a")], False),
        (Demand.CALL, [ToolUseBlock("t", "f", msgspec.Raw(b"{}"))], True),
        (Demand.JSON, [ToolUseBlock("t", "f", msgspec.Raw(b"{}"))], True),
        (Demand.JSON, [TextBlock('{"a":'), TextBlock("1}")], True),
        (Demand.JSON, [TextBlock("```\n{}\n```")], True),
        (Demand.JSON, [TextBlock("[]")], False),
        (Demand.JSON, [], False),
    ],
)
def test_what_meets_a_demand(demand: Demand, content: list[Block], met: bool) -> None:
    """A call is one, and comes before the text that was asked for."""
    assert is_met(demand, Message(content=content)) is met


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


def _told(trace: Trace, opened: UnaryOpened) -> tuple[Usage | None, list[Usage | None]]:
    """What is charged for the answer, and for others, once the handler has noted what came."""
    trace.usage, trace.first_event_s = opened.usage, 1.0
    done = trace.settlement("anna", "claude-sonnet-5-5", status=200, free=False)
    assert done.answered is not None
    return done.answered.usage, [each.usage for each in done.further]


_FIRST, _SECOND = Usage(input_tokens=3, output_tokens=7), Usage(input_tokens=1, output_tokens=1)


async def test_both_answers_are_charged_once_each() -> None:
    """Protects the bill, on which both stand, though the client sees one."""
    house, trace = bench(whole(), whole(_CALL)), Trace()
    opened = await ask(house, exchange(_DEMAND, dialect=CHAT), trace=trace)
    assert isinstance(opened, UnaryOpened)
    assert _told(trace, opened) == (_SECOND, [_FIRST])


async def test_an_answer_that_stands_after_all_is_charged_once() -> None:
    """Protects the bill from the same answer as one in vain and as the one that was sent."""
    house, trace = bench(whole(), refused(400)), Trace()
    opened = await ask(house, exchange(_DEMAND, dialect=CHAT), trace=trace)
    assert isinstance(opened, UnaryOpened)
    assert _told(trace, opened) == (_FIRST, [])
    assert (trace.credential, [each.outcome for each in trace.failed]) == (
        "api-1",
        ["no_tool_call", "request"],
    )
