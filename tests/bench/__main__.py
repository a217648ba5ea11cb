"""``make bench``: one JSON line a figure on standard output, progress on standard error.

The load generator and the simulated Claude share one core, the program under test has the other to itself. Every
program is measured in the same run against the same upstream; what counts are the ratios.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

import uvloop

from tests.bench import measure
from tests.bench.claude_code import claude_code
from tests.bench.limits import limits
from tests.bench.measure import PATHS, body, chat_body, percentile
from tests.bench.peers import peers
from tests.bench.programs import LOAD_CORE, Running, carousel, nginx, relay, running, upstream
from tests.bench.replicas import replicas
from tests.bench.rounds import (
    BESIDE_A_PEER,
    FAST_PORT,
    PORTS,
    STREAMS_BESIDE_A_PEER,
    Make,
    Report,
    all_started,
    beside,
    peer_of,
    rounds,
    started,
)
from tests.bench.several import redis, workers
from tests.support.real_redis import PROGRAM as REDIS

EVENTS: Final = 200
WRITES: Final = 20
BURST_PORT: Final = 19101
PACED_PORT: Final = 19102
SLICES: Final = 15
SCRAPES: Final = 1000
SIZES: Final = {
    "small": ("Hello!", 0, 2000),
    "300kb": ("word " * 60_000, 0, 450),
    "5mb_images": ("What is this?", 10, 75),
}
Slices = list[list[float]]


def programs() -> dict[str, Make]:
    """What is compared; each takes the upstream's port and a folder of its own."""
    return {
        "carousel": lambda port, folder: carousel(PORTS["carousel"], port, folder),
        "relay": lambda port, _: relay(PORTS["relay"], port),
        "nginx": lambda port, folder: nginx(PORTS["nginx"], port, folder),
    }


async def unary(report: Report, chosen: dict[str, Make]) -> None:
    """Calls a second, added latency, large requests, and what an idle program weighs."""
    async with all_started(chosen, FAST_PORT) as found:
        peer = peer_of(found)
        told = found if peer is None else [peer]
        for each in told:
            report.figure("start_to_ready", each.program.name, each.started_in_s, "s")
            report.figure("rss_idle", each.program.name, each.rss_mib(), "MiB")
        if peer is None:
            await rounds(report, found, "unary", body(), "requests/s")
        else:
            await beside(report, found, peer, "unary", body(), "requests/s", BESIDE_A_PEER)
        await _latencies(report, told)


async def bursts(report: Report, chosen: dict[str, Make]) -> None:
    """Streams of 200 events a second."""
    name, request, unit = f"streams_{EVENTS}_events", body(stream=True), "streams/s"
    async with all_started(chosen, BURST_PORT) as found:
        if (peer := peer_of(found)) is None:
            await rounds(report, found, name, request, unit)
        else:
            await beside(report, found, peer, name, request, unit, STREAMS_BESIDE_A_PEER)


