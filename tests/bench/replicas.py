"""What sharing a Redis costs: commands a request, and the processor's time of one process and of two."""

import asyncio
import os
import statistics
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from tests.bench import measure
from tests.bench.client import connect, post
from tests.bench.limits import limited
from tests.bench.measure import PATHS, body, clock
from tests.bench.programs import KEY, LOAD_CORE, TESTED_CORE, Program, Running, carousel, running
from tests.support.processor import processor_s
from tests.support.real_redis import RealRedis, real_redis

PORTS: Final = (19120, 19121)
_SECRET_KEY: Final = "bench-secret-key-0123456789abcdef"
_WARMING: Final = 50
_ASKED: Final = 2000
_IDLE_S: Final = 3.0
_ROUNDS: Final = 5
_SCRIPTS: Final = ("eval", "evalsha", "fcall")
_NOT_COUNTED: Final = ("info", "config", "command", "hello", "client")


class Figures(Protocol):
    """Takes figures as they come."""

    scale: float

    def figure(self, name: str, program: str, value: float, unit: str, **more: float) -> None:
        """One figure."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """What a Redis has done since it was started.

    Attributes:
        calls: commands by name, those within scripts included, without the bookkeeping of connections.
        busy_s: the processor's time it took.
    """

    calls: Mapping[str, int]
    busy_s: float

    @property
    def total(self) -> int:
        """All commands."""
        return sum(self.calls.values())

    @property
    def scripts(self) -> int:
        """Those that carry out a script, whose own commands are counted beside it."""
        return sum(self.calls.get(name, 0) for name in _SCRIPTS)


def work_of(stats: Mapping[str, object], cpu: Mapping[str, object]) -> Work:
    """What the sections ``commandstats`` and ``cpu`` of ``INFO`` say, as the client library reads them."""
    calls: dict[str, int] = {}
    for name, told in stats.items():
        command = name.removeprefix("cmdstat_").partition("|")[0]
        if command not in _NOT_COUNTED and isinstance(told, Mapping):
            calls[command] = calls.get(command, 0) + int(told["calls"])
    return Work(calls, float(str(cpu["used_cpu_user"])) + float(str(cpu["used_cpu_sys"])))


async def _work(redis: RealRedis) -> Work:
    stats, cpu = await redis.ask("INFO", "commandstats"), await redis.ask("INFO", "cpu")
    if not isinstance(stats, Mapping) or not isinstance(cpu, Mapping):
        raise TypeError("INFO was not answered as it is documented")
    return work_of(stats, cpu)


@asynccontextmanager
async def _started(redis: RealRedis, upstream_port: int, count: int) -> AsyncIterator[list[Running]]:
    """So many gateways, each held to one core, the first to the one that is kept free of load."""
    async with AsyncExitStack() as opened:
        found = []
        for number, port in enumerate(PORTS[:count]):
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="carousel-bench-")))
            shared = {"REDIS_URL": redis.url, "SECRET_KEY": _SECRET_KEY, "LOG_LEVEL": "warning"}
            program = carousel(port, upstream_port, folder, **shared)
            core = (TESTED_CORE, LOAD_CORE)[number]
            found.append(await opened.enter_async_context(running(program, core)))
        yield found


async def replicas(report: Figures, upstream_port: int) -> None:
    """Measure; a Redis has to be installed."""
    with tempfile.TemporaryDirectory(prefix="carousel-bench-") as name:
        async with real_redis(Path(name)) as redis:
            async with _started(redis, upstream_port, 1) as (one,):
                held = (await limited(one)).program
                await _commands(report, redis, one, held)
                await _loaded(report, [one], held)
            async with _started(redis, upstream_port, 2) as two:
                await _loaded(report, two, held)


async def _commands(report: Figures, redis: RealRedis, found: Running, held: Program) -> None:
    """How many commands a request is, by a key without limits and by that of `held`, with all there are."""
    before, began_s = await _work(redis), clock.monotonic_s()
    await asyncio.sleep(_IDLE_S)
    idle_a_s = ((await _work(redis)).total - before.total) / (clock.monotonic_s() - began_s)
    report.figure("redis_idle", "carousel", idle_a_s, "commands/s")
    count = max(int(_ASKED * report.scale), _WARMING)
    for program in (found.program, held):
        for dialect, path in PATHS.items():
            await _asked(program, path, _WARMING)
            before, began_s = await _work(redis), clock.monotonic_s()
            await _asked(program, path, count)
            after, passed_s = await _work(redis), clock.monotonic_s() - began_s
            commands = after.total - before.total - idle_a_s * passed_s
            report.figure(
                f"redis_commands_{dialect}",
                program.name,
                max(commands, 0) / count,
                "commands/request",
                scripts=(after.scripts - before.scripts) / count,
                redis_us=(after.busy_s - before.busy_s) / count * 1e6,
            )


async def _asked(program: Program, path: str, count: int) -> None:
    key = program.headers.get("Authorization", KEY).removeprefix("Bearer ")
    connection = await connect(program.port)
    call = post(path, body(), key, {})
    for _ in range(count):
        if (status := await connection.ask(call)) != 200:
            raise measure.NotAnsweredError(f"status {status}")
    connection.close()


async def _loaded(report: Figures, found: Sequence[Running], held: Program) -> None:
    """Load all of them at once, by a key without limits and by that of `held`."""
    limited_ones = [replace(each, program=replace(held, port=each.program.port)) for each in found]
    for asked in (found, limited_ones):
        for dialect, path in PATHS.items():
            loads = [await _load(asked, path, 1.0)]
            loads += [await _load(asked, path, max(2 * report.scale, 1.0)) for _ in range(_ROUNDS)]
            rates, costs_us = zip(*loads[1:], strict=True)
            report.figure(
                f"replicas_{len(asked)}_{dialect}",
                asked[0].program.name,
                statistics.median(rates),
                "requests/s",
                busy_us=statistics.median(costs_us),
                load=os.getloadavg()[0],
            )


async def _load(found: Sequence[Running], path: str, seconds: float) -> tuple[float, float]:
    """Answers a second of all, each asked by a generator of its own, and microseconds of a processor for each."""
    before_s = sum(processor_s(each.pid) for each in found)
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / str(each.program.port) for each in found]
        for folder in folders:
            folder.mkdir()
        rates = await asyncio.gather(
            *(
                measure.throughput(each.program, folder, path, body(), seconds=seconds)
                for each, folder in zip(found, folders, strict=True)
            )
        )
    taken_s = sum(processor_s(each.pid) for each in found) - before_s
    return sum(rates), taken_s / (sum(rates) * round(seconds)) * 1e6
