"""What it costs to share limits and health over Redis, and what a second worker brings."""

import os
import statistics
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench import measure
from tests.bench.limits import limited
from tests.bench.measure import PATHS, body
from tests.bench.programs import LOAD_CORE, TESTED_CORE, Program, Running, carousel, redis_server, running
from tests.bench.rounds import FAST_PORT, PORTS, Make, Report, compare, rounds, started

CORES: Final = len(os.sched_getaffinity(0))
"""Before the load generator binds itself to one of them."""

_NO_REDIS: Final = "redis-server is not installed"
_SECRET_KEY: Final = "bench-secret-key-0123456789abcdef"
_SLICES: Final = 15
_CALLS: Final = 2000
_WORKERS: Final = 2


def _sharing(name: str, workers: int) -> Make:
    """The gateway with Redis."""

    def make(upstream_port: int, folder: Path) -> Program:
        program = carousel(
            PORTS[name],
            upstream_port,
            folder,
            REDIS_URL=f"redis://127.0.0.1:{PORTS['redis']}/0",
            SECRET_KEY=_SECRET_KEY,
            WORKERS=str(workers),
        )
        return replace(program, name=name)

    return make


async def redis(report: Report, chosen: dict[str, Make]) -> None:
    """The gateway with Redis, asked with a key without limits and with one that has all, beside one without Redis.

    Redis itself runs on the core of the load generator.
    """
    if (make := chosen.get("carousel")) is None:
        return
    if (server := redis_server(PORTS["redis"])) is None:
        report.failure("unary_redis", "carousel_redis", _NO_REDIS)
        return
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(running(server, LOAD_CORE))
        alone = await opened.enter_async_context(started(make, FAST_PORT))
        sharing = await opened.enter_async_context(started(_sharing("carousel_redis", 1), FAST_PORT))
        if alone is None or sharing is None:
            return
        held = await limited(sharing)
        rates = await rounds(report, [alone, sharing, held], "unary_redis", body(), "requests/s")
        for each in (sharing, held):
            compare(report, "unary_redis_{dialect}_of_alone", rates, each, alone)
        await _waits(report, alone, [sharing, held])


async def _waits(report: Report, alone: Running, others: list[Running]) -> None:
    """Sequential calls, a few to one and then a few to the next."""
    count = max(int(_CALLS * report.scale) // _SLICES, 5)
    for dialect, path in PATHS.items():
        sys.stderr.write(f"sequential: redis {dialect}\n")
        times: dict[str, list[float]] = {each.program.name: [] for each in (alone, *others)}
        for _ in range(_SLICES):
            for each in (alone, *others):
                times[each.program.name] += await measure.sequential(each.program, path, body(), count=count)
        without_s = statistics.median(times[alone.program.name])
        for name, seen in times.items():
            p50_s, p99_s = statistics.median(seen), measure.percentile(seen, 99)
            report.figure(
                f"sequential_redis_{dialect}",
                name,
                p50_s * 1000,
                "ms p50",
                p99=p99_s * 1000,
                added_p50=(p50_s - without_s) * 1000,
            )


async def workers(report: Report, chosen: dict[str, Make]) -> None:
    """Two workers on two cores beside one on the same two; needs a third one for the load."""
    if "carousel" not in chosen:
        return
    if CORES <= _WORKERS:
        report.failure(
            "unary_workers",
            "carousel_workers",
            f"{CORES} cores: the load generator needs one, so that {_WORKERS} workers have no core each",
        )
        return
    if (server := redis_server(PORTS["redis"])) is None:
        report.failure("unary_workers", "carousel_workers", _NO_REDIS)
        return
    cores = tuple(range(TESTED_CORE, TESTED_CORE + _WORKERS))
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(running(server, LOAD_CORE))
        one = await opened.enter_async_context(started(_sharing("carousel_redis", 1), FAST_PORT, cores))
        two = await opened.enter_async_context(
            started(_sharing("carousel_workers", _WORKERS), FAST_PORT, cores)
        )
        if one is None or two is None:
            return
        rates = await rounds(report, [one, two], "unary_workers", body(), "requests/s")
        compare(report, "unary_workers_{dialect}_of_one", rates, two, one)
