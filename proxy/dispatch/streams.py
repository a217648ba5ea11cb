"""A streamed answer while it runs: frames for the client, limits on silence, and an honest end."""

from typing import Protocol

from proxy.clock import Clock
from proxy.credentials import Kind
from proxy.dialects.common import Observed, StreamBroken, StreamError
from proxy.dispatch import answers
from proxy.dispatch.lanes import StreamLane
from proxy.errors import ErrorKind, GatewayError
from proxy.pool import Failure, Fault, classify_event, classify_fault
from proxy.settings import Policy
from proxy.telemetry.redaction import REDACTOR
from proxy.upstreams.base import ByteReply, Source, UpstreamFault
from proxy.watch import Watch

_AFTER_STOP_S = 1.0
_STATUS_OF = {
    ErrorKind.INVALID_REQUEST: 400,
    ErrorKind.AUTHENTICATION: 502,
    ErrorKind.BILLING: 503,
    ErrorKind.PERMISSION: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.REQUEST_TOO_LARGE: 413,
    ErrorKind.RATE_LIMIT: 429,
    ErrorKind.API: 502,
    ErrorKind.TIMEOUT: 504,
    ErrorKind.OVERLOADED: 529,
}


class StreamCut(Exception):
    """The stream ended before its end.

    Attributes:
        failure: what the pool is told.
        shown: what the client is told, or None when the upstream's own error frame already told it.
    """

    def __init__(self, failure: Failure, shown: GatewayError | None) -> None:
        super().__init__(failure.cls.value)
        self.failure = failure
        self.shown = shown


class Frames(Protocol):
    """What is sent of one streamed answer."""

    @property
    def observed(self) -> Observed:
        """What has been seen of the answer so far."""
        ...

    @property
    def over(self) -> bool:
        """Whether the answer is whole and its last frames have been handed out."""
        ...

    async def frames(self, silence_s: float) -> bytes | None:
        """See `RunningStream.frames`."""
        ...


