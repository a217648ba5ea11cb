"""The last requests and the attempts made for each, for who asks why one of them failed. Nothing of their texts."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from proxy.telemetry.requests import RequestLine

KEPT: Final = 1000


class AttemptTrace(msgspec.Struct, frozen=True, gc=False):
    """One upstream call.

    Attributes:
        credential: alias.
        outcome: ``success``, the class of its failure, or ``abandoned`` when the client left before it ended.
        status: the upstream's HTTP status, 0 where there was none.
        start_ms: from the beginning of the request to that of the call.
        took_ms: from there to its end.
    """

    credential: str
    outcome: str
    status: int
    start_ms: float
    took_ms: float


class RequestTrace(msgspec.Struct, frozen=True, gc=False):
    """One request after its end.

    Attributes:
        line: its line of the log.
        ended_unix_ms: when that was.
        asked: the model the client named, 100 characters of it; empty where it named none.
        attempts: the upstream calls, in order.
    """

    line: RequestLine
    ended_unix_ms: int
    asked: str
    attempts: tuple[AttemptTrace, ...]


class Traceable(Protocol):
    """A request after its end, which can be explained."""

    @property
    def id(self) -> str:
        """The request's."""
        ...

    @property
    def status(self) -> int:
        """Of its answer."""
        ...

    def traced(self) -> RequestTrace:
        """What became of it."""
        ...


class TraceView(msgspec.Struct, frozen=True, kw_only=True):
    """A trace as people see it.

    Attributes:
        id: the request's.
        ended_unix_ms: when it had been answered.
        client: name of the client key.
        path: as asked, 100 characters of it.
        model_asked: by the client; None where it named none.
        model_sent: asked of the upstream, after aliases; None where the request could not be read.
        stream: whether a streamed answer was asked for.
        status: of the answer; 499 when the client left before there was one.
        answered_by: alias of the credential whose answer the client got, or the beginning of it; None for nobody.
        attempts: the upstream calls, in order.
        first_event_ms: to the first real event, or the whole of a unary answer.
        total_ms: to the last byte of the answer.
        input_tokens: as the upstream told.
        output_tokens: as the upstream told.
        stop_reason: why the answer ended.
        dropped: paths of the fields that could not be carried.
    """

    id: str
    ended_unix_ms: int
    client: str
    path: str
    model_asked: str | None
    model_sent: str | None
    stream: bool | None
    status: int
    answered_by: str | None
    attempts: tuple[AttemptTrace, ...]
    first_event_ms: float | None
    total_ms: float
    input_tokens: int | None
    output_tokens: int | None
    stop_reason: str | None
    dropped: list[str]


class Traces:
    """The last requests; the oldest makes room. They are kept as they come, and put into words for who reads them.

    A request is merely noted at its end. It takes its place, and is counted by those who watch, in a batch: at the
    latest when anybody asks.

    Args:
        kept: how many.
    """

    __slots__ = ("_fresh", "_ring", "_watching", "keep")

    def __init__(self, kept: int = KEPT) -> None:
        self._ring: deque[Traceable] = deque(maxlen=kept)
        self._fresh: list[Traceable] = []
        self._watching: list[Callable[[Sequence[RequestTrace]], None]] = []
        # the method itself: it is called for every request
        self.keep = self._fresh.append

    def __len__(self) -> int:
        self.settle()
        return len(self._ring)

    def subscribe(self, count: Callable[[Sequence[RequestTrace]], None]) -> None:
        """Have `count` told every request from now on, once, in the order of their ends."""
        self._watching.append(count)

    def settle(self) -> None:
        """Count what has ended since the last time."""
        if not self._fresh:
            return
        ended = self._fresh.copy()
        self._fresh.clear()
        self._ring.extend(ended)
        if not self._watching:
            return
        told = [each.traced() for each in ended]
        for count in self._watching:
            count(told)

    def newest(self, *, credential: str | None = None, statuses: range | None = None) -> Iterator[TraceView]:
        """From the newest to the oldest: those that asked a credential and were answered with one of `statuses`."""
        self.settle()
        for ended in reversed(self._ring):
            if statuses is not None and ended.status not in statuses:
                continue
            trace = ended.traced()
            if credential is None or any(each.credential == credential for each in trace.attempts):
                yield view_of(trace)

    def find(self, request_id: str) -> TraceView | None:
        """The request of this id; None if it is not among them."""
        self.settle()
        return next((view_of(ended.traced()) for ended in self._ring if ended.id == request_id), None)


def view_of(trace: RequestTrace) -> TraceView:
    """`trace` in the words people read."""
    line = trace.line
    return TraceView(
        id=line.id,
        ended_unix_ms=trace.ended_unix_ms,
        client=line.client,
        path=line.path,
        model_asked=trace.asked or None,
        model_sent=line.model,
        stream=line.stream,
        status=line.status,
        answered_by=line.credential if line.first_ms is not None else None,
        attempts=trace.attempts,
        first_event_ms=line.first_ms,
        total_ms=line.took_ms,
        input_tokens=line.input_tokens,
        output_tokens=line.output_tokens,
        stop_reason=line.stop_reason,
        dropped=line.dropped,
    )
