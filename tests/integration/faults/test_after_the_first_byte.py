"""Failures after the first byte end in an error frame and are never tried again; what only looks odd is no failure."""

from dataclasses import replace

import msgspec
import pytest

from proxy.simulator import Step
from proxy.simulator.call import reset
from proxy.simulator.faults.after import CUTS, in_the_last_frame
from proxy.simulator.faults.fault import CANARY, key_of
from proxy.simulator.faults.told import BROKEN, Told
from tests.support.faults.harmless import HARMLESS
from tests.support.faults.places import PLACES, STREAMS, WAYS, FaultyHouse, Way, is_whole, logged
from tests.support.house import Answer, Spoken, body_of, read_answer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("openssl")]


class Choice(msgspec.Struct):
    """A chunk's choice."""

    finish_reason: str | None


class Chunk(msgspec.Struct):
    """A chunk of a chat stream; one with an error has no choices."""

    choices: list[Choice] = []


@pytest.mark.parametrize("name", CUTS)
async def test_a_failure_after_the_first_byte_ends_in_an_error_frame(running: FaultyHouse, name: str) -> None:
    """Nothing is tried again once output has begun, and nothing that looks like an end is ever sent."""
    cut = CUTS[name]
    places = {way: PLACES[f"{name}: {way}"] for way in STREAMS}
    for place in places.values():
        running.script(place, cut.step)
    answers = await running.ask(places, hurry_s=cut.hurry_s)
    found = await running.idle(places.values())
    for way, answer in answers.items():
        names = places[way].names
        assert answer.headers["x-carousel-attempts"] == "1"
        assert running.calls(*names) == 1
        if way.spoken in cut.unseen_by:
            assert (str(way), is_whole(answer, way)) == (str(way), True)
            continue
        error = answer.last_frame_error
        told = Told(answer.status, error.error.type, error.error.code)
        assert (str(way), told) == (str(way), in_the_last_frame(cut.told[way.spoken]))
        _check_no_end(answer, way)
        assert [found[name].word() for name in names] == [cut.state, "ready", "ready"]
        assert [found[name].failed for name in names] == [1, 0, 0]
        assert running.inside.strikes(names[0]) == int(cut.strike)
    _check_nothing_leaked(running, answers)


def _check_no_end(answer: Answer, way: Way) -> None:
    assert answer.broken_off
    assert answer.body.endswith(b"\n\n")
    frames = answer.body.removesuffix(b"\n\n").split(b"\n\n")
    assert len(frames) > 1
    if way.spoken is Spoken.MESSAGES:
        assert frames[-1].startswith(b"event: error\ndata: ")
        assert frames[0].startswith(b"event: message_start\n")
        assert not [frame for frame in frames if frame.startswith(b"event: message_stop")]
    else:
        data = [frame.removeprefix(b"data: ") for frame in frames if frame != b": ping"]
        chunks = [msgspec.json.decode(one, type=Chunk) for one in data]
        assert not [one for chunk in chunks for one in chunk.choices if one.finish_reason]
        assert b"[DONE]" not in answer.body


def _check_nothing_leaked(running: FaultyHouse, answers: dict[Way, Answer]) -> None:
    for way, answer in answers.items():
        headers = b"".join(f"{name}: {value}\n".encode() for name, value in answer.headers.items())
        assert (str(way), CANARY.encode() in answer.body + headers) == (str(way), False)
    assert CANARY.encode() not in logged(running.lines)
    assert len(running.lines) == len(answers)


@pytest.mark.parametrize("way", STREAMS, ids=str)
async def test_a_reset_after_the_first_byte_ends_in_an_error_frame(running: FaultyHouse, way: Way) -> None:
    """The same for a connection that is torn down once the client has begun to read.

    The simulated Claude cannot do this by itself: a reset sent right behind an event may overtake it.
    """
    place = PLACES[f"reset: {way}"]
    running.script(place, Step("stall_mid"))
    request = body_of(way.spoken, stream=True)
    async with running.house.opened(way.spoken, request, key=place.client_key) as response:
        first = await response.content.readany()
        for connection in running.simulator.connections:
            if not connection.idle:
                reset(connection._transport)
        rest = await read_answer(response)
        answer = replace(rest, body=first + rest.body)
    _check_no_end(answer, way)
    error, expected = answer.last_frame_error.error, BROKEN[way.spoken]
    assert (error.type, error.code) == (expected.type, expected.code)
    found = await running.idle([place])
    assert [found[name].failed for name in place.names] == [1, 0, 0]
    assert running.calls(*place.names) == 1
    assert running.inside.strikes(place.names[0]) == 1


