"""Counting over all processes comes to the same as counting in one."""

import asyncio
import dataclasses
import random
import struct
import time

import msgspec
import pytest

from proxy.access.budgets import Budgets
from proxy.access.limits import Ask, Grant, Limiter
from proxy.access.rules import Rules
from proxy.access.shared_limits import SharedLimiter
from proxy.errors import GatewayError
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.store.redis import limits
from proxy.store.redis.limits import RedisCounters
from proxy.store.redis.link import RedisLink
from proxy.store.shared import Counted, Refusal
from tests.support.access import MemoryAccess
from tests.support.clock import FakeClock
from tests.support.counters import granted
from tests.support.house import eventually
from tests.unit.access.test_rules import NO_LIMITS
from tests.unit.dispatch.building import CATALOG

_COUNTS = "carousel:1:counts:a"
_HELD = "carousel:1:running:a"
_WINDOW = "carousel:1:window:a"
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
    await counters._link.call("PING")


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
    await link.call("ZADD", _HELD, 1, "n2:0")
    await link.call("DEL", _COUNTS)
    assert (await one.take(_counted(3, concurrency=1))).refusal is Refusal.NONE


async def test_what_is_held_ends_by_itself_after_a_minute_and_not_before(link: RedisLink) -> None:
    """Protects a client from a dead process, and a request under way from its place being given to another."""
    one = _counters(link)
    await one.take(_counted(1, concurrency=1, reserved_micro_usd=70))
    for age_s, refusal in ((59, Refusal.CONCURRENCY), (62, Refusal.NONE)):
        now_s = int((await _time_us(link)) / 1_000_000)
        await link.call("ZADD", _HELD, now_s + 61 - age_s, "n1:70")
        # sums are taken anew when the first of what is held may have ended
        await link.call("SETRANGE", _COUNTS, 40, struct.pack("<d", now_s + 61 - age_s))
        assert (await one.take(_counted(2, concurrency=1))).refusal is refusal


async def test_what_redis_has_lost_of_requests_under_way_is_put_back(link: RedisLink) -> None:
    """Protects limits of what runs at the same time from a Redis that was emptied."""
    clock = FakeClock()
    one = RedisCounters(link, clock, origin="one")
    await one.take(_counted(1, concurrency=5, budget_micro_usd=1000, reserved_micro_usd=70))
    await link.call("FLUSHALL")
    # somebody else comes before it is put back
    other = await _counters(link, "two").take(
        _counted(2, concurrency=5, budget_micro_usd=1000, reserved_micro_usd=5)
    )
    assert other.left_micro_usd == 1000
    clock.advance(20)
    await one.renew()
    seen = await _counters(link, "two").take(_counted(3, concurrency=2, budget_micro_usd=1000))
    assert (seen.refusal, seen.left_micro_usd) == (Refusal.CONCURRENCY, 925)


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(("minutes_ago", "counted"), [(0, 250), (3, 320)])
async def test_what_ends_together_is_settled_together(
    minutes_ago: int, counted: int, joined: bool, link: RedisLink
) -> None:
    """Protects Redis from a call for each request that ends, and each one's tokens from being lost on the way."""
    one = _counters(link)
    changes = {
        "concurrency": 30,
        "tokens": (("a", 1000),),
        "budget_micro_usd": 9000,
        "reserved_micro_usd": 10,
    }
    requests = [_counted(number, **changes) for number in range(3)]
    taken = [await one.take(each) for each in requests]
    await _known(one)
    before = await _scripts(link)
    for request, answer, more in zip(requests, taken, (-70, 20, 0), strict=True):
        one.settle(request, answer.bucket - minutes_ago, more)
    one.spent("a", "total:0", 400)
    if not joined:
        await _tell(one)
        assert await _scripts(link) == before + 1
    seen = await one.take(_counted(4, **{**changes, "asked_tokens": 0}))
    assert await _scripts(link) == before + (1 if joined else 2)
    assert (seen.tokens[0].current, seen.left_micro_usd) == (counted, 8600)
    assert await link.call("ZRANGE", _HELD, 0, -1) == [b"n4:10", b""]


