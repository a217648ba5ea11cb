"""Counting over all processes comes to the same as counting in one."""

import dataclasses
import random

import msgspec
import pytest

from proxy.access.budgets import Budgets
from proxy.access.limits import Ask, Grant, Limiter
from proxy.access.rules import Rules
from proxy.access.shared_limits import SharedLimiter
from proxy.errors import GatewayError
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.store.redis.limits import RedisCounters
from proxy.store.redis.link import RedisLink
from proxy.store.shared import Counted, Refusal
from proxy.tasks import finish_all
from tests.support.access import MemoryAccess
from tests.support.clock import FakeClock
from tests.unit.access.test_rules import NO_LIMITS
from tests.unit.dispatch.building import CATALOG

COUNTED = Counted(
    nonce="n",
    client="a",
    requests=(),
    tokens=(),
    asked_tokens=100,
    concurrency=None,
    budget_micro_usd=None,
    period="total:0",
    reserved_micro_usd=0,
)


def _counters(link: RedisLink, origin: str = "one") -> RedisCounters:
    return RedisCounters(link, FakeClock(), origin=origin)


async def _tell(counters: RedisCounters) -> None:
    """Have Redis told of what has ended."""
    counters.tell()
    await finish_all(within_s=5)


def _counted(number: int, **changes: object) -> Counted:
    return msgspec.structs.replace(COUNTED, nonce=f"n{number}", **changes)


async def test_budgets_are_one_sum_over_all_databases_however_often_it_is_told(link: RedisLink) -> None:
    """Protects a budget from being spent once by each process, and from being counted twice."""
    one, two = _counters(link, "one"), _counters(link, "two")
    for counters, spent in ((one, 300), (two, 500), (one, 300), (one, 200)):
        counters.spent("a", "total:0", spent)
        await _tell(counters)
    taken = await two.take(_counted(1, budget_micro_usd=1000, reserved_micro_usd=150))
    assert (taken.refusal, taken.left_micro_usd) == (Refusal.NONE, 200)
    assert (await one.take(_counted(2, budget_micro_usd=1000, reserved_micro_usd=50))).left_micro_usd == 50
    assert (await one.take(_counted(3, budget_micro_usd=1000))).refusal is Refusal.RESERVED
    one.spent("a", "total:0", 700)
    await _tell(one)
    assert (await two.take(_counted(4, budget_micro_usd=1000))).refusal is Refusal.BUDGET
    await link.call("FLUSHALL")
    await one.sync()
    await two.sync()
    assert (await two.take(_counted(5, budget_micro_usd=1300))).left_micro_usd == 100


async def test_places_are_given_back_and_end_with_a_process_that_died(link: RedisLink) -> None:
    """Protects a client from being locked out by a server that is no more."""
    one = _counters(link)
    first, second = _counted(1, concurrency=1), _counted(2, concurrency=1)
    taken = await one.take(first)
    assert (await one.take(second)).refusal is Refusal.CONCURRENCY
    one.settle(first, taken.bucket, 0)
    await _tell(one)
    assert (await one.take(second)).refusal is Refusal.NONE
    # a minute has passed in which nobody renewed it, and sums are taken anew each minute
    await link.call("ZADD", "carousel:1:held:a", 1, "n2:0")
    await link.call("DEL", "carousel:1:counts:a")
    assert (await one.take(_counted(3, concurrency=1))).refusal is Refusal.NONE


@pytest.mark.parametrize("seed", range(6))
async def test_shared_counters_let_in_whom_those_of_one_process_would(seed: int, link: RedisLink) -> None:
    """Protects clients from other limits with a Redis than without; a model of the real counters beside them."""
    rng, clock = random.Random(seed), FakeClock()
    server = dataclasses.replace(NO_LIMITS, requests_per_minute=rng.choice([None, 9]))
    rules = Rules(
        requests_per_minute=rng.choice([None, 6]),
        tokens_per_minute=rng.choice([None, 700]),
        concurrency=rng.choice([None, 3]),
        budget_micro_usd=rng.choice([None, 4000]),
    )
    pricing = Pricing(CATALOG)
    budgets = [Budgets(MemoryAccess(), clock) for _ in range(2)]
    alone = Limiter(clock, budgets[0], pricing, server)
    counters = _counters(link)
    shared = SharedLimiter(
        counters,
        Limiter(clock, budgets[1], pricing, server),
        budgets=budgets[1],
        pricing=pricing,
        limits=server,
    )
    under_way: list[tuple[Grant, Grant]] = []
    for _ in range(25):
        if under_way and rng.random() < 0.4:
            grants, usage = (
                under_way.pop(rng.randrange(len(under_way))),
                Usage(input_tokens=rng.randrange(200)),
            )
            for grant in grants:
                grant.settle("claude-sonnet-5-5", usage, partial=False)
            await _tell(counters)
            continue
        ask = Ask("claude-sonnet-5-5", rng.choice([50, 150, 800]), 0)
        expected, found = [await _asked(each, rules, ask) for each in (alone, shared)]
        if isinstance(expected, Grant) and isinstance(found, Grant):
            assert _counts(found.headers) == _counts(expected.headers)
            under_way.append((expected, found))
        else:
            assert _told(found) == _told(expected)


async def _asked(limiter: Limiter | SharedLimiter, rules: Rules, ask: Ask) -> Grant | GatewayError:
    try:
        found = limiter.admit("a", rules, ask)
        return found if isinstance(found, Grant) else await found
    except GatewayError as error:
        return error


def _told(found: Grant | GatewayError) -> tuple[object, ...]:
    """What a client is told, without what depends on the very moment."""
    if isinstance(found, Grant):
        return ()
    return type(found), found.status, found.code, found.message.split(". Try")[0]


def _counts(headers: dict[str, str]) -> dict[str, str]:
    """Without what depends on the very moment."""
    return {name: value for name, value in headers.items() if "reset" not in name}
