"""What all processes let in counts for a process that has to decide by itself, and nothing is reserved for nobody."""

import asyncio
from dataclasses import replace

import pytest

from proxy.access.budgets import Budgets
from proxy.access.limits import Ask, Limiter
from proxy.access.refusals import LimitReached
from proxy.access.rules import Rules
from proxy.access.shared_limits import Reservation, SharedLimiter
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.settings import LimitSettings
from proxy.store.shared import Refusal
from proxy.tasks import spawn
from tests.support.access import MemoryAccess
from tests.support.clock import FakeClock
from tests.support.counters import ToldCounters, granted
from tests.unit.access.test_rules import NO_LIMITS
from tests.unit.dispatch.building import CATALOG

_RULES = Rules(requests_per_minute=6)
_ASK = Ask("claude-sonnet-5-5", 10, 90)


def _limiter(
    counters: ToldCounters, clock: FakeClock, server: LimitSettings = NO_LIMITS
) -> tuple[SharedLimiter, Limiter]:
    """The subject, and who decides where nobody else can be asked."""
    pricing, budgets = Pricing(CATALOG), Budgets(MemoryAccess(), clock)
    alone = Limiter(clock, budgets, pricing, NO_LIMITS)
    return SharedLimiter(counters, alone, budgets=budgets, pricing=pricing, limits=server), alone


def _reserved(subject: SharedLimiter) -> Reservation:
    leave = subject.admit("a", Rules(tokens_per_minute=1000, concurrency=5), _ASK)
    assert isinstance(leave, Reservation)
    return leave


async def test_of_several_limits_the_one_with_the_least_left_is_told() -> None:
    """Protects a client from pacing itself by its own wide limit under the server's narrow one."""
    server = replace(NO_LIMITS, requests_per_minute=100, tokens_per_minute=50)
    subject, _ = _limiter(ToldCounters(), FakeClock(), server)
    rules = Rules(requests_per_minute=6, tokens_per_minute=9000)
    grant = await granted(subject.admit("a", rules, Ask("claude-sonnet-5-5", 10)))
    told = grant.headers
    assert {name: value for name, value in told.items() if "reset" not in name} == {
        "x-ratelimit-limit-requests": "6",
        "x-ratelimit-remaining-requests": "5",
        "x-ratelimit-limit-tokens": "50",
        "x-ratelimit-remaining-tokens": "50",
    }
    await asyncio.sleep(0)
    assert grant.headers == told


async def test_a_share_is_what_is_left_after_what_was_let_in_together() -> None:
    """Protects a limit from being granted once more in the minute in which Redis fails."""
    clock, counters = FakeClock(), ToldCounters()
    subject, _ = _limiter(counters, clock)
    for _ in range(2):
        await granted(subject.admit("a", _RULES, _ASK))
    await asyncio.sleep(0)
    counters.away = True
    await granted(subject.admit("a", _RULES, _ASK))
    with pytest.raises(LimitReached):
        await granted(subject.admit("a", _RULES, _ASK))
    clock.advance(60)
    for _ in range(3):
        await granted(subject.admit("a", _RULES, _ASK))


async def test_an_answer_that_never_comes_leaves_the_request_to_this_process() -> None:
    """Protects a request that had been asked for in the moment in which Redis failed."""
    counters = ToldCounters(waits=True)
    subject, alone = _limiter(counters, FakeClock())
    leave = _reserved(subject)
    counters.fail()
    grant = await leave.confirmed()
    assert alone.running("a") == 1
    leave.abandon()
    grant.settle("claude-sonnet-5-5", Usage(), partial=False)
    assert (alone.running("a"), counters.settled) == (0, [])


@pytest.mark.parametrize(("refusal", "given_back"), [(Refusal.NONE, [-100]), (Refusal.CONCURRENCY, [])])
async def test_what_was_reserved_and_is_not_wanted_is_given_back_once(
    refusal: Refusal, given_back: list[int]
) -> None:
    """Protects a limit from what nobody holds, and from being widened by what nobody reserved."""
    counters = ToldCounters(waits=True)
    subject, _ = _limiter(counters, FakeClock())
    leave = _reserved(subject)
    counters.answer(refusal)
    leave.abandon()
    leave.abandon()
    assert [more for _, more in counters.settled] == given_back


async def test_what_was_not_answered_yet_is_cancelled() -> None:
    """Protects the counters from telling a reservation to who has left: they give it back themselves."""
    counters = ToldCounters(waits=True)
    subject, _ = _limiter(counters, FakeClock())
    leave = _reserved(subject)
    leave.abandon()
    assert (counters.asked[0][1].cancelled(), counters.settled) == (True, [])


@pytest.mark.parametrize("answered", [False, True])
async def test_a_client_that_leaves_while_it_waits_holds_nothing(*, answered: bool) -> None:
    """Protects a limit from the answer that comes in the very moment in which the client leaves."""
    counters = ToldCounters(waits=True)
    subject, _ = _limiter(counters, FakeClock())
    leave = _reserved(subject)
    waiting = spawn(leave.confirmed(), name="confirmed")
    await asyncio.sleep(0)
    if answered:
        counters.answer()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert counters.asked[0][1].cancelled() is not answered
    assert [more for _, more in counters.settled] == ([-100] if answered else [])


async def test_what_was_confirmed_is_settled_and_not_given_back_too() -> None:
    """Protects a limit from counting a request's end twice."""
    counters = ToldCounters()
    subject, _ = _limiter(counters, FakeClock())
    leave = _reserved(subject)
    grant = await leave.confirmed()
    leave.abandon()
    assert counters.settled == []
    grant.settle("claude-sonnet-5-5", Usage(input_tokens=10, output_tokens=50), partial=False)
    assert [more for _, more in counters.settled] == [-40]
    with pytest.raises(RuntimeError):
        await leave.confirmed()
