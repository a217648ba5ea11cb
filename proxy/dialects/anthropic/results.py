"""What the answers of a batch used, read from its results while they pass.

Source: "Retrieve Message Batch results" in Anthropic's API reference: one JSON object a line.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from proxy.model.message import Usage

_TIER: Final = "batch"


class BatchAnswer(msgspec.Struct, frozen=True):
    """One answer of a batch.

    Attributes:
        model: that gave it; empty where its line is too long to be read.
        usage: what it used; nothing told in that case.
    """

    model: str
    usage: Usage


class _Message(msgspec.Struct):
    model: str = ""
    usage: Usage = Usage()


class _Result(msgspec.Struct):
    message: _Message | None = None


class _Line(msgspec.Struct):
    result: _Result


_decoder = msgspec.json.Decoder(_Line)


class ResultsTap:
    """Reads lines as they come, whatever pieces they come in."""

    __slots__ = ("_begun", "_line_max_bytes", "_too_long")

    def __init__(self, line_max_bytes: int) -> None:
        """A line longer than `line_max_bytes` is not held; it counts as an answer that told nothing."""
        self._line_max_bytes = line_max_bytes
        self._begun = bytearray()
        self._too_long = False

    def feed(self, piece: bytes) -> Iterator[BatchAnswer]:
        """The answers whose lines end in `piece`; to be read to its end before the next call."""
        *ended, rest = piece.split(b"\n")
        for part in ended:
            self._hold(part)
            yield from self.end()
        self._hold(rest)

    def end(self) -> Iterator[BatchAnswer]:
        """The answer of the line that has begun, if there is one: the last line may have no end of its own."""
        line, too_long = bytes(self._begun), self._too_long
        self._begun.clear()
        self._too_long = False
        if too_long:
            yield BatchAnswer("", Usage())
        elif line.strip():
            yield from _answers(line)

    def _hold(self, part: bytes) -> None:
        if self._too_long or len(self._begun) + len(part) > self._line_max_bytes:
            self._too_long = True
            self._begun.clear()
        else:
            self._begun += part


def _answers(line: bytes) -> Iterator[BatchAnswer]:
    """What a line tells: nothing where it is about a request that got no answer, or is no JSON."""
    try:
        message = _decoder.decode(line).result.message
    except (ValueError, RecursionError):
        return
    if message is not None:
        # not every answer of a batch says of itself that it is one
        yield BatchAnswer(message.model, msgspec.structs.replace(message.usage, service_tier=_TIER))
