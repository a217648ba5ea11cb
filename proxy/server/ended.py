"""What is kept of a request after its end: raw, and put into words only for who reads it."""

from typing import Final

import msgspec

from proxy.dispatch.trace import OFF, Trace
from proxy.telemetry.requests import RequestLine
from proxy.telemetry.traces import AttemptTrace, RequestTrace
from proxy.telemetry.usage import Settlement

_DROPPED_MAX: Final = 32
NAME_MAX: Final = 100
"""Characters that are shown of a word a client chose."""


class Ended(msgspec.Struct, gc=False):
    """One request after its end; nothing of its body.

    Attributes:
        id: ours.
        client: name of the client key.
        path: as asked, cut.
        status: of the answer; 499 when the client left before there was one.
        asked: the model the client named, cut; empty where it named none.
        model: the one that meant; empty where the request could not be read.
        stream: whether a streamed answer was asked for; None where the request could not be read.
        free: whether answers to it cost nothing.
        began_s: monotonic seconds of its beginning.
        ended_s: monotonic seconds of its end.
        ended_unix_ms: the same on the wall clock.
        trace: what it went through; nobody changes it any more.
    """

    id: str
    client: str
    path: str
    status: int
    asked: str
    model: str
    stream: bool | None
    free: bool
    began_s: float
    ended_s: float
    ended_unix_ms: int
    trace: Trace
    _line: RequestLine | None = None

    def line(self) -> RequestLine:
        """Its line of the log, but for the time; the same one for everybody who asks."""
        if (line := self._line) is None:
            line = self._line = self._worded()
        return line

    def _worded(self) -> RequestLine:
        trace, usage = self.trace, self.trace.usage
        asked_somebody = trace.attempts > 0
        return RequestLine(
            time="",
            level="info",
            room="requests",
            event="request",
            id=self.id,
            client=self.client,
            path=self.path,
            status=self.status,
            model=None if self.stream is None else (trace.model or self.model)[:NAME_MAX],
            stream=self.stream,
            credential=trace.credential if asked_somebody else None,
            attempts=trace.attempts if asked_somebody else None,
            took_ms=_tenths(self.ended_s - self.began_s),
            first_ms=None if trace.first_event_s is None else _tenths(trace.first_event_s - self.began_s),
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            stop_reason=None if usage is None else trace.stop_reason,
            failed=[f"{each.credential}:{each.outcome}" for each in trace.failed] if trace.failed else [],
            dropped=[each.field for each in trace.dropped[:_DROPPED_MAX]] if trace.dropped else [],
            cache=None if trace.cache is OFF else trace.cache,
        )

    def traced(self) -> RequestTrace:
        """Its place among the last requests."""
        return RequestTrace(self.line(), self.ended_unix_ms, self.asked, self._attempts())

    def settlement(self) -> Settlement:
        """The same for the books."""
        return self.trace.settlement(self.client, self.model, status=self.status, free=self.free)

    def _attempts(self) -> tuple[AttemptTrace, ...]:
        """The upstream calls; the last one is still open in the trace where it was no failure."""
        trace = self.trace
        if not trace.failed:
            return (self._last_attempt(),) if trace.attempts else ()
        attempts = [
            AttemptTrace(
                each.credential,
                each.outcome,
                each.status,
                _tenths(each.began_s - self.began_s),
                each.took_ms,
            )
            for each in trace.failed
        ]
        if trace.attempts > len(attempts):
            attempts.append(self._last_attempt())
        return tuple(attempts)

    def _last_attempt(self) -> AttemptTrace:
        trace = self.trace
        status = 0 if trace.first_event_s is None else 200
        start_ms = _tenths(trace.began_s - self.began_s)
        return AttemptTrace(
            trace.credential, trace.outcome, status, start_ms, _tenths(self.ended_s - trace.began_s)
        )


def _tenths(seconds: float) -> float:
    """Milliseconds with one digit behind the point. The built-in way to round costs four times as much."""
    # what another client's equal request began may be older than the one that asks
    return int(seconds * 10_000 + 0.5) / 10 if seconds > 0 else 0.0
