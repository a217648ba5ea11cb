"""Who may ask with a session of their own: whom a stop holds for, how long, and what is remembered of it."""

import asyncio

import pytest

from proxy.access.guessing import ADDRESSES_MAX
from proxy.access.visitors import Told, Visit, Visitors, presented_session
from proxy.errors import GatewayError
from proxy.secrets import Secret
from proxy.settings import Policy
from tests.support.clock import FakeClock

_ONE, _TWO = Secret("sk-ant-sid01-canary-one"), Secret("sk-ant-sid01-canary-two")
_HERE, _THERE = "192.0.2.1", "192.0.2.2"


def _visitors(clock: FakeClock, **numbers: float) -> Visitors:
    return Visitors(Policy(queue_wait_s=numbers.get("queue_wait_s", 0.01)), clock)


async def _refused(subject: Visitors, address: str, cookie: Secret) -> tuple[int, float]:
    """The status and the seconds a caller is turned away with; 0 for one that is let in, and leaves again."""
    try:
        visit = await subject.let_in(address, cookie)
    except GatewayError as error:
        return error.status, round(error.retry_after_s or 0)
    subject.leave(visit)
    return 0, 0


@pytest.mark.parametrize(
    ("told", "for_s", "status", "address_s", "session_s"),
    [
        (Told.LIMIT, 7000.0, 429, 7000, 7000),
        (Told.UNPAID, 700.0, 503, 700, 700),
        (Told.DEAD, None, 401, 3600, 86_400),
    ],
)
async def test_a_stop_holds_for_the_address_and_for_the_session_each_for_its_time(
    told: Told, for_s: float | None, status: int, address_s: int, session_s: int
) -> None:
    """Protects accounts from a caller that changes its session, and from a session that changes its address."""
    clock = FakeClock()
    subject = _visitors(clock)
    visit = await subject.let_in(_HERE, _ONE)
    shown = subject.heard_stop(visit, told, for_s)
    subject.leave(visit)
    assert (shown.status, shown.retry_after_s) == (status, address_s)
    assert await _refused(subject, _HERE, _TWO) == (status, address_s)
    assert await _refused(subject, _THERE, _ONE) == (status, session_s)
    assert await _refused(subject, _THERE, _TWO) == (0, 0)
    clock.advance(address_s)
    assert await _refused(subject, _HERE, Secret("sk-ant-sid01-third")) == (0, 0)
    clock.advance(session_s - address_s)
    assert await _refused(subject, "192.0.2.3", _ONE) == (0, 0)


async def test_a_shorter_stop_does_not_end_a_longer_one() -> None:
    """Protects a limit of a week from one of a minute that is told after it."""
    subject = _visitors(FakeClock())
    visit = await subject.let_in(_HERE, _ONE)
    subject.heard_stop(visit, Told.LIMIT, 7000.0)
    subject.heard_stop(visit, Told.LIMIT, 5.0)
    subject.leave(visit)
    assert await _refused(subject, _HERE, _ONE) == (429, 7000)


async def test_a_challenge_rests_the_way_out_for_all_and_longer_each_time() -> None:
    """Protects the address of the server, up to a quarter of an hour at a time."""
    clock = FakeClock()
    subject = _visitors(clock)
    for rest_s in (60, 120, 240, 480, 900, 900):
        visit = await subject.let_in(_HERE, _ONE)
        assert subject.heard_stop(visit, Told.CHALLENGE, None).status == 503
        subject.leave(visit)
        assert await _refused(subject, _THERE, _TWO) == (503, rest_s)
        clock.advance(rest_s)
    visit = await subject.let_in(_HERE, _ONE)
    subject.answered(visit)
    subject.heard_stop(visit, Told.CHALLENGE, None)
    subject.leave(visit)
    assert await _refused(subject, _THERE, _TWO) == (503, 60)


async def test_after_a_challenge_one_request_finds_out_whether_it_is_over() -> None:
    """Protects the way out from a crowd that has waited for the end of its rest."""
    clock = FakeClock()
    subject = _visitors(clock)
    visit = await subject.let_in(_HERE, _ONE)
    subject.heard_stop(visit, Told.CHALLENGE, None)
    subject.leave(visit)
    clock.advance(60)
    first = await subject.let_in(_HERE, _ONE)
    assert (await _refused(subject, _THERE, _TWO))[0] == 503
    subject.answered(first)
    assert await _refused(subject, _THERE, _TWO) == (0, 0)
    subject.leave(first)


