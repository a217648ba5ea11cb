"""Every failure before the first byte: what the client is told, who else is asked, what becomes of the credential."""

from dataclasses import dataclass

import pytest

from proxy.simulator.faults.before import FAULTS
from proxy.simulator.faults.fault import CANARY, Address, Fault, key_of
from proxy.simulator.faults.told import Told
from tests.support.faults.places import PLACES, WAYS, FaultyHouse, Place, Way, is_whole, logged
from tests.support.house import Answer, CredentialView

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("openssl")]

_BLOCKED = "cooling(blocked)"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one request brought about.

    Attributes:
        told: by the client's answer.
        attempts: as the client is told.
        calls: as the upstream has them.
        states: of the credentials that were asked.
        strikes: held against each of them.
        untouched: whether all others are as before.
        should_retry: the header.
    """

    told: Told
    attempts: int
    calls: int
    states: tuple[str, ...]
    strikes: tuple[int, ...]
    untouched: bool
    should_retry: str | None


def _told(answer: Answer, *, in_frame: bool) -> Told:
    error = (answer.last_frame_error if in_frame else answer.error).error
    return Told(answer.status, error.type, error.code)


def _in_frame(fault: Fault, way: Way) -> bool:
    return fault.late and way.stream


def _seen(
    running: FaultyHouse, place: Place, answer: Answer, found: dict[str, CredentialView], *, in_frame: bool
) -> Seen:
    mine = [found[name] for name in place.names]
    asked = [one for one in mine if one.failed]
    return Seen(
        told=_told(answer, in_frame=in_frame),
        attempts=int(answer.headers["x-carousel-attempts"]),
        calls=running.calls(*place.names),
        states=tuple(one.word() for one in asked),
        strikes=tuple(running.inside.strikes(one.name) for one in asked),
        untouched=all(one.word() == "ready" for one in mine if not one.failed) or mine[0].word() == _BLOCKED,
        should_retry=answer.headers.get("x-should-retry"),
    )


def _expected(fault: Fault, way: Way) -> Seen:
    told = fault.told[way.spoken]
    in_frame = _in_frame(fault, way)
    return Seen(
        told=Told(200, told.type, told.code) if in_frame else told,
        attempts=fault.calls,
        calls=fault.calls if fault.simulated else 0,
        states=(fault.state,) * fault.calls,
        strikes=(int(fault.strike),) * fault.calls,
        untouched=True,
        should_retry=None if in_frame else fault.should_retry,
    )


def _places(name: str, end: str) -> dict[Way, Place]:
    return {way: PLACES[f"{name}: {way} {end}"] for way in WAYS if way.stream in FAULTS[name].forms}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_failure_before_the_first_byte_is_told_in_the_clients_own_words(
    running: FaultyHouse, name: str
) -> None:
    """Status, envelope, headers, upstream calls and the credential's state, for one failure of all credentials."""
    fault, places = FAULTS[name], _places(name, "lost")
    for place in places.values():
        running.script(place, fault.step)
    answers = await running.ask(places, hurry_s=fault.hurry_s, simulated=fault.simulated)
    found = await running.idle(places.values())
    for way, answer in answers.items():
        in_frame = _in_frame(fault, way)
        seen = _seen(running, places[way], answer, found, in_frame=in_frame)
        assert (str(way), seen) == (str(way), _expected(fault, way))
        _check_headers(fault, answer, in_frame=in_frame)
        error = answer.last_frame_error if in_frame else answer.error
        assert error.error.message
        assert error.error.message.startswith(fault.message)
        assert error.request_id == answer.headers["x-request-id"]
        assert answer.broken_off is in_frame
    _check_nothing_leaked(running, answers)


def _check_headers(fault: Fault, answer: Answer, *, in_frame: bool) -> None:
    told = answer.headers.get("retry-after")
    if fault.retry_after is None or in_frame:
        assert told is None
    else:
        longest_s, shortest_s = fault.retry_after
        assert told is not None
        assert shortest_s <= int(told) <= longest_s
    expected = "text/event-stream; charset=utf-8" if in_frame else "application/json"
    assert answer.headers["content-type"] == expected


