"""Every failure of an upstream: what the client is told, who else is asked, what becomes of the credential."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Insert, Step
from proxy.simulator.call import reset
from tests.support.faults import BROKEN, FAULTS, LIMITED, OVERLOADED, TIMED_OUT, Fault, Told
from tests.support.house import (
    Answer,
    CredentialView,
    ErrorEnvelope,
    House,
    Spoken,
    body_of,
    house,
    read_answer,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAST = {
    "POOL_BACKOFF_BASE_S": "0",
    "POOL_BUDGET_MAX": "10000",
    "POOL_BUDGET_PER_SECOND": "1000",
    "RELAY_IDLE_TIMEOUT_S": "2",
    "RELAY_EVENT_MAX_BYTES": "16384",
}
SECOND_START = 'event: message_start\ndata: {"type": "message_start", "message": {"usage": {}}}\n\n'


BLOCKED = "cooling(blocked)"
ENDS = {
    Spoken.MESSAGES: b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    Spoken.CHAT: b"data: [DONE]\n\n",
}


class Choice(msgspec.Struct):
    """A chunk's choice."""

    finish_reason: str | None


class Chunk(msgspec.Struct):
    """A chunk of a chat stream; one with an error has no choices."""

    choices: list[Choice] = []


@dataclass(frozen=True, slots=True)
class Place:
    """A pool of its own for one request: three credentials that only one client key may use."""

    client_key: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """In which dialect and form a request is made."""

    spoken: Spoken
    stream: bool

    def __str__(self) -> str:
        return f"{self.spoken.name.lower()} {'stream' if self.stream else 'unary'}"


WAYS = [Way(spoken, stream) for spoken in Spoken for stream in (False, True)]
STREAMS = [Way(spoken, stream=True) for spoken in Spoken]


@dataclass(frozen=True, slots=True)
class Cut:
    """A failure after the first byte: what the upstream does, what each client is told, the credential's state."""

    step: Step
    told: dict[Spoken, Told]
    state: str = "ready"


CUTS = {
    "end of the body": Cut(Step("end_without_stop"), BROKEN),
    "end of the connection": Cut(Step("end_without_stop", close_delimited=True), BROKEN),
    "close within an event": Cut(Step("cut_at_byte", at_byte=1000, how="close"), BROKEN),
    "silence": Cut(Step("stall_mid"), TIMED_OUT),
    "a second start": Cut(Step(insert=(Insert(3, SECOND_START),)), BROKEN),
    "too large an event": Cut(Step(insert=(Insert(3, f"data: {'x' * 20_000}\n\n"),)), BROKEN),
    "overloaded": Cut(Step("error_event_mid"), OVERLOADED),
    "limited": Cut(Step("error_event_mid", type="rate_limit_error"), LIMITED, "cooling(rate_limit)"),
}
SLOW = {
    "delay": Step("delay", seconds=0.2),
    "slow bytes": Step("slow_bytes", bytes_per_s=20_000),
    "one byte at a time": Step("one_byte_chunks"),
    "no chunks": Step(close_delimited=True),
}


def _places() -> Iterator[tuple[str, Place]]:
    named = [f"{name}: {way} {end}" for name in FAULTS for way in WAYS for end in ("lost", "rescued")]
    named += [f"cut by {name}: {way}" for name in CUTS for way in STREAMS]
    named += [f"{name}: {way}" for name in [*SLOW, "reset"] for way in WAYS]
    for number, name in enumerate(named, 1):
        yield name, Place(f"client-{number:04d}-0123456789abcdef", tuple(f"p{number}-{of}" for of in "abc"))


PLACES = dict(_places())