async def test_one_caller_uses_one_session_until_it_was_left_alone_for_ten_minutes() -> None:
    """Protects accounts from taking turns at one address."""
    clock = FakeClock()
    subject = _visitors(clock)
    visit = await subject.let_in(_HERE, _ONE)
    clock.advance(10_000)
    assert await _refused(subject, _HERE, _TWO) == (429, 600)
    subject.leave(visit)
    clock.advance(599)
    assert await _refused(subject, _HERE, _TWO) == (429, 1)
    assert await _refused(subject, _HERE, _ONE) == (0, 0)
    clock.advance(600)
    assert await _refused(subject, _HERE, _TWO) == (0, 0)
    assert await _refused(subject, _HERE, _ONE) == (429, 600)


async def test_a_network_of_ipv6_is_one_caller() -> None:
    """Protects accounts from callers with a host's worth of addresses."""
    subject = _visitors(FakeClock())
    assert await _refused(subject, "2001:db8::1", _ONE) == (0, 0)
    assert await _refused(subject, "2001:db8::2", _TWO) == (429, 600)
    assert await _refused(subject, "2001:db8:0:1::1", _TWO) == (0, 0)


async def test_a_session_has_one_place_and_a_short_queue() -> None:
    """Protects an account from two questions at a time, and the server from callers that wait without end."""
    subject = _visitors(FakeClock(), queue_wait_s=30)
    first = await subject.let_in(_HERE, _ONE)
    waiting = [asyncio.ensure_future(_entered(subject, number)) for number in range(7)]  # noqa: TID251 - awaited
    await asyncio.sleep(0)
    assert (await _refused(subject, _THERE, _ONE))[0] == 429
    assert not any(one.done() for one in waiting)
    subject.leave(first)
    for one in waiting:
        subject.leave(await one)
    assert await _refused(subject, _THERE, _ONE) == (0, 0)
    assert repr(subject).endswith("0 stops, 0 turns>")


async def _entered(subject: Visitors, number: int) -> Visit:
    return await subject.let_in(f"192.0.2.{10 + number}", _ONE)


async def test_who_waits_too_long_and_who_leaves_the_queue_keep_no_place() -> None:
    """Protects a session from being busy for ever with requests that are gone."""
    subject = _visitors(FakeClock())
    first = await subject.let_in(_HERE, _ONE)
    assert await _refused(subject, _THERE, _ONE) == (429, 1)
    subject.leave(first)
    assert await _refused(subject, _HERE, _ONE) == (0, 0)
    assert "0 turns" in repr(subject)


async def test_what_the_one_before_was_told_holds_for_who_waited() -> None:
    """Protects an account from the requests that were in line when it was told to stop."""
    subject = _visitors(FakeClock(), queue_wait_s=30)
    first = await subject.let_in(_HERE, _ONE)
    waiting = asyncio.ensure_future(_refused(subject, _THERE, _ONE))  # noqa: TID251 - awaited below
    await asyncio.sleep(0)
    subject.heard_stop(first, Told.LIMIT, 100.0)
    subject.leave(first)
    assert await waiting == (429, 100)
    assert "0 turns" in repr(subject)


async def test_no_more_is_remembered_than_there_is_room_for_and_no_cookie_at_all() -> None:
    """Protects memory from callers with many addresses, and cookies from whoever reads it."""
    subject = _visitors(FakeClock())
    for number in range(ADDRESSES_MAX + 5):
        visit = await subject.let_in(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", _ONE)
        subject.leave(visit)
    assert f"{ADDRESSES_MAX} callers" in repr(subject)
    assert _ONE.reveal() not in str(vars(subject))
    assert _ONE.digest().hex()[:16] not in str(vars(subject))


@pytest.mark.parametrize(
    ("text", "organization"),
    [("sk-ant-sid01-abc_DEF-1", None), ("sk-ant-sid02-x:0b1c-2d", "0b1c-2d")],
)
def test_a_cookie_is_read_with_its_organization(text: str, organization: str | None) -> None:
    """Protects the two forms that there are."""
    found = presented_session(text)
    assert found is not None
    assert found.cookie.reveal() == text.partition(":")[0]
    assert found.organization == organization


@pytest.mark.parametrize(
    "text",
    [
        *("", "sk-ant-sid", "sk-ant-api03-x", "sk-carousel-x", " sk-ant-sid01-x", "sk-ant-sid01-x:"),
        *("sk-ant-sid01-x:a:b", "sk-ant-sid01-x,sk-ant-sid01-y", "sk-ant-sid01-x\n", "sk-ant-sid01-ä"),
        *("sk-ant-sid01-x:a/b", "sk-ant-sid01-" + "x" * 600),
    ],
)
def test_what_is_no_cookie_is_none(text: str) -> None:
    """Protects the site from being asked with anything, and one request from bringing several sessions."""
    assert presented_session(text) is None
