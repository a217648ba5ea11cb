"""How programs are loaded in turns, and how their figures are told."""

import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests.bench import measure
from tests.bench.measure import PATHS
from tests.bench.programs import TESTED_CORE, Program, Running, running

FAST_PORT: Final = 19100
ROUNDS: Final = 15
PEER_ROUNDS: Final = 3
PEER_SECONDS: Final = 10.0
PORTS: Final = {
    "carousel": 19110,
    "relay": 19111,
    "nginx": 19112,
    "litellm": 19113,
    "portkey": 19114,
    "redis": 19115,
    "carousel_redis": 19116,
    "carousel_workers": 19117,
}
Make = Callable[[int, Path], Program | None]
Rates = dict[tuple[str, str], list[float]]
"""Answers a second of each round, by the name of a program and the dialect."""


class Report:
    """Writes figures as they come.

    Attributes:
        ceilings: the relay's rates of each round, by figure.
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.ceilings: dict[str, list[float]] = {}

    def figure(self, name: str, program: str, value: float, unit: str, **more: float) -> None:
        """One line."""
        digits = 1 if value >= 100 else 3
        line = {"figure": name, "program": program, "value": round(value, digits), "unit": unit}
        extra = {key: round(number, 4) for key, number in more.items()}
        sys.stdout.buffer.write(msgspec.json.encode({**line, **extra}) + b"\n")
        sys.stdout.flush()

    def failure(self, name: str, program: str, problem: str) -> None:
        """One line for what a program could not do."""
        line = {"figure": name, "program": program, "failed": problem}
        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stdout.flush()

    def seconds(self, whole: float) -> float:
        """A duration, shortened for a quick look."""
        return max(whole * self.scale, 1.0)


@asynccontextmanager
async def started(
    make: Make, port: int, cores: Sequence[int] = (TESTED_CORE,)
) -> AsyncIterator[Running | None]:
    """A program in front of an upstream, on the tested core or on others; None where it is not installed."""
    with tempfile.TemporaryDirectory(prefix="carousel-bench-") as name:
        folder = Path(name)
        program = make(port, folder)
        if program is None:
            yield None
            return
        async with running(program, *cores) as found:
            yield found


@asynccontextmanager
async def all_started(chosen: dict[str, Make], upstream_port: int) -> AsyncIterator[list[Running]]:
    """Every program that is installed, side by side on the tested core; all but one of them idle at any time."""
    async with AsyncExitStack() as opened:
        found = []
        for name, make in chosen.items():
            sys.stderr.write(f"starts: {name}\n")
            running_one = await opened.enter_async_context(started(make, upstream_port))
            if running_one is not None:
                found.append(running_one)
        yield found


async def rounds(report: Report, found: list[Running], name: str, request: bytes, unit: str) -> Rates:
    """Load one program after the other, again and again: what a neighbour takes from the machine, it takes from all.

    Gives the rates of each program and dialect.
    """
    places = [(each.program, dialect) for dialect in PATHS for each in found if dialect in each.program.paths]
    rates: Rates = {(each.name, dialect): [] for each, dialect in places}
    with tempfile.TemporaryDirectory() as folder:
        # a peer's stream takes seconds, and only whole ones count
        alone = all(each.program.peer for each in found)
        rounds, length_s = (PEER_ROUNDS, PEER_SECONDS) if alone else (ROUNDS, 1.0)
        for number in range(rounds + 1):
            sys.stderr.write(f"{name}: round {number} of {rounds}\n")
            seconds = report.seconds(length_s) if number else 1
            # there and back again, so that none always follows the same other one
            for program, dialect in tuple(places)[:: 1 if number % 2 else -1]:
                try:
                    rate = await measure.throughput(
                        program, Path(folder), PATHS[dialect], request, seconds=seconds
                    )
                except measure.NotAnsweredError as problem:
                    if not program.peer:
                        raise
                    report.failure(f"{name}_{dialect}", program.name, str(problem))
                    places.remove((program, dialect))
                    del rates[program.name, dialect]
                    continue
                if number:
                    rates[program.name, dialect].append(rate)
    _report_rates(report, name, unit, rates)
    return rates


def _report_rates(report: Report, name: str, unit: str, rates: Rates) -> None:
    for (program_name, dialect), seen in rates.items():
        report.figure(f"{name}_{dialect}", program_name, statistics.median(seen), unit, best=max(seen))
        if program_name == "relay":
            report.ceilings[f"{name}_{dialect}"] = seen
    for (program_name, dialect), seen in rates.items():
        ceiling = report.ceilings.get(f"{name}_{dialect}")
        if not ceiling or program_name == "relay":
            continue
        if len(ceiling) == len(seen):
            share = statistics.median(rate / most for rate, most in zip(seen, ceiling, strict=True))
        else:
            share = statistics.median(seen) / statistics.median(ceiling)
        report.figure(f"{name}_{dialect}_of_relay", program_name, share, "ratio")


def compare(report: Report, figure: str, rates: Rates, ours: Running, other: Running) -> None:
    """Tell of each dialect what share of another program's rate ours has, and what one call takes longer."""
    for dialect in PATHS:
        pairs = list(zip(rates[ours.program.name, dialect], rates[other.program.name, dialect], strict=True))
        report.figure(
            figure.format(dialect=dialect),
            ours.program.name,
            statistics.median(rate / without for rate, without in pairs),
            "ratio",
            added_us=statistics.median((1 / rate - 1 / without) * 1e6 for rate, without in pairs),
        )