async def test_what_is_settled_with_a_request_stays_so_where_that_is_refused(link: RedisLink) -> None:
    """Protects a client at its limit from tokens, places and spending that are never given back."""
    one = _counters(link)
    changes = {"concurrency": 2, "tokens": (("a", 1000),), "budget_micro_usd": 900, "reserved_micro_usd": 100}
    first, second = (_counted(number, **changes) for number in range(2))
    taken = [await one.take(each) for each in (first, second)]
    one.settle(first, taken[0].bucket, -60)
    one.spent("a", "total:0", 30)
    refused = await one.take(_counted(2, **{**changes, "asked_tokens": 5000}))
    seen = await _counters(link, "two").take(_counted(3, **changes))
    assert refused.refusal is Refusal.TOO_LARGE
    assert (refused.tokens[0].current, refused.left_micro_usd) == (140, 770)
    assert (seen.refusal, seen.tokens[0].current, seen.left_micro_usd) == (Refusal.NONE, 240, 770)


async def test_what_ended_by_itself_is_not_given_back_a_second_time(link: RedisLink) -> None:
    """Protects a limit from a process that was frozen for longer than a minute and goes on."""
    one, changes = _counters(link), {"concurrency": 9, "budget_micro_usd": 900, "reserved_micro_usd": 100}
    first, second = (_counted(number, **changes) for number in range(2))
    taken = [await one.take(each) for each in (first, second)]
    await link.call("ZREM", _HELD, "n0:100")
    await link.call("DEL", _COUNTS)
    await _counters(link, "two").take(_counted(2, **changes))
    for each, answer in zip((first, second), taken, strict=True):
        one.settle(each, answer.bucket, 0)
    await _tell(one)
    seen = await _counters(link, "two").take(_counted(3, **{**changes, "concurrency": 2}))
    assert (seen.refusal, seen.left_micro_usd) == (Refusal.NONE, 800)
    seen = await _counters(link, "two").take(_counted(4, **{**changes, "concurrency": 2}))
    assert seen.refusal is Refusal.CONCURRENCY