def _entries(url: str, dead_url: str) -> Iterator[dict[str, object]]:
    """The credentials of all places; in a place for rescues only the first has an address that fails."""
    for number, (name, place) in enumerate(PLACES.items(), 1):
        fault = FAULTS.get(name.partition(":")[0])
        for alias in place.names:
            entry: dict[str, object] = {"name": alias, "key": f"key-{alias}", "clients": [f"env-{number}"]}
            if fault is not None and not (name.endswith("rescued") and alias != place.names[0]):
                if fault.unreachable:
                    entry["base_url"] = dead_url
                elif fault.own_way_out:
                    entry["base_url"] = f"{url}/{number}"
            yield entry


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def faulty_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One process with a small pool for every case, so that no case sees what another one broke."""
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead_url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        settings = {**FAST, "API_KEY": ",".join(place.client_key for place in PLACES.values())}
        folder = tmp_path_factory.mktemp("faults")
        async with house(folder, settings, credentials=lambda url: _entries(url, dead_url)) as running:
            yield running


@pytest.fixture
def running(faulty_house: House) -> House:
    """The same without a memory of what was asked."""
    faulty_house.simulator.reset()
    return faulty_house


@dataclass(frozen=True, slots=True)
class Seen:
    """What one request brought about.

    Attributes:
        told: by the client's answer.
        calls: upstream calls, as the client is told.
        states: of the credentials that were asked.
        untouched: whether all others are as before.
        should_retry: the header.
    """

    told: Told
    calls: int
    states: tuple[str, ...]
    untouched: bool
    should_retry: str | None


def _told(answer: Answer, error: ErrorEnvelope) -> Told:
    return Told(answer.status, error.error.type, error.error.code)


def _seen(place: Place, answer: Answer, credentials: dict[str, CredentialView], calls: int) -> Seen:
    mine = [credentials[name] for name in place.names]
    return Seen(
        told=_told(answer, answer.error),
        calls=calls,
        states=tuple(one.word() for one in mine if one.failed),
        untouched=all(one.word() == "ready" for one in mine if not one.failed) or mine[0].word() == BLOCKED,
        should_retry=answer.headers.get("x-should-retry"),
    )


def _expected(fault: Fault, way: Way) -> Seen:
    asked = fault.calls
    return Seen(
        fault.told[way.spoken],
        fault.calls,
        (fault.state,) * asked,
        untouched=True,
        should_retry=fault.should_retry,
    )


@pytest.mark.parametrize("name", FAULTS)
async def test_a_failure_before_the_first_byte_is_told_in_the_clients_own_words(
    running: House, name: str
) -> None:
    """Status, envelope, headers, upstream calls and the credential's state, for one failure of all credentials."""
    fault = FAULTS[name]
    ways = [way for way in WAYS if way.stream in fault.forms]
    places = {way: PLACES[f"{name}: {way} lost"] for way in ways}
    for place in places.values():
        for alias in place.names:
            running.simulator.script(f"key-{alias}", then=fault.step)
    answers = dict(
        zip(ways, await asyncio.gather(*[_ask(running, way, places[way]) for way in ways]), strict=True)
    )
    found = await running.idle()
    for way, answer in answers.items():
        attempts = int(answer.headers["x-carousel-attempts"])
        assert (str(way), _seen(places[way], answer, found, attempts)) == (str(way), _expected(fault, way))
        calls = running.calls(*[f"key-{alias}" for alias in places[way].names])
        assert calls == (0 if fault.unreachable else fault.calls)
        _check_retry_after(fault, answer)
        error = answer.error
        assert error.error.message.startswith(fault.message)
        assert error.error.message
        assert error.request_id == answer.headers["x-request-id"]
        assert answer.headers["content-type"] == "application/json"
        assert b"key-" not in answer.body
    assert not [one for one in running.simulator.record.requests if "canary" in one.path]


async def _ask(running: House, way: Way, place: Place) -> Answer:
    return await running.ask(way.spoken, stream=way.stream, key=place.client_key)


def _check_retry_after(fault: Fault, answer: Answer) -> None:
    told = answer.headers.get("retry-after")
    if fault.retry_after is None:
        assert told is None
    else:
        longest_s, shortest_s = fault.retry_after
        assert told is not None
        assert shortest_s <= int(told) <= longest_s


@pytest.mark.parametrize(
    "name", [name for name, fault in FAULTS.items() if fault.calls > 1 or fault.own_way_out]
)
async def test_a_failure_of_one_credential_is_made_good_by_another(running: House, name: str) -> None:
    """The client gets a whole answer, and is told whose it is and that it took two attempts."""
    fault = FAULTS[name]
    ways = [way for way in WAYS if way.stream in fault.forms]
    places = {way: PLACES[f"{name}: {way} rescued"] for way in ways}
    for place in places.values():
        running.simulator.script(f"key-{place.names[0]}", then=fault.step)
    answers = dict(
        zip(ways, await asyncio.gather(*[_ask(running, way, places[way]) for way in ways]), strict=True)
    )
    found = await running.idle()
    for way, answer in answers.items():
        _, second, third = places[way].names
        told = answer.headers["x-carousel-credential"], answer.headers["x-carousel-attempts"]
        assert (str(way), answer.status, told) == (str(way), 200, (second, "2"))
        assert [found[name].word() for name in places[way].names] == [fault.state, "ready", "ready"]
        assert [found[name].succeeded for name in places[way].names] == [0, 1, 0]
        assert answer.body.endswith(ENDS[way.spoken]) if way.stream else b"You said" in answer.body
        assert running.calls(f"key-{third}") == 0


