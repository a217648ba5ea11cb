"""A Redis that fails takes nobody's answer away: every process goes on by itself, and finds back by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.gateway import ADMIN_KEY
from tests.support.house import House, Spoken, eventually
from tests.support.real_redis import PROGRAM, RealRedis, real_redis, replicas

pytestmark = pytest.mark.needs(PROGRAM)

_ADMINISTRATOR: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
_BACK_WITHIN_S: Final = 5.0
# what the machine may take on top of it while other tests run
_PATIENCE: Final = 4


async def _degraded(running: House) -> bool:
    async with running.session.get(f"{running.server.url}/health") as answer:
        assert answer.status == 200
        return bool((await answer.json())["degraded"])


async def _ordered(running: House, path: str) -> int:
    async with running.session.post(f"{running.server.url}{path}", headers=_ADMINISTRATOR) as answer:
        return answer.status


async def _all(running: list[House], *, degraded: bool) -> None:
    """Wait until all say so."""

    async def said() -> bool:
        return {await _degraded(each) for each in running} == {degraded}

    await eventually(said, _BACK_WITHIN_S * _PATIENCE)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What befalls a Redis, and how it gets over it."""

    begin: Callable[[RealRedis], Awaitable[object]]
    end: Callable[[RealRedis], Awaitable[object]]


async def _freeze(redis: RealRedis) -> None:
    redis.freeze()


async def _thaw(redis: RealRedis) -> None:
    redis.thaw()


_TROUBLES: Final = {
    "killed": _Trouble(RealRedis.kill, RealRedis.start),
    "hanging": _Trouble(_freeze, _thaw),
    "read-only": _Trouble(
        lambda redis: redis.ask("REPLICAOF", "127.0.0.1", 1),
        lambda redis: redis.ask("REPLICAOF", "NO", "ONE"),
    ),
    "full": _Trouble(
        lambda redis: redis.ask("CONFIG", "SET", "maxmemory", 1),
        lambda redis: redis.ask("CONFIG", "SET", "maxmemory", 0),
    ),
}


@pytest.mark.parametrize("name", _TROUBLES)
async def test_requests_are_answered_whatever_befalls_redis(name: str, tmp_path: Path) -> None:
    """Protects clients under load, and what was disabled, from a Redis that fails and comes back empty or not."""
    trouble, statuses = _TROUBLES[name], list[int]()
    limit = {"RATE_LIMIT_REQUESTS_PER_MINUTE": "100000"}
    async with real_redis(tmp_path) as redis, replicas(tmp_path, redis, 2, limit) as running:
        ended = asyncio.Event()

        async def load(one: House) -> None:
            while not ended.is_set():
                answered = await one.ask(Spoken.MESSAGES)
                statuses.append(answered.status)
                assert answered.headers["x-carousel-credential"] != "api-3"
                await asyncio.sleep(0.02)

        assert await _ordered(running[0], "/admin/pool/api-3/disable") == 200
        await eventually(lambda: _is_disabled(running[1], "api-3"))
        async with asyncio.TaskGroup() as group:
            for one in running:
                group.create_task(load(one))
            await asyncio.sleep(0.3)
            await trouble.begin(redis)
            await _all(running, degraded=True)
            assert await _ordered(running[0], "/admin/pool/api-2/disable") == 503
            assert await _ordered(running[0], "/admin/pool/api-2/enable") == 503
            await trouble.end(redis)
            await _all(running, degraded=False)
            ended.set()
        assert set(statuses) == {200}
        await eventually(lambda: _keeps(redis, 1))
        # what was ordered while nobody could be told is told now
        assert await _ordered(running[1], "/admin/pool/api-1/disable") == 200
        await eventually(lambda: _is_disabled(running[0], "api-1"), _BACK_WITHIN_S * _PATIENCE)


async def _is_disabled(running: House, name: str) -> bool:
    return (await running.credentials())[name].word() == "disabled(manual)"


async def _keeps(redis: RealRedis, least: int) -> bool:
    found = await redis.ask("HLEN", "carousel:1:health")
    return isinstance(found, int) and found >= least


async def test_what_redis_forgot_is_put_back_for_who_starts_later(tmp_path: Path) -> None:
    """Protects what was disabled from a Redis that was emptied: it is never the only one that knows."""
    async with real_redis(tmp_path) as redis:
        async with replicas(tmp_path, redis, 1) as (one,):
            assert await _ordered(one, "/admin/pool/api-1/disable") == 200
            await redis.kill()
            await _all([one], degraded=True)
            await redis.start()
            await eventually(lambda: _keeps(redis, 1))
        later = tmp_path / "later"
        later.mkdir()
        # the same key at the same address is the same credential
        same = {"ANTHROPIC_BASE_URL": one.simulator.url}
        async with replicas(later, redis, 1, same) as (other,):
            assert await _is_disabled(other, "api-1")


async def test_without_redis_each_process_keeps_to_its_share_of_a_limit(tmp_path: Path) -> None:
    """Protects a limit from being multiplied by the number of processes when they cannot count together."""
    limit = {"RATE_LIMIT_REQUESTS_PER_MINUTE": "40"}
    async with real_redis(tmp_path) as redis, replicas(tmp_path, redis, 2, limit) as running:
        # each has heard of the other with its second beat
        await asyncio.sleep(1.5)
        await redis.kill()
        await _all(running, degraded=True)
        for one in running:
            answers = await asyncio.gather(*(one.ask(Spoken.MESSAGES) for _ in range(30)))
            assert sorted(answer.status for answer in answers) == [200] * 20 + [429] * 10


async def test_a_start_without_redis_goes_on_by_itself_and_joins_later(tmp_path: Path) -> None:
    """Protects a restart from depending on Redis."""
    async with real_redis(tmp_path) as redis:
        await redis.kill()
        async with replicas(tmp_path, redis, 2) as running:
            await _all(running, degraded=True)
            assert [(await one.ask(Spoken.MESSAGES)).status for one in running] == [200, 200]
            await redis.start()
            await _all(running, degraded=False)
            assert await _ordered(running[0], "/admin/pool/api-1/disable") == 200
            await eventually(lambda: _is_disabled(running[1], "api-1"), _BACK_WITHIN_S * _PATIENCE)