@pytest.mark.parametrize("name", HARMLESS)
async def test_what_only_looks_odd_is_no_failure(running: FaultyHouse, name: str) -> None:
    """An answer that is slow, oddly framed or holds something new is whole, and is asked for once."""
    harmless = HARMLESS[name]
    places = {way: PLACES[f"{name}: {way}"] for way in WAYS if way.stream in harmless.forms}
    for place in places.values():
        running.script(place, harmless.step)
    answers = await running.ask(places)
    found = await running.idle(places.values())
    for way, answer in answers.items():
        names = places[way].names
        told = answer.headers["x-carousel-credential"], answer.headers["x-carousel-attempts"]
        assert (str(way), answer.status, told) == (str(way), 200, (names[0], "1"))
        assert (str(way), is_whole(answer, way)) == (str(way), True)
        assert harmless.says.encode() in answer.body
        assert [(found[name].succeeded, found[name].word()) for name in names] == [
            (1, "ready"),
            (0, "ready"),
            (0, "ready"),
        ]
    _check_nothing_leaked(running, answers)


async def test_a_kept_connection_that_was_closed_costs_nothing(running: FaultyHouse) -> None:
    """Protects credentials and the retry budget: another connection is all it takes."""
    places = {way: PLACES[f"stale: {way}"] for way in WAYS}
    await running.ask(places)
    for place in places.values():
        running.simulator.script(key_of(place.names[1]), [Step("reset_before_headers")])
    answers = await running.ask(places)
    await running.idle(places.values())
    for way, answer in answers.items():
        told = answer.headers["x-carousel-credential"], answer.headers["x-carousel-attempts"]
        assert (str(way), is_whole(answer, way), told) == (str(way), True, (places[way].names[1], "1"))
        assert [running.inside.strikes(name) for name in places[way].names] == [0, 0, 0]
    assert (
        repr(running.inside.services.dispatcher._budget) == "<RetryBudget [10000.0 of 10000 | Suppressed: 0]>"
    )


async def test_a_cookie_is_never_sent_back_with_another_key(running: FaultyHouse) -> None:
    """Protects one credential's session from being joined to another's."""
    places = {way: PLACES[f"cookies: {way}"] for way in WAYS}
    for place in places.values():
        running.script(place, Step(headers={"set-cookie": f"session={CANARY}; path=/"}))
    for _ in range(2):
        await running.ask(places)
    await running.idle(places.values())
    asked = running.simulator.record.requests
    assert len({one.key for one in asked}) == 2 * len(places)
    assert [one.header("cookie") for one in asked] == [None] * len(asked)


@pytest.mark.parametrize("way", STREAMS, ids=str)
async def test_a_client_that_leaves_is_no_fault_of_the_credential(running: FaultyHouse, way: Way) -> None:
    """Protects credentials from the impatience of clients, and the operator from paying on."""
    place = PLACES[f"left: {way}"]
    metrics = running.inside.services.metrics
    before = metrics.abandoned, metrics.cancelled_s, metrics.after_departure_s
    running.script(place, Step("stall_mid"))
    request = body_of(way.spoken, stream=True)
    async with running.house.opened(way.spoken, request, key=place.client_key) as response:
        await response.content.readany()
        response.close()
    found = await running.idle([place])
    assert running.simulator.record.of(key_of(place.names[0]))[0].ended_by == "client"
    assert [found[name].word() for name in place.names] == ["ready"] * 3
    assert running.inside.strikes(place.names[0]) == 0
    running.inside.services.traces.settle()
    assert metrics.abandoned == before[0] + 1
    assert metrics.cancelled_s > before[1]
    assert metrics.after_departure_s > before[2]
