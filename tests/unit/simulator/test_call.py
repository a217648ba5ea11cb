"""What a behaviour may do with a call, and what happens when it does too much."""

import asyncio
from collections.abc import Iterator

import pytest

from proxy.simulator import Simulator, Step
from proxy.simulator.behaviours import BEHAVIOURS
from proxy.simulator.call import Call
from tests.unit.simulator.client import ask, connect, parse, question, request_bytes


@pytest.fixture
def unfinished() -> Iterator[str]:
    """A behaviour that sends half an answer and returns."""

    async def behave(call: Call, _step: Step) -> None:
        call.begin(call.reply())
        call.write(b"half")
        await call.flush()

    BEHAVIOURS["unfinished"] = behave
    yield "unfinished"
    del BEHAVIOURS["unfinished"]


@pytest.fixture
def talkative() -> Iterator[str]:
    """A behaviour that goes on after its end."""

    async def behave(call: Call, _step: Step) -> None:
        call.send_whole(call.reply())
        call.write(b"more")
        call.end()
        call.cut("reset")
        await asyncio.sleep(0)

    BEHAVIOURS["talkative"] = behave
    yield "talkative"
    del BEHAVIOURS["talkative"]


async def test_an_answer_left_unfinished_is_cut(simulator: Simulator, unfinished: str) -> None:
    """No client waits for ever because of a mistake in a behaviour."""
    simulator.script("k", [Step(unfinished)])
    answer = await ask(simulator, question(stream=True))
    assert answer.end == "reset"


async def test_nothing_comes_after_the_end(simulator: Simulator, talkative: str) -> None:
    """The next answer on the connection must not be spoilt."""
    simulator.script("k", [Step(talkative)])
    reader, writer = await connect(simulator)
    writer.write(request_bytes(question(), close=False) + request_bytes(question()))
    first, second = [one for one in (await reader.read()).split(b"HTTP/1.1 200 OK") if one]
    assert parse(b"HTTP/1.1 200 OK" + first).end == "clean"
    assert parse(b"HTTP/1.1 200 OK" + second).end == "clean"
    writer.close()
    assert simulator.record.ended == {"server": 2}
