"""``make bench``: one JSON line a figure on standard output, progress on standard error.

The load generator and the simulated Claude share one core, the program under test has the other to itself. Every
program is measured in the same run against the same upstream; what counts are the ratios.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from tests.bench import measure
from tests.bench.measure import PATHS, body, chat_body, percentile
from tests.bench.peers import peers
from tests.bench.programs import LOAD_CORE, Program, Running, carousel, nginx, relay, running, upstream

EVENTS: Final = 200
FAST_PORT: Final = 19100
BURST_PORT: Final = 19101
PACED_PORT: Final = 19102
PORT: Final = 19110
SIZES: Final = {
    "small": ("Hello!", 0, 2000),
    "300kb": ("word " * 60_000, 0, 200),
    "5mb_images": ("What is this?", 10, 30),
}
Make = Callable[[int, Path], Program | None]


class Report:
    """Writes figures as they come."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def figure(self, name: str, program: str, value: float, unit: str, **more: float) -> None:
        """One line."""
        digits = 1 if value >= 100 else 3
        line = {"figure": name, "program": program, "value": round(value, digits), "unit": unit}
        extra = {key: round(number, 4) for key, number in more.items()}
        sys.stdout.buffer.write(msgspec.json.encode({**line, **extra}) + b"\n")
        sys.stdout.flush()

    def seconds(self, whole: float) -> float:
        """A duration, shortened for a quick look."""
        return max(whole * self.scale, 1.0)


def programs() -> dict[str, Make]:
    """What is compared; each takes the upstream's port and a folder of its own."""
    return {
        "carousel": lambda port, folder: carousel(PORT, port, folder),
        "relay": lambda port, _: relay(PORT, port),
        "nginx": lambda port, folder: nginx(PORT, port, folder),
    }


@asynccontextmanager
async def started(make: Make, port: int) -> AsyncIterator[Running | None]:
    """A program in front of an upstream; None where it is not installed."""
    with tempfile.TemporaryDirectory(prefix="carousel-bench-") as name:
        folder = Path(name)
        program = make(port, folder)
        if program is None:
            yield None
            return
        async with running(program) as found:
            yield found


async def unary(report: Report, name: str, make: Make) -> None:
    """Calls a second, added latency, large requests, and what an idle program weighs."""
    async with started(make, FAST_PORT) as found:
        if found is None:
            return
        report.figure("start_to_ready", name, found.started_in_s, "s")
        report.figure("rss_idle", name, found.rss_mib(), "MiB")
        for dialect in found.program.paths:
            path, small = PATHS[dialect], body()
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder)
                await measure.throughput(found.program, place, path, small, seconds=1)
                seconds = report.seconds(6)
                rate = await measure.throughput(found.program, place, path, small, seconds=seconds)
            report.figure(f"unary_{dialect}", name, rate, "requests/s")
            await _latencies(report, found.program, dialect)


async def _latencies(report: Report, program: Program, dialect: str) -> None:
    path = PATHS[dialect]
    make_body = chat_body if dialect == "chat" else body
    for size, (text, images, calls) in SIZES.items():
        request = make_body(text=text, images=images)
        count = max(int(calls * report.scale), 10)
        same = body(text=text, images=images)
        direct = await measure.sequential(upstream(FAST_PORT), PATHS["messages"], same, count=count)
        through = await measure.sequential(program, path, request, count=count)
        report.figure(
            f"sequential_{size}_{dialect}",
            program.name,
            statistics.median(through) * 1000,
            "ms p50",
            p99=percentile(through, 99) * 1000,
            direct_p50=statistics.median(direct) * 1000,
            added_p50=(statistics.median(through) - statistics.median(direct)) * 1000,
        )


async def bursts(report: Report, name: str, make: Make) -> None:
    """Streams of 200 events a second."""
    async with started(make, BURST_PORT) as found:
        if found is None:
            return
        for dialect in found.program.paths:
            with tempfile.TemporaryDirectory() as folder:
                place, request = Path(folder), body(stream=True)
                await measure.throughput(found.program, place, PATHS[dialect], request, seconds=1)
                rate = await measure.throughput(
                    found.program, place, PATHS[dialect], request, seconds=report.seconds(6)
                )
            report.figure(f"streams_{EVENTS}_events_{dialect}", name, rate, "streams/s")


async def pacing(report: Report, name: str, make: Make) -> None:
    """Many open streams at 10 events a second: what they lose, what they wait, what they weigh."""
    async with started(make, PACED_PORT) as found:
        if found is None or found.program.bursts_only:
            return
        for dialect in found.program.paths:
            for streams in (200, 1000):
                idle_mib = found.rss_mib()
                weighing = asyncio.get_running_loop().create_task(_weigh(found, streams))
                seen = await measure.paced(
                    found.program, PATHS[dialect], body(stream=True), streams=streams, events=EVENTS
                )
                heaviest_mib = await weighing
                report.figure(
                    f"paced_{streams}x10_{dialect}",
                    name,
                    percentile(seen.delays_s, 50) * 1000,
                    "ms p50",
                    p99=percentile(seen.delays_s, 99) * 1000,
                    lost=seen.expected - seen.received,
                    kib_per_stream=(heaviest_mib - idle_mib) * 1024 / streams,
                )


async def _weigh(found: Running, streams: int) -> float:
    """The most memory while all streams are open."""
    await asyncio.sleep(streams / 250 + 2)
    weights = []
    for _ in range(5):
        weights.append(found.rss_mib())
        await asyncio.sleep(1)
    return max(weights)


async def run(parts: list[str], chosen: dict[str, Make], report: Report) -> None:
    """Measure every program in each part, next to each other in time."""
    fast = upstream(FAST_PORT)
    burst = upstream(BURST_PORT, "--events", str(EVENTS))
    slow = upstream(PACED_PORT, "--events", str(EVENTS), "--tokens-per-second", "10", "--stamped")
    async with running(fast, LOAD_CORE), running(burst, LOAD_CORE), running(slow, LOAD_CORE):
        with tempfile.TemporaryDirectory() as folder:
            place, path = Path(folder), PATHS["messages"]
            rate = await measure.throughput(fast, place, path, body(), seconds=2)
            report.figure("unary_messages", "upstream", rate, "requests/s")
            rate = await measure.throughput(burst, place, path, body(stream=True), seconds=2)
            report.figure(f"streams_{EVENTS}_events_messages", "upstream", rate, "streams/s")
        for part in parts:
            for name, make in chosen.items():
                sys.stderr.write(f"{part}: {name}\n")
                await PARTS[part](report, name, make)


PARTS: Final = {"unary": unary, "bursts": bursts, "pacing": pacing}


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument(
        "--part", action="append", choices=sorted(PARTS), help="only this part; may be repeated"
    )
    parser.add_argument("--program", action="append", help="only this program; may be repeated")
    parser.add_argument(
        "--peers", action="store_true", help="measure the peers too; they are installed first"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="length of the run; 0.2 is a quick look")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    chosen = programs() | (peers(PORT) if options.peers else {})
    if options.program:
        chosen = {name: make for name, make in chosen.items() if name in options.program}
    uvloop.run(run(options.part or list(PARTS), chosen, Report(options.scale)))


if __name__ == "__main__":
    main()