@pytest.mark.parametrize("name", CUTS)
async def test_a_failure_after_the_first_byte_ends_in_an_error_frame(running: House, name: str) -> None:
    """Nothing is tried again once output has begun, and nothing that looks like an end is ever sent."""
    cut = CUTS[name]
    places = {way: PLACES[f"cut by {name}: {way}"] for way in STREAMS}
    for place in places.values():
        for alias in place.names:
            running.simulator.script(f"key-{alias}", then=cut.step)
    answers = await asyncio.gather(*[_ask(running, way, places[way]) for way in STREAMS])
    found = await running.idle()
    for way, answer in zip(STREAMS, answers, strict=True):
        aliases = places[way].names
        error = answer.last_frame_error
        expected = cut.told[way.spoken]
        assert (str(way), _told(answer, error)) == (str(way), Told(200, expected.type, expected.code))
        assert answer.headers["x-carousel-attempts"] == "1"
        assert running.calls(*[f"key-{alias}" for alias in aliases]) == 1
        _check_no_end(answer, way.spoken)
        assert [found[alias].word() for alias in aliases] == [cut.state, "ready", "ready"]
        assert [found[alias].failed for alias in aliases] == [1, 0, 0]


@pytest.mark.parametrize("way", STREAMS, ids=str)
async def test_a_reset_after_the_first_byte_ends_in_an_error_frame(running: House, way: Way) -> None:
    """The same for a connection that is torn down once the client has begun to read.

    The simulated Claude cannot do this by itself: a reset sent right behind an event may overtake it.
    """
    place = PLACES[f"reset: {way}"]
    running.simulator.script(f"key-{place.names[0]}", then=Step("stall_mid"))
    request = body_of(way.spoken, stream=True)
    async with running.opened(way.spoken, request, key=place.client_key) as response:
        first = await response.content.readany()
        for connection in running.simulator.connections:
            if not connection.idle:
                reset(connection._transport)
        rest = await read_answer(response)
        answer = replace(rest, body=first + rest.body)
    _check_no_end(answer, way.spoken)
    error, expected = answer.last_frame_error.error, BROKEN[way.spoken]
    assert (error.type, error.code) == (expected.type, expected.code)
    found = await running.idle()
    assert [found[alias].failed for alias in place.names] == [1, 0, 0]
    assert running.calls() == 1


def _check_no_end(answer: Answer, spoken: Spoken) -> None:
    assert answer.broken_off
    assert answer.body.endswith(b"\n\n")
    frames = answer.body.removesuffix(b"\n\n").split(b"\n\n")
    assert len(frames) > 1
    if spoken is Spoken.MESSAGES:
        assert frames[-1].startswith(b"event: error\ndata: ")
        assert frames[0].startswith(b"event: message_start\n")
        assert not [frame for frame in frames if frame.startswith(b"event: message_stop")]
    else:
        chunks = [msgspec.json.decode(frame.removeprefix(b"data: "), type=Chunk) for frame in frames]
        assert not [one for chunk in chunks for one in chunk.choices if one.finish_reason]
        assert b"[DONE]" not in answer.body


@pytest.mark.parametrize("name", SLOW)
async def test_slowness_and_odd_framing_are_no_failure(running: House, name: str) -> None:
    """An answer that takes its time, or comes in the smallest pieces, is whole and is asked for once."""
    places = {way: PLACES[f"{name}: {way}"] for way in WAYS}
    for place in places.values():
        running.simulator.script(f"key-{place.names[0]}", then=SLOW[name])
    answers = await asyncio.gather(*[_ask(running, way, places[way]) for way in WAYS])
    found = await running.idle()
    for way, answer in zip(WAYS, answers, strict=True):
        assert (str(way), answer.status, answer.headers["x-carousel-attempts"]) == (str(way), 200, "1")
        assert [found[alias].succeeded for alias in places[way].names] == [1, 0, 0]
        if way.stream:
            assert answer.body.endswith(ENDS[way.spoken])
