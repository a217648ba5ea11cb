"""What all processes let in counts for a process that has to decide by itself."""

from dataclasses import replace

import pytest

from proxy.access.budgets import Budgets
from proxy.access.limits import Ask, Limiter
from proxy.access.refusals import LimitReached
from proxy.access.rules import Rules
from proxy.access.shared_limits import SharedLimiter
from proxy.model.pricing import Pricing
from proxy.store.base import NotShared
from proxy.store.shared import BucketCount, Counted, Refusal, Taken, WindowCount
from tests.support.access import MemoryAccess
from tests.support.clock import FakeClock
from tests.unit.access.test_rules import NO_LIMITS
from tests.unit.dispatch.building import CATALOG

_RULES = Rules(requests_per_minute=6)


class _Counters:
    """Counters that let everybody in, or cannot be asked."""

    share = 2

    def __init__(self) -> None:
        self.away = False

    async def take(self, counted: Counted) -> Taken:
        """See `SharedCounters.take`."""
        if self.away:
            raise NotShared("away")
        windows = tuple(WindowCount(1, 0.0) for _ in counted.requests)
        return Taken(Refusal.NONE, 0, windows, tuple(BucketCount(0, 0) for _ in counted.tokens), 0, 0.0, 0)

    def settle(self, counted: Counted, bucket: int, more_tokens: int) -> None:
        """See `SharedCounters.settle`."""

    def spent(self, client: str, period: str, micro_usd: int) -> None:
        """See `SharedCounters.spent`."""


async def test_of_several_limits_the_one_with_the_least_left_is_told() -> None:
    """Protects a client from pacing itself by its own wide limit under the server's narrow one."""
    clock, pricing = FakeClock(), Pricing(CATALOG)
    budgets = Budgets(MemoryAccess(), clock)
    alone = Limiter(clock, budgets, pricing, NO_LIMITS)
    server = replace(NO_LIMITS, requests_per_minute=100, tokens_per_minute=50)
    subject = SharedLimiter(_Counters(), alone, budgets=budgets, pricing=pricing, limits=server)
    rules = Rules(requests_per_minute=6, tokens_per_minute=9000)
    grant = await subject.admit("a", rules, Ask("claude-sonnet-5-5", 10))
    assert {name: value for name, value in grant.headers.items() if "reset" not in name} == {
        "x-ratelimit-limit-requests": "6",
        "x-ratelimit-remaining-requests": "5",
        "x-ratelimit-limit-tokens": "50",
        "x-ratelimit-remaining-tokens": "50",
    }


async def test_a_share_is_what_is_left_after_what_was_let_in_together() -> None:
    """Protects a limit from being granted once more in the minute in which Redis fails."""
    clock, counters, pricing = FakeClock(), _Counters(), Pricing(CATALOG)
    budgets = Budgets(MemoryAccess(), clock)
    alone = Limiter(clock, budgets, pricing, NO_LIMITS)
    subject = SharedLimiter(counters, alone, budgets=budgets, pricing=pricing, limits=NO_LIMITS)
    ask = Ask("claude-sonnet-5-5")
    for _ in range(2):
        await subject.admit("a", _RULES, ask)
    counters.away = True
    await subject.admit("a", _RULES, ask)
    with pytest.raises(LimitReached):
        await subject.admit("a", _RULES, ask)
    clock.advance(60)
    for _ in range(3):
        await subject.admit("a", _RULES, ask)