async def _latencies(report: Report, found: list[Running]) -> None:
    """Sequential calls, a few to one program and then a few to the next, the upstream itself among them."""
    for dialect in PATHS:
        programs = [each.program for each in found if dialect in each.program.paths]
        make_body = chat_body if dialect == "chat" else body
        for size, (text, images, calls) in SIZES.items():
            sys.stderr.write(f"sequential: {size} {dialect}\n")
            count = max(int(calls * report.scale) // SLICES, 5)
            same, request = body(text=text, images=images), make_body(text=text, images=images)
            direct: Slices = []
            through: dict[str, Slices] = {program.name: [] for program in programs}
            for _ in range(SLICES):
                asked = upstream(FAST_PORT)
                direct.append(await measure.sequential(asked, PATHS["messages"], same, count=count))
                for program in programs:
                    times = await measure.sequential(program, PATHS[dialect], request, count=count)
                    through[program.name].append(times)
            for name, slices in through.items():
                _report_latency(report, f"sequential_{size}_{dialect}", name, slices, direct)
                if name != "relay" and "relay" in through:
                    _report_share(
                        report, f"sequential_{size}_{dialect}", name, slices, through["relay"], direct
                    )


def _report_latency(report: Report, figure: str, name: str, slices: Slices, direct: Slices) -> None:
    times = [each for one in slices for each in one]
    direct_s = statistics.median(each for one in direct for each in one)
    report.figure(
        figure,
        name,
        statistics.median(times) * 1000,
        "ms p50",
        p99=percentile(times, 99) * 1000,
        direct_p50=direct_s * 1000,
        added_p50=(statistics.median(times) - direct_s) * 1000,
    )


def _report_share(
    report: Report, figure: str, name: str, slices: Slices, relayed: Slices, direct: Slices
) -> None:
    """The median of what each slice shows, as a neighbour slows down all programs of a slice alike."""
    whole, added = [], []
    for ours, theirs, bare in zip(slices, relayed, direct, strict=True):
        ours_s, theirs_s, bare_s = (statistics.median(each) for each in (ours, theirs, bare))
        whole.append(ours_s / theirs_s)
        added.append((ours_s - bare_s) / max(theirs_s - bare_s, 1e-9))
    report.figure(
        f"{figure}_of_relay", name, statistics.median(whole), "ratio", added=statistics.median(added)
    )


async def pacing(report: Report, chosen: dict[str, Make]) -> None:
    """Many open streams at 10 events a second: what they lose, what they wait, what they weigh."""
    for dialect in PATHS:
        for streams in (200, 1000):
            for name, make in chosen.items():
                sys.stderr.write(f"pacing: {streams} {dialect} streams through {name}\n")
                await _paced(report, make, dialect, streams)


async def _paced(report: Report, make: Make, dialect: str, streams: int) -> None:
    """One figure, of a fresh process: what an earlier load left behind would be memory that costs nothing."""
    async with started(make, PACED_PORT) as found:
        if found is None or dialect not in found.program.paths:
            return
        idle_mib = found.rss_mib()
        weighing = asyncio.get_running_loop().create_task(_weigh(found, streams))
        seen = await measure.paced(
            found.program, PATHS[dialect], body(stream=True), streams=streams, events=EVENTS
        )
        heaviest_mib = await weighing
        report.figure(
            f"paced_{streams}x10_{dialect}",
            found.program.name,
            percentile(seen.delays_s, 50) * 1000,
            "ms p50",
            p99=percentile(seen.delays_s, 99) * 1000,
            lost=seen.expected - seen.received,
            kib_per_stream=(heaviest_mib - idle_mib) * 1024 / streams,
        )


async def scrapes(report: Report, chosen: dict[str, Make]) -> None:
    """What Prometheus costs, after requests of many models."""
    if (make := chosen.get("carousel")) is None:
        return
    async with started(make, FAST_PORT) as found:
        if found is not None:
            times = await measure.scraped(found.program, count=max(int(SCRAPES * report.scale), 20))
            p50_s, p99_s = statistics.median(times), percentile(times, 99)
            report.figure("scrape", found.program.name, p50_s * 1000, "ms p50", p99=p99_s * 1000)


async def shared(report: Report, chosen: dict[str, Make]) -> None:
    """What sharing a Redis costs, and two processes in place of one; where no Redis is installed, nothing."""
    if "carousel" in chosen and shutil.which(REDIS) is not None:
        sys.stderr.write("replicas\n")
        await replicas(report, FAST_PORT)


async def _weigh(found: Running, streams: int) -> float:
    """The most memory while all streams are open."""
    await asyncio.sleep(streams / 250 + 2)
    weights = []
    for _ in range(5):
        weights.append(found.rss_mib())
        await asyncio.sleep(1)
    return max(weights)


async def run(parts: list[str], ours: dict[str, Make], others: dict[str, Make], report: Report) -> None:
    """Measure in each part ours next to each other in time, then the gateway beside each of the others."""
    gateway = {name: make for name, make in ours.items() if name == "carousel"}
    groups = [ours, *({**gateway, name: make} for name, make in others.items())]
    fast = upstream(FAST_PORT)
    burst = upstream(BURST_PORT, "--events", str(EVENTS), "--writes", str(WRITES))
    slow = upstream(PACED_PORT, "--events", str(EVENTS), "--tokens-per-second", "10", "--stamped")
    async with running(fast, LOAD_CORE), running(burst, LOAD_CORE), running(slow, LOAD_CORE):
        with tempfile.TemporaryDirectory() as folder:
            place, path = Path(folder), PATHS["messages"]
            rate = await measure.throughput(fast, place, path, body(), seconds=2)
            report.figure("unary_messages", "upstream", rate, "requests/s")
            rate = await measure.throughput(burst, place, path, body(stream=True), seconds=2)
            report.figure(f"streams_{EVENTS}_events_messages", "upstream", rate, "streams/s")
        for part in parts:
            for group in groups if part not in OURS_ALONE else [ours]:
                await PARTS[part](report, group)


async def code(report: Report, chosen: dict[str, Make]) -> None:
    """Claude Code, which is measured in front of a simulated Claude of its own."""
    if "carousel" in chosen:
        await claude_code(report)


OURS_ALONE: Final = {"pacing", "limits", "redis", "workers", "scrapes", "claude_code", "replicas"}
"""Parts the others have no share in."""

PARTS: Final = {
    "unary": unary,
    "bursts": bursts,
    "pacing": pacing,
    "limits": limits,
    "redis": redis,
    "workers": workers,
    "scrapes": scrapes,
    "replicas": shared,
    "claude_code": code,
}


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
    ours, others = programs(), peers(PORTS) if options.peers else {}
    if options.program:
        ours = {name: make for name, make in ours.items() if name in options.program}
        others = {name: make for name, make in others.items() if name in options.program}
    uvloop.run(run(options.part or list(PARTS), ours, others, Report(options.scale)))


if __name__ == "__main__":
    main()