class RunningStream:
    """One streamed answer, from its first byte upstream to its last."""

    __slots__ = (
        "_clock",
        "_kind",
        "_lane",
        "_pending",
        "_policy",
        "_progress_s",
        "_ready",
        "_received_s",
        "_reply",
        "_verbatim",
        "_wall_s",
        "_watch",
        "observed",
    )

    def __init__(
        self,
        reply: ByteReply,
        lane: StreamLane,
        policy: Policy,
        clock: Clock,
        watch: Watch,
        *,
        verbatim: bool,
        kind: Kind = Kind.ANTHROPIC,
    ) -> None:
        self._reply = reply
        self._lane = lane
        self._clock = clock
        self._policy = policy
        self._watch = watch
        self._verbatim = verbatim
        self._kind = kind
        now_s = watch.now_s()
        self._received_s = now_s
        self._progress_s = now_s
        self._wall_s = now_s + policy.stream_wall_s
        self._ready = b""
        self._pending: StreamCut | None = None
        self.observed = lane.observed

    async def prime(self, limit_s: float) -> None:
        """Read until the first real event is known.

        Raises UpstreamFault when none comes within `limit_s` seconds, and StreamCut when it is an error event.
        """
        due_s = self._watch.now_s() + limit_s
        observed = self.observed
        while not observed.started:
            try:
                chunk = await self._watch.within(due_s - self._watch.now_s(), self._reply.read())
            except TimeoutError:
                raise UpstreamFault(Fault.FIRST_EVENT_TIMEOUT) from None
            if not chunk:
                raise UpstreamFault(Fault.EMPTY_STREAM)
            self._take(chunk)
        if observed.error is not None and observed.events == 1 and self._pending is not None:
            raise self._pending

    @property
    def over(self) -> bool:
        """Whether the answer is whole and its last frames have been handed out."""
        return self.observed.complete and self._pending is None and not self._ready and self._reply.ended

    async def frames(self, silence_s: float) -> bytes | None:
        """The next frames; None after the whole answer; empty when `silence_s` seconds passed without any.

        Raises StreamCut.
        """
        watch = self._watch
        silent_until_s = watch.now_s() + silence_s
        while not self._ready:
            if self._pending is not None:
                raise self._pending
            limit_s = min(self._stalled_s(), self._dead_s(), silent_until_s) - watch.now_s()
            try:
                chunk = await watch.within(limit_s, self._reply.read())
            except TimeoutError:
                if self.observed.complete:
                    return None
                self._check_limits()
                return b""
            except UpstreamFault as fault:
                if self.observed.complete:
                    return None
                raise self._cut(fault.fault) from None
            if not chunk:
                return self._last_frames()
            self._take(chunk)
        frames = self._ready
        self._ready = b""
        return frames

    def _last_frames(self) -> bytes | None:
        """What only the end of the body completes. Raises StreamCut where the answer is not whole even so."""
        frames = b"" if self.observed.complete else self._lane.end()
        if not self.observed.complete:
            raise self._cut(Fault.TRUNCATED)
        return frames or None

    def _stalled_s(self) -> float:
        """When no byte has come for too long, monotonic seconds."""
        return self._received_s + (_AFTER_STOP_S if self.observed.complete else self._policy.idle_timeout_s)

    def _dead_s(self) -> float:
        """When nothing but pings has come for too long, or the whole has lasted too long."""
        return min(self._progress_s + self._policy.ping_only_timeout_s, self._wall_s)

    def _check_limits(self) -> None:
        """Raises StreamCut where the upstream, and not only the client, has waited long enough."""
        stalled_s, dead_s = self._stalled_s(), self._dead_s()
        if self._watch.now_s() >= min(stalled_s, dead_s):
            raise self._cut(Fault.STALLED if stalled_s <= dead_s else Fault.PING_ONLY)

    def _take(self, chunk: bytes) -> None:
        """Feed one chunk to the lane; what ends the stream waits until the frames before it have been sent."""
        self._received_s = self._watch.now_s()
        observed = self.observed
        events_before = observed.events
        try:
            self._ready += self._lane.feed(chunk)
            broken = self._lane.fault is not None
        except StreamBroken:
            broken = True
        if broken:
            if not observed.started:
                raise UpstreamFault(Fault.BROKEN_STREAM)
            self._pending = self._cut(Fault.BROKEN_STREAM)
        if observed.events != events_before:
            self._progress_s = self._received_s
        if observed.error is not None and self._pending is None:
            self._pending = self._told(observed.error)

    def _told(self, error: StreamError) -> StreamCut:
        """The upstream itself ended its answer with an error event."""
        failure = classify_event(
            error.type, error.message, error.code, kind=self._kind, now_unix_ms=self._clock.unix_ms()
        )
        if self._verbatim:
            self._ready = _masked_from_error(self._ready, self._reply.source)
            return StreamCut(failure, None)
        message = answers.scrubbed(failure, self._reply.source).message
        return StreamCut(failure, GatewayError(_STATUS_OF.get(failure.kind, 502), failure.kind, message))

    def _cut(self, fault: Fault) -> StreamCut:
        failure = classify_fault(fault)
        if fault in {Fault.STALLED, Fault.PING_ONLY}:
            return StreamCut(
                failure, GatewayError(504, ErrorKind.TIMEOUT, "The upstream stopped sending.", code="timeout")
            )
        message = "The upstream broke off before the answer was complete."
        return StreamCut(failure, GatewayError(502, ErrorKind.API, message, code="upstream_error"))


def _masked_from_error(frames: bytes, source: Source) -> bytes:
    """The same bytes, but for a key or its owner's name that the error event at their end may quote."""
    begin = max(frames.rfind(b"event: error"), 0)
    told = REDACTOR.clean(frames[begin:])
    for owner in (source.organization, source.workspace):
        if owner:
            told = told.replace(owner.encode(), b"[redacted]")
    return frames[:begin] + told
