"""A Redis that hangs or is killed under load: requests are answered as before, and it is used again when it is back."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from proxy.tasks import spawn
from tests.soak.figures import Report, percentile
from tests.soak.ground import Front, Ground, clock, ground
from tests.support.house import Spoken, body_of
from tests.support.real_redis import SECRET_KEY, RealRedis, real_redis

_LATER_MOST_MS: Final = 20.0
_AGREES_WITHIN_S: Final = 5.0
_WARM: Final = 50
_LOOKS_EVERY_S: Final = 0.02
_PATIENCE_S: Final = 60.0
_LOOKED_FOR_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class RedisAway:
    """How much is asked, and how long before and in each trouble."""

    per_s: float
    seconds: float

    def scaled(self, share: float) -> "RedisAway":
        """The same in a share of the time."""
        return replace(self, seconds=self.seconds * share)

    def __str__(self) -> str:
        return f"{self.per_s:g} requests a second, {self.seconds:g} s each with Redis, a hanging and a killed one"


@dataclass(slots=True)
class _Served:
    """How clients were served."""

    took_s: list[float] = field(default_factory=list)
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Trouble:
    begin: Callable[[RealRedis], Awaitable[None]]
    end: Callable[[RealRedis], Awaitable[None]]


async def _freeze(redis: RealRedis) -> None:
    redis.freeze()


async def _thaw(redis: RealRedis) -> None:
    redis.thaw()


_TROUBLES: Final[Mapping[str, _Trouble]] = {
    "hanging": _Trouble(_freeze, _thaw),
    "killed": _Trouble(RealRedis.kill, RealRedis.start),
}


async def redis_away(size: RedisAway, folder: Path, report: Report, front: Front) -> None:
    """Have it go and come back, and report."""
    async with real_redis(folder) as redis:
        settings = {
            "REDIS_URL": redis.url,
            "SECRET_KEY": SECRET_KEY,
            # so that each request asks Redis something
            "RATE_LIMIT_REQUESTS_PER_MINUTE": "1000000",
        }
        async with ground(folder, front, settings) as found:
            await _asked(found, replace(size, seconds=_WARM / size.per_s))
            calm = await _asked(found, size)
            calm_ms = percentile(calm.took_s, 99) * 1000
            report.figure("asked_in_each", len(calm.took_s))
            report.figure("calm_failed", calm.failed, most=0)
            report.figure("calm_p99_ms", calm_ms)
            for name, trouble in _TROUBLES.items():
                await _away(name, trouble, redis, found, size, report, calm_ms)
            # there may be more connections to it now than at first; each look for it finds that one of them is dead
            await redis.kill()
            report.figure("descriptors_left", await found.descriptors_left(_LOOKED_FOR_S), most=0)
            report.figure("failures_logged", found.failures(), most=0)


async def _away(
    name: str,
    trouble: _Trouble,
    redis: RealRedis,
    found: Ground,
    size: RedisAway,
    report: Report,
    calm_ms: float,
) -> None:
    noticing = _Served()
    await trouble.begin(redis)
    began_s = clock.monotonic_s()
    # the requests in which it is found out may take longer, and are answered all the same
    async with asyncio.timeout(_PATIENCE_S):
        while not await _degraded(found):
            await _ask(found, noticing, len(noticing.took_s))
            await asyncio.sleep(_LOOKS_EVERY_S)
    noticed_s = clock.monotonic_s() - began_s
    away = await _asked(found, size)
    await trouble.end(redis)
    began_s = clock.monotonic_s()
    async with asyncio.timeout(_PATIENCE_S):
        while await _degraded(found):  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(_LOOKS_EVERY_S)
    agrees_s = clock.monotonic_s() - began_s
    report.figure(f"{name}_failed", noticing.failed + away.failed, most=0)
    report.figure(f"{name}_noticed_after_s", noticed_s)
    report.figure(f"{name}_longest_until_noticed_ms", max(noticing.took_s, default=0.0) * 1000)
    report.figure(
        f"{name}_p99_ms", percentile(away.took_s, 99) * 1000, most=calm_ms + _LATER_MOST_MS, timed=True
    )
    report.figure(f"{name}_over_after_s", agrees_s, most=_AGREES_WITHIN_S, timed=True)


async def _asked(found: Ground, size: RedisAway) -> _Served:
    """Ask at a steady rate."""
    served = _Served()
    began_s = clock.monotonic_s()
    asking = []
    for number in range(max(round(size.per_s * size.seconds), 1)):
        await asyncio.sleep(max(began_s + number / size.per_s - clock.monotonic_s(), 0))
        asking.append(spawn(_ask(found, served, number), name="ask"))
    await asyncio.gather(*asking)
    return served


async def _ask(found: Ground, served: _Served, number: int) -> None:
    spoken, stream = list(Spoken)[number % 2], number // 2 % 2 == 1
    began_s = clock.monotonic_s()
    async with found.session.post(
        f"{found.url}{spoken.value}", data=body_of(spoken, stream=stream)
    ) as answer:
        await answer.read()
    served.took_s.append(clock.monotonic_s() - began_s)
    served.failed += answer.status != 200


async def _degraded(found: Ground) -> bool:
    async with found.session.get(f"{found.url}/health") as answer:
        return bool((await answer.json())["degraded"])
