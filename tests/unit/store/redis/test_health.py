"""One rule decides between what two processes say of the same credential."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from proxy.store.base import HealthRow, NotShared
from proxy.store.redis.health import RedisHealth
from proxy.store.redis.link import RedisLink
from tests.support.real_redis import RealRedis

READY = HealthRow(fingerprint="f", state="ready", since_unix_ms=1)
SHORT = replace(READY, state="cooling", reason="billing", until_unix_ms=1000)
LONG = replace(SHORT, until_unix_ms=2000)
DISABLED = replace(READY, state="disabled", reason="manual", since_unix_ms=2)


class _Process:
    """What one process hears and says."""

    def __init__(self, link: RedisLink, stored: Sequence[HealthRow] = ()) -> None:
        self.heard: list[HealthRow] = []
        self.health = RedisHealth(link, stored, self.heard.extend)

    async def say(self, row: HealthRow) -> None:
        """Say something, and have it told."""
        self.health.put(row)
        await self.health.flush()


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        (SHORT, LONG, LONG),
        (LONG, SHORT, LONG),
        (SHORT, READY, SHORT),
        (READY, SHORT, SHORT),
        (DISABLED, READY, DISABLED),
        (DISABLED, LONG, DISABLED),
        (LONG, DISABLED, DISABLED),
        (READY, DISABLED, DISABLED),
    ],
)
async def test_of_two_who_know_nothing_of_each_other_the_more_careful_is_right(
    first: HealthRow, second: HealthRow, stands: HealthRow, link: RedisLink
) -> None:
    """Protects a credential that is to rest from a process that has not heard so."""
    one, two, bystander = _Process(link), _Process(link), _Process(link)
    await one.say(first)
    await two.say(second)
    await bystander.health.sync()
    assert bystander.heard == [stands]
    assert two.heard == ([] if stands == second else [stands])


@pytest.mark.parametrize("before", [SHORT, LONG, DISABLED])
@pytest.mark.parametrize("after", [READY, SHORT, LONG, DISABLED])
async def test_who_has_heard_the_last_word_may_say_another(
    before: HealthRow, after: HealthRow, link: RedisLink
) -> None:
    """Protects what an operator orders, and what a trial has found out, of what another process had said."""
    one, two = _Process(link), _Process(link)
    await one.say(before)
    await two.health.sync()
    await two.say(after)
    await one.health.sync()
    assert one.heard == ([] if before == after else [after])


async def test_what_redis_forgot_is_put_back_and_nobody_hears_it_twice(link: RedisLink) -> None:
    """Protects what rests from a Redis that was emptied."""
    one, two = _Process(link), _Process(link)
    await one.say(DISABLED)
    await two.health.sync()
    await link.call("FLUSHALL")
    for process in (one, two, one, two):
        await process.health.sync()
    late = _Process(link)
    await late.health.sync()
    assert late.heard == [DISABLED]
    assert (one.heard, two.heard) == ([], [DISABLED])


@pytest.mark.parametrize(
    ("stored", "known", "heard"),
    [
        (DISABLED, None, DISABLED),
        (DISABLED, SHORT, DISABLED),
        (replace(DISABLED, since_unix_ms=0), SHORT, SHORT),
        (LONG, None, LONG),
        (LONG, READY, READY),
        (READY, None, None),
    ],
)
async def test_a_database_adds_what_others_cannot_know(
    stored: HealthRow, known: HealthRow | None, heard: HealthRow | None, link: RedisLink
) -> None:
    """Protects what was disabled by the last one to run, and what was said while this one did not."""
    if known is not None:
        await _Process(link).say(known)
    await _Process(link, [stored]).health.sync()
    bystander = _Process(link)
    await bystander.health.sync()
    assert bystander.heard == ([] if heard is None else [heard])


async def test_what_could_not_be_told_is_told_later(redis: RealRedis, link: RedisLink) -> None:
    """Protects a change of health from an outage."""
    one, two = _Process(link), _Process(link)
    await redis.kill()
    with pytest.raises(NotShared):
        await one.say(SHORT)
    await redis.start()
    await link.probe()
    await one.health.tell_waiting()
    await two.health.sync()
    assert two.heard == [SHORT]


async def test_a_row_of_a_newer_version_is_left_alone(link: RedisLink) -> None:
    """Protects an update that goes from process to process."""
    await link.call("HSET", "carousel:1:health", "x", '5 cooling 7 {"unknown": true}')
    one = _Process(link)
    await one.health.sync()
    assert one.heard == []
