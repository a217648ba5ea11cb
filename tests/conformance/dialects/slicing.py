"""Every way to cut a stream into chunks that has ever broken a parser."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

STREAMS = Path(__file__).parents[2] / "fixtures" / "streams"
NAMES = sorted(path.stem for path in STREAMS.glob("*.sse"))


def stream(name: str) -> bytes:
    """One transcript."""
    return (STREAMS / f"{name}.sse").read_bytes()


def cut(data: bytes, points: Sequence[int]) -> list[bytes]:
    """The data cut at these offsets."""
    edges = [0, *sorted(points), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def slicings(data: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """The data cut in every deterministic way, each with a name for a failing assert."""
    yield "whole", [data]
    for size in (1, 2, 7, 64):
        yield f"{size} bytes each", [data[at : at + size] for at in range(0, len(data), size)]
    inside = [at for at in range(1, len(data)) if data[at] & 0xC0 == 0x80]
    yield "inside every character", cut(data, inside)
    yield (
        "between CR and LF",
        cut(data, [at for at in range(1, len(data)) if data[at - 1 : at + 1] == b"\r\n"]),
    )
    yield "between the line ends", cut(data, [at for at in range(1, len(data)) if data[at - 1] in b"\r\n"])
    yield "with empty chunks", [b"", *cut(data, [len(data) // 2, len(data) // 2]), b""]