def _check_nothing_leaked(running: FaultyHouse, answers: dict[Way, Answer]) -> None:
    """Nothing a client must not see is in body, headers or log, and each request has one line there."""
    for way, answer in answers.items():
        told = answer.body + b"".join(f"{name}: {value}\n".encode() for name, value in answer.headers.items())
        assert (str(way), CANARY.encode() in told) == (str(way), False)
        assert b"<html" not in told
    assert CANARY.encode() not in logged(running.lines)
    ids = sorted(line.id for line in running.lines)
    assert ids == sorted(answer.headers["x-request-id"] for answer in answers.values())
    assert not [one for one in running.simulator.record.requests if "canary" in one.path]


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.rescued])
async def test_a_failure_of_one_credential_is_made_good_by_another(running: FaultyHouse, name: str) -> None:
    """The client gets a whole answer, and is told whose it is and that it took two attempts."""
    fault, places = FAULTS[name], _places(name, "rescued")
    for place in places.values():
        running.script(place, fault.step)
    answers = await running.ask(places, hurry_s=fault.hurry_s, simulated=fault.simulated)
    found = await running.idle(places.values())
    for way, answer in answers.items():
        names = places[way].names
        told = answer.headers["x-carousel-credential"], answer.headers["x-carousel-attempts"]
        assert (str(way), answer.status, told) == (str(way), 200, (names[1], "2"))
        assert [found[name].word() for name in names] == [fault.state, "ready", "ready"]
        assert [running.inside.strikes(name) for name in names] == [int(fault.strike), 0, 0]
        assert [found[name].succeeded for name in names] == [0, 1, 0]
        assert is_whole(answer, way)
        assert running.calls(names[2]) == 0
    _check_nothing_leaked(running, answers)


@pytest.mark.parametrize(
    ("name", "fault", "sibling"),
    [
        ("siblings without credit", FAULTS["402"], "ready"),
        ("siblings at a limit", FAULTS["429, retry-after 40"], "cooling(rate_limit)"),
    ],
)
async def test_what_an_organization_shares_is_not_asked_of_it_twice(
    running: FaultyHouse, name: str, fault: Fault, sibling: str
) -> None:
    """Protects clients from waiting for a second refusal: credit and limits are the organization's."""
    places = {way: PLACES[f"{name}: {way}"] for way in WAYS}
    for place in places.values():
        running.script(place, fault.step)
        for alias in place.names:
            running.simulator.assign(key_of(alias), place.organization_of(alias))
    answers = await running.ask(places)
    found = await running.idle(places.values())
    for way, answer in answers.items():
        names = places[way].names
        told = answer.headers["x-carousel-credential"], answer.headers["x-carousel-attempts"]
        assert (str(way), is_whole(answer, way), told) == (str(way), True, (names[2], "2"))
        assert [found[name].word() for name in names] == [fault.state, sibling, "ready"]
        assert running.calls(names[1]) == 0


async def test_a_key_that_is_refused_again_after_its_rest_is_disabled(running: FaultyHouse) -> None:
    """Protects clients from a dead key that is tried for ever, and a key from one refusal too many."""
    places = {way: PLACES[f"twice: {way}"] for way in WAYS}
    for place in places.values():
        running.script(place, FAULTS["401"].step)
    await running.ask(places)
    found = await running.idle(places.values())
    first = [place.names[0] for place in places.values()]
    assert {found[name].word() for name in first} == {"cooling(auth)"}
    running.clock.advance(90.0)
    for _ in range(6):
        answers = await running.ask(places)
        assert all(is_whole(answer, way) for way, answer in answers.items())
    found = await running.idle(places.values())
    assert {found[name].word() for name in first} == {"disabled(auth)"}
    assert running.calls(*first) == 2 * len(first)


async def test_every_kind_of_address_is_tried() -> None:
    """Protects the table from a failure of the way to an upstream that nobody looks at."""
    assert {fault.address for fault in FAULTS.values()} == set(Address)