@pytest.mark.parametrize(("concurrency", "waits"), [(30, True), (10, False)])
async def test_what_has_ended_waits_for_company_only_where_nobody_can_miss_it(
    concurrency: int, waits: bool, link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects a client near its limit from a refusal by another process for a request that has just ended."""
    # long enough for a busy machine to ask meanwhile
    monkeypatch.setattr(limits, "_PATIENCE_S", 0.5)
    one, counted = _counters(link), _counted(1, concurrency=concurrency)
    taken = await one.take(counted)
    await _known(one)
    before = await _scripts(link)
    one.settle(counted, taken.bucket, 0)
    await asyncio.sleep(0)
    assert await link.call("ZCARD", _HELD) == (2 if waits else 1)

    async def settled() -> bool:
        return await _scripts(link) == before + 1

    await eventually(settled, 5)
    assert await link.call("ZCARD", _HELD) == 1


@pytest.mark.parametrize("turns", range(9))
async def test_what_is_reserved_for_a_client_that_leaves_meanwhile_is_given_back(
    turns: int, link: RedisLink
) -> None:
    """Protects a limit from places and tokens that nobody holds any more, at whatever moment the client leaves."""
    one = _counters(link)
    changes = {"tokens": (("a", 1000),), "concurrency": 5, "budget_micro_usd": 900, "reserved_micro_usd": 70}
    await one.take(_counted(0, client="b"))
    counted = _counted(1, **changes)
    taking = one.take(counted)
    for _ in range(turns):
        await asyncio.sleep(0)
        # so that its answer comes in while the loop takes one turn after the other
        time.sleep(0.002)  # noqa: ASYNC251 - the loop is to stand still
    if not taking.cancel():
        one.settle(counted, (await taking).bucket, -100)

    async def given_back() -> bool:
        return bool(await link.call("EXISTS", _COUNTS)) and not await link.call("ZCOUNT", _HELD, 1, "(inf")

    await eventually(given_back, 5)
    seen = await one.take(_counted(2, **changes))
    assert (seen.tokens[0].current, seen.left_micro_usd) == (100, 900)


@pytest.mark.parametrize("seconds_ago", [[], [70], [70, 10], [3600] * 40, [*range(200, 0, -1)], [-3600, 5]])
async def test_requests_count_for_a_minute_whatever_was_before(
    seconds_ago: list[int], link: RedisLink
) -> None:
    """Protects a limit of requests from those of an hour ago, and from a clock of Redis that was set back."""
    now_us = await _time_us(link)
    for age_s in seconds_ago:
        await link.call("RPUSH", _WINDOW, now_us - age_s * 1_000_000)
    counting = [age_s for age_s in seconds_ago if 0 <= age_s < 60]
    taken = await _counters(link).take(_counted(1, requests=(("a", 1000),)))
    assert taken.requests[0].count == len(counting) + 1
    assert taken.requests[0].oldest_s == pytest.approx(max(counting, default=0), abs=2)
    assert await link.call("LLEN", _WINDOW) == len(counting) + 1


async def test_a_limit_that_refuses_takes_nothing_from_the_others(link: RedisLink) -> None:
    """Protects a client from losing its own requests to the server's limit."""
    one = _counters(link)
    changes = {"requests": (("a", 9), ("", 1)), "tokens": (("a", 900), ("", 900)), "concurrency": 5}
    await one.take(_counted(1, **changes))
    for _ in range(3):
        refused = await one.take(_counted(2, **changes))
        assert (refused.refusal, refused.position) == (Refusal.REQUESTS, 1)
        assert [each.count for each in refused.requests] == [1, 1]
        assert [each.current for each in refused.tokens] == [100, 100]
    assert await link.call("ZCOUNT", _HELD, "-inf", "(inf") == 1


async def test_everything_in_redis_is_forgotten_some_day(link: RedisLink) -> None:
    """Protects Redis from filling up with the keys of clients that are no more."""
    one = _counters(link)
    counted = _counted(1, requests=(("a", 5),), tokens=(("", 900),), concurrency=30, budget_micro_usd=900)
    taken = await one.take(counted)
    one.spent("a", "total:0", 10)
    one.settle(counted, taken.bucket, 5)
    await _tell(one)
    keys = msgspec.convert(await link.call("KEYS", "*"), list[bytes])
    assert len(keys) == 5
    for key in keys:
        assert 100 < msgspec.convert(await link.call("TTL", key.decode()), int) < 41 * 86_400, key


async def test_what_a_request_cost_counts_from_the_moment_it_has_ended(link: RedisLink) -> None:
    """Protects a budget from what is let in while spending is still being written."""
    clock, pricing = FakeClock(), Pricing(CATALOG)
    budgets = Budgets(MemoryAccess(), clock, sleep=_never)
    rules, counters = Rules(budget_micro_usd=1_000_000), _counters(link)
    alone = Limiter(clock, budgets, pricing, NO_LIMITS)
    subject = SharedLimiter(counters, alone, budgets=budgets, pricing=pricing, limits=NO_LIMITS)
    ask, used = Ask("claude-sonnet-5-5", 50, 0), Usage(input_tokens=1000, output_tokens=0)
    for _ in range(2):
        (await granted(subject.admit("a", rules, ask))).settle("claude-sonnet-5-5", used, partial=False)
        counters.tell()
        await link.call("PING")
    seen = await _counters(link, "two").take(
        _counted(9, budget_micro_usd=1_000_000, period=budgets.period_name("a", rules))
    )
    assert seen.left_micro_usd == 1_000_000 - budgets.spent("a", rules) < 1_000_000


async def _known(counters: RedisCounters) -> None:
    """Have Redis know the script that settles."""
    counters.spent("somebody else", "total:0", 1)
    await _tell(counters)


async def _never(delay: float) -> None:
    """Spending is not written a second time while a test lasts."""
    await asyncio.Event().wait()


async def _scripts(link: RedisLink) -> int:
    """How many scripts Redis was asked for so far; a script that it does not know counts twice."""
    found = msgspec.convert(await link.call("INFO", "commandstats"), dict[str, dict[str, float]])
    return sum(int(found[name]["calls"]) for name in ("cmdstat_eval", "cmdstat_evalsha") if name in found)


async def _time_us(link: RedisLink) -> int:
    seconds, rest = msgspec.convert(await link.call("TIME"), tuple[int, int])
    return seconds * 1_000_000 + rest


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
        return await granted(limiter.admit("a", rules, ask))
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
