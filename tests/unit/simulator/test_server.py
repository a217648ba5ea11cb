"""The simulator as a whole: its scripts, its listener and its end."""

import asyncio

import msgspec
import pytest

from proxy.simulator import ANY_KEY, EndedBy, Limits, Pace, Simulator, Step
from tests.unit.simulator.client import ask, connect, event_names, parse, question, request_bytes, until


async def test_a_key_without_a_script_is_served_well(simulator: Simulator) -> None:
    """Any key is good."""
    for headers in ({"x-api-key": "any"}, {"authorization": "Bearer other"}):
        assert (await ask(simulator, question(), key="", headers=headers)).status == 200
    assert [one.key for one in simulator.record.requests] == ["any", "other"]
    assert (await ask(simulator, question(), key="")).status == 401


async def test_scripts_belong_to_their_key(simulator: Simulator) -> None:
    """One bad credential among good ones."""
    simulator.script("bad", then=Step("status", status=401))
    assert [(await ask(simulator, question(), key=key)).status for key in ("bad", "good", "bad")] == [
        401,
        200,
        401,
    ]
    simulator.script(ANY_KEY, [Step("status", status=529)])
    assert [(await ask(simulator, question(), key="good")).status for _ in range(2)] == [529, 200]


def test_a_behaviour_there_is_not_is_an_error() -> None:
    """A typing mistake in a test must not be a success."""
    with pytest.raises(ValueError, match="no behaviour is named 'stahl'"):
        Simulator().script("k", [Step("delay", next=Step("stahl"))])


async def test_every_answer_tells_its_organization_and_limits(simulator: Simulator) -> None:
    """On both ways of sending, errors too."""
    simulator.script("k", [Step("success")])
    answers = [await ask(simulator, question()), await ask(simulator, question()), await ask(simulator, {})]
    assert [one.status for one in answers] == [200, 200, 400]
    for one in answers:
        assert one.headers["request-id"].startswith("req_sim_")
        assert one.headers["anthropic-organization-id"].startswith("org-")
        assert sum(name.startswith("anthropic-ratelimit-") for name in one.headers) == 12
    assert set(answers[0].headers) == set(answers[1].headers)


@pytest.mark.parametrize("steps", [(), (Step("success"),)], ids=["at once", "by a step"])
async def test_limits_are_counted_told_and_enforced(simulator: Simulator, steps: tuple[Step, ...]) -> None:
    """A gateway that reads the headers must find in them what will happen."""
    simulator.assign("k", "org-small")
    simulator.limit("org-small", Limits(requests=2))
    simulator.script("k", steps, then=steps[0] if steps else None)
    answers = [await ask(simulator, question()) for _ in range(3)]
    assert [one.status for one in answers] == [200, 200, 429]
    name = "anthropic-ratelimit-requests-remaining"
    assert [one.headers[name] for one in answers] == ["1", "0", "0"]
    assert 25 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[2].json()["error"] == {
        "type": "rate_limit_error",
        "message": "This request would exceed your organization's rate limit of 2 requests per minute",
    }
    simulator.reset()
    assert (await ask(simulator, question())).headers[name] != "0"


async def test_a_prefix_begins_every_text() -> None:
    """Demo mode must be recognisable."""
    simulator = Simulator(prefix="[demo] ")
    await simulator.start()
    answer = await ask(simulator, question())
    assert answer.json()["content"] == [{"type": "text", "text": '[demo] You said: "Hello" (1 message)'}]
    await simulator.stop()


async def test_a_pace_is_for_every_answer() -> None:
    """Unless a step has its own."""
    simulator = Simulator(pace=Pace(first_token_delay_s=1, events=3), time_scale=0.001)
    await simulator.start()
    simulator.script("k", [Step(), Step(pace=Pace(events=4))])
    bodies = [(await ask(simulator, question(stream=True))).body for _ in range(3)]
    assert [event_names(body).count("content_block_delta") for body in bodies] == [3, 4, 3]
    await simulator.stop()


async def test_the_same_question_is_answered_the_same_by_another_simulator() -> None:
    """Same request, same seed: same bytes, ids included."""
    bodies = set()
    for _ in range(2):
        simulator = Simulator(seed=5)
        await simulator.start()
        bodies.add((await ask(simulator, question(thinking={"type": "adaptive"}))).body)
        await simulator.stop()
    assert len(bodies) == 1


async def test_refusing_closes_what_is_idle_and_lets_the_rest_finish(simulator: Simulator) -> None:
    """The next request meets the refusal, also on a kept connection."""
    idle_reader, idle_writer = await connect(simulator)
    simulator.script("k", [Step("stall_mid", seconds=20)])
    reader, writer = await connect(simulator)
    writer.write(request_bytes(question(stream=True)))
    await until(lambda: simulator.record.open_connections == 2 and bool(simulator.record.requests))
    await simulator.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(simulator)
    assert await idle_reader.read() == b""
    assert parse(await reader.read()).end == "clean"
    await simulator.accept()
    await simulator.accept()
    assert (await ask(simulator, question())).status == 200
    writer.close()
    idle_writer.close()


async def test_stopping_ends_everything() -> None:
    """No task, no connection and no timer stays behind."""
    simulator = Simulator()
    before = asyncio.all_tasks()
    await simulator.start()
    simulator.script("k", then=Step("stall_mid"))
    simulator.script("r", [Step("refuse_connection", seconds=1000)])
    writers = []
    for key in "kkkr":
        _, writer = await connect(simulator)
        writer.write(request_bytes(question(stream=True), key=key))
        writers.append(writer)
        await until(lambda: simulator.record.requests_total == len(writers))
    await until(lambda: all(one.step for one in simulator.record.requests))
    await simulator.stop()
    await simulator.stop()
    assert (simulator.record.open_connections, simulator.record.in_flight) == (0, {})
    assert simulator.connections == set()
    assert {one.ended_by for one in simulator.record.requests} == {EndedBy.FAULT}
    assert asyncio.all_tasks() <= before
    for writer in writers:
        writer.close()


async def test_many_requests_at_once_are_counted(simulator: Simulator) -> None:
    """The most that were in flight, by key."""
    simulator.script("k", then=Step("delay", seconds=5))
    await asyncio.gather(
        *(ask(simulator, question()) for _ in range(10)), ask(simulator, question(), key="o")
    )
    assert simulator.record.max_in_flight == {"k": 10, "o": 1}
    assert simulator.record.in_flight == {}


async def test_counting_tokens_works_over_the_wire(simulator: Simulator) -> None:
    """With the query Claude Code adds."""
    body = {name: value for name, value in question("x" * 40).items() if name != "max_tokens"}
    answer = await ask(simulator, body, path="/v1/messages/count_tokens?beta=true")
    assert msgspec.json.decode(answer.body) == {"input_tokens": 10}
