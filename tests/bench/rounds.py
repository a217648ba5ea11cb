"""How programs are loaded in turns, and how their figures are told."""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tests.bench import measure
from tests.bench.measure import PATHS
from tests.bench.programs import TESTED_CORE, Program, Running, running

FAST_PORT: Final = 19100
_SETTLED_SHARE: Final = 0.05
_SETTLED_S: Final = 0.25
_SETTLES_IN_S: Final = 10.0
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


@dataclass(frozen=True, slots=True)
class Turns:
    """How often each program is loaded, and for how long.

    Attributes:
        rounds: how often.
        ours_s: seconds of each, for what is ours and for the relay and nginx.
        peers_s: the same for a peer.
    """

    rounds: int
    ours_s: float = 1.0
    peers_s: float = 10.0


TURNS: Final = Turns(15)
BESIDE_A_PEER: Final = Turns(4, ours_s=3.0)
STREAMS_BESIDE_A_PEER: Final = Turns(2, ours_s=3.0, peers_s=30.0)
"""32 streams of 200 events at a time are a dozen seconds' work for a peer, and only whole ones count."""

Rates = dict[tuple[str, str], list[float]]
"""Answers a second of each round, by the name of a program and the dialect."""


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


async def rounds(
    report: Report, found: list[Running], name: str, request: bytes, unit: str, turns: Turns = TURNS
) -> Rates:
    """Load one program after the other, again and again: what a neighbour takes from the machine, it takes from all.

    Gives the rates of each program and dialect; a peer that cannot do it has none.
    """
    places = [(each, dialect) for dialect in PATHS for each in found if dialect in each.program.paths]
    rates: Rates = {(each.program.name, dialect): [] for each, dialect in places}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(turns.rounds + 1):
            sys.stderr.write(f"{name}: round {number} of {turns.rounds}\n")
            # there and back again, so that none always follows the same other one
            for each, dialect in tuple(places)[:: 1 if number % 2 else -1]:
                program = each.program
                whole_s = turns.peers_s if program.peer else turns.ours_s
                try:
                    rate = await measure.throughput(
                        *(program, Path(folder), PATHS[dialect], request),
                        seconds=report.seconds(whole_s) if number else 1,
                    )
                except measure.NotAnsweredError as problem:
                    if not program.peer:
                        raise
                    report.failure(f"{name}_{dialect}", program.name, str(problem))
                    places.remove((each, dialect))
                    del rates[program.name, dialect]
                    continue
                if program.peer:
                    await _settled(each)
                if number:
                    rates[program.name, dialect].append(rate)
    # what is ours has been told where it was not beside a peer
    told = [each for each in found if each.program.peer] or found
    for each in told:
        _report_rates(report, name, unit, each.program.name, rates)
    return rates


def peer_of(found: list[Running]) -> Running | None:
    """The peer among programs that run side by side, of which there is no more than one."""
    return next((each for each in found if each.program.peer), None)


async def beside(
    report: Report, found: list[Running], peer: Running, name: str, request: bytes, unit: str, turns: Turns
) -> None:
    """The same for a peer, and how many times its rate the others have that were loaded in turns with it."""
    rates = await rounds(report, found, name, request, unit, turns)
    for each in found:
        if each is not peer:
            compare(report, f"{name}_{{dialect}}_of_{peer.program.name}", rates, each, peer)


async def _settled(found: Running) -> None:
    """Wait until a program does next to nothing: some work on for a while after a load has ended."""
    until_s = measure.clock.monotonic_s() + _SETTLES_IN_S
    while measure.clock.monotonic_s() < until_s:
        before_s = found.processor_s()
        await asyncio.sleep(_SETTLED_S)
        if found.processor_s() - before_s < _SETTLED_SHARE * _SETTLED_S:
            return


def _report_rates(report: Report, name: str, unit: str, program: str, rates: Rates) -> None:
    for dialect in PATHS:
        if not (seen := rates.get((program, dialect))):
            continue
        report.figure(f"{name}_{dialect}", program, statistics.median(seen), unit, best=max(seen))
    for dialect in PATHS:
        ceiling, seen = rates.get(("relay", dialect)), rates.get((program, dialect))
        if program != "relay" and ceiling and seen:
            share = statistics.median(rate / most for rate, most in zip(seen, ceiling, strict=True))
            report.figure(f"{name}_{dialect}_of_relay", program, share, "ratio")


def compare(report: Report, figure: str, rates: Rates, ours: Running, other: Running) -> None:
    """Tell of each dialect what share of another program's rate ours has, and what one call takes longer."""
    for dialect in PATHS:
        if (other.program.name, dialect) not in rates:
            continue
        pairs = list(zip(rates[ours.program.name, dialect], rates[other.program.name, dialect], strict=True))
        report.figure(
            figure.format(dialect=dialect),
            ours.program.name,
            statistics.median(rate / without for rate, without in pairs),
            "ratio",
            added_us=statistics.median((1 / rate - 1 / without) * 1e6 for rate, without in pairs),
        )
