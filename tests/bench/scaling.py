"""The tables of ``docs/scaling.md``, worked out from the figures of a benchmark.

``python -m tests.bench.scaling OUTPUT…`` keeps what it needs of these outputs of ``make bench`` beside this file and
writes the page's tables anew; without an argument it takes what is kept. A test says when the page and that differ.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.measure import PATHS
from tests.bench.programs import ROOT

PAGE: Final = ROOT / "docs" / "scaling.md"
KEPT: Final = Path(__file__).with_name("scaling.jsonl")
BEGIN: Final = "<!-- made by tests/bench/scaling.py: begin -->\n"
END: Final = "<!-- made by tests/bench/scaling.py: end -->\n"
LOADS: Final = (1_000, 10_000, 1_000_000)
BUSY_MOST: Final = 0.6
STREAM_S: Final = 20.0
STREAMS_A_CORE: Final = 1000
PROCESSES_LEAST: Final = 2
_PLAIN, _LIMITED = "carousel", "carousel_limited"
_PER_MINUTE: Final = 60.0


class Line(msgspec.Struct, omit_defaults=True):
    """One figure of the benchmark; see ``tests/bench/__main__.py``."""

    figure: str
    program: str
    value: float = 0.0
    unit: str = ""
    p99: float = 0.0
    lost: float = 0.0
    kib_per_stream: float = 0.0
    busy_us: float = 0.0
    redis_us: float = 0.0
    scripts: float = 0.0
    load: float = 0.0


Figures = Mapping[tuple[str, str], Line]


@dataclass(frozen=True, slots=True)
class Need:
    """What a number of requests takes.

    Attributes:
        cores: of gateways, at most `BUSY_MOST` busy.
        processes: one a core, `PROCESSES_LEAST` at least.
        redis_commands_a_s: what all of them ask of Redis.
        redis_cores: what that keeps busy, of the one core a Redis has.
    """

    cores: float
    processes: int
    redis_commands_a_s: float
    redis_cores: float


def figures_of(outputs: Iterable[bytes]) -> Figures:
    """The figures of some outputs; of one that stands there twice the last counts. Raises msgspec.DecodeError."""
    decoder = msgspec.json.Decoder(Line)
    lines = (decoder.decode(line) for output in outputs for line in output.splitlines() if line.strip())
    return {(line.figure, line.program): line for line in lines}


def wanted(found: Figures) -> list[Line]:
    """Those the tables are made of. Raises KeyError for one that was not measured."""
    names = [
        *(("rss_idle", _PLAIN), ("redis_idle", _PLAIN)),
        *((f"paced_{STREAMS_A_CORE}x10_{dialect}", _PLAIN) for dialect in PATHS),
        *(
            (f"{figure}_{dialect}", program)
            for figure in ("unary_limits", "redis_commands", "replicas_1", "replicas_2")
            for program in (_PLAIN, _LIMITED)
            for dialect in PATHS
        ),
    ]
    return [found[name] for name in names]


def need(found: Figures, requests_a_minute: int, dialect: str, program: str) -> Need:
    """What whole answers take of processes that share a Redis."""
    a_second = requests_a_minute / _PER_MINUTE
    redis = found[f"redis_commands_{dialect}", program]
    cores = a_second * found[f"replicas_2_{dialect}", program].busy_us / 1e6 / BUSY_MOST
    processes = max(math.ceil(cores), PROCESSES_LEAST)
    idle_a_s = processes * found["redis_idle", _PLAIN].value
    return Need(cores, processes, a_second * redis.value + idle_a_s, a_second * redis.redis_us / 1e6)


def open_streams(requests_a_minute: int) -> int:
    """How many are open at once when each request is one of `STREAM_S` seconds."""
    return round(requests_a_minute / _PER_MINUTE * STREAM_S)


def tables(found: Figures) -> str:
    """All of the page."""
    return "\n".join(
        (
            f"### What was measured\n\n{_costs(found)}",
            f"### Two processes beside one\n\n{_beside(found)}",
            f"### Whole answers\n\n{''.join(_whole(found))}",
            f"### Streams\n\n{''.join(_streams(found))}",
        )
    )


def _costs(found: Figures) -> str:
    paced = f"paced_{STREAMS_A_CORE}x10"
    rows = (
        ("whole answers a second of one core, no limits", "unary_limits", _PLAIN, "value", ",.0f"),
        ("whole answers a second of one core, every limit", "unary_limits", _LIMITED, "value", ",.0f"),
        ("Redis commands a request, no limits", "redis_commands", _PLAIN, "value", ".1f"),
        ("Redis commands a request, every limit", "redis_commands", _LIMITED, "value", ".1f"),
        ("scripts among them, which hold most of the others", "redis_commands", _LIMITED, "scripts", ".1f"),
        ("µs of Redis's core a request, no limits", "redis_commands", _PLAIN, "redis_us", ".0f"),
        ("µs of Redis's core a request, every limit", "redis_commands", _LIMITED, "redis_us", ".0f"),
        ("KiB an open stream", paced, _PLAIN, "kib_per_stream", ".0f"),
        (f"ms an event is late at {STREAMS_A_CORE:,} streams, p50", paced, _PLAIN, "value", ".2f"),
        (f"ms an event is late at {STREAMS_A_CORE:,} streams, p99", paced, _PLAIN, "p99", ".1f"),
        ("events lost of them", paced, _PLAIN, "lost", ".0f"),
    )
    head = "| | Messages | Chat Completions |\n|---|---|---|\n"
    idle = f"| MiB of an idle process | {found['rss_idle', _PLAIN].value:.0f} | the same |\n"
    return head + idle + "".join(_row(found, *row) for row in rows)


def _row(found: Figures, told: str, figure: str, program: str, attribute: str, form: str) -> str:
    lines = (found[f"{figure}_{dialect}", program] for dialect in ("messages", "chat"))
    return f"| {told} | {' | '.join(format(getattr(line, attribute), form) for line in lines)} |\n"


def _beside(found: Figures) -> str:
    head = "| | one | two | of twice one | µs a request, one | two | load average |\n|---|---|---|---|---|---|---|\n"
    return head + "".join(
        _pair(found, dialect, program) for program in (_PLAIN, _LIMITED) for dialect in ("messages", "chat")
    )


def _pair(found: Figures, dialect: str, program: str) -> str:
    one, two = (found[f"replicas_{count}_{dialect}", program] for count in (1, 2))
    share = two.value / (2 * one.value)
    return (
        f"| {_name(dialect)}, {_limits(program)} | {one.value:,.0f} | {two.value:,.0f} | {share:.2f} "
        f"| {one.busy_us:.0f} | {two.busy_us:.0f} | {one.load:.1f}, {two.load:.1f} |\n"
    )


def _whole(found: Figures) -> Iterator[str]:
    yield "| requests a minute | | cores | processes | Redis commands a second | Redis's core |\n"
    yield "|---|---|---|---|---|---|\n"
    for load in LOADS:
        for dialect, program in (("messages", _PLAIN), ("chat", _PLAIN), ("chat", _LIMITED)):
            found_need = need(found, load, dialect, program)
            yield (
                f"| {load:,} | {_name(dialect)}, {_limits(program)} | {found_need.cores:.2f} "
                f"| {found_need.processes} | {found_need.redis_commands_a_s:,.0f} "
                f"| {found_need.redis_cores:.1%} |\n"
            )


def _streams(found: Figures) -> Iterator[str]:
    yield "| requests a minute | open at once | events a second | processes | memory, GiB | connections and calls |\n"
    yield "|---|---|---|---|---|---|\n"
    each = found[f"paced_{STREAMS_A_CORE}x10_chat", _PLAIN].kib_per_stream
    idle = found["rss_idle", _PLAIN].value
    for load in LOADS:
        streams = open_streams(load)
        processes = max(math.ceil(streams / STREAMS_A_CORE), PROCESSES_LEAST)
        gib = (processes * idle + streams * each / 1024) / 1024
        yield f"| {load:,} | {streams:,} | {streams * 10:,} | {processes} | {gib:.1f} | {2 * streams:,} |\n"


def _name(dialect: str) -> str:
    return {"messages": "Messages", "chat": "Chat Completions"}[dialect]


def _limits(program: str) -> str:
    return "every limit" if program == _LIMITED else "no limits"


def renewed(page: str, found: Figures) -> str:
    """The page with its tables made anew. Raises ValueError where a mark is missing."""
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return f"{page[:begin]}\n{tables(found)}\n{page[end:]}"


def main(outputs: Iterable[str]) -> None:
    """Keep the figures of these outputs, if there are any, and write the page."""
    if given := [Path(name).read_bytes() for name in outputs]:
        lines = wanted(figures_of(given))
        KEPT.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    PAGE.write_text(renewed(PAGE.read_text(), figures_of([KEPT.read_bytes()])))


if __name__ == "__main__":
    main(sys.argv[1:])
