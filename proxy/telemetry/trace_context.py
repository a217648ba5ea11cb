"""Where a request stands in a trace that several programs write, and the header that says so.

Source: W3C Trace Context, the section on the ``traceparent`` header.
"""

import re
from hashlib import blake2b
from random import Random
from typing import Final, NamedTuple

_HEADER: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_INVALID_VERSION: Final = "ff"
_FIRST_VERSION: Final = "00"
_SAMPLED: Final = 1
_LONGEST: Final = 512


class SpanContext(NamedTuple):
    """One span of a trace.

    Attributes:
        trace_id: 128 bits, not 0.
        span_id: 64 bits, not 0.
        parent_id: of the span it is part of; 0 where it begins the trace.
        sampled: whether the trace is written down at all.
    """

    trace_id: int
    span_id: int
    parent_id: int
    sampled: bool

    @property
    def traceparent(self) -> str:
        """The header that makes what follows part of this span."""
        return f"{_FIRST_VERSION}-{self.trace_id:032x}-{self.span_id:016x}-{self.sampled:02x}"

    def attempt(self, number: int) -> "SpanContext":
        """The span of the request's upstream call of this number, from 1: always the same for the same request."""
        made = blake2b(f"{self.trace_id:032x}{self.span_id:016x}{number}".encode(), digest_size=8).digest()
        return SpanContext(self.trace_id, int.from_bytes(made) or 1, self.span_id, self.sampled)


def begun(header: str | None, rng: Random) -> SpanContext:
    """The span of a request that came with this ``traceparent``; one that is not valid is as good as none."""
    span_id = rng.getrandbits(64) or 1
    if header is not None and len(header) <= _LONGEST and (found := _HEADER.fullmatch(header)) is not None:
        version, trace_id, parent_id = found[1], int(found[2], 16), int(found[3], 16)
        later = version != _FIRST_VERSION
        # only a later version may say more
        if version != _INVALID_VERSION and trace_id and parent_id and (later or found[5] is None):
            return SpanContext(trace_id, span_id, parent_id, bool(int(found[4], 16) & _SAMPLED))
    return SpanContext(rng.getrandbits(128) or 1, span_id, 0, sampled=True)
