"""One upstream call: opened, and read until it is known to be real, or failed in the pool's words."""

import msgspec

from proxy.clock import Clock
from proxy.dialects.common import PLAIN_FORM, Demand, Dropped, Observed, Rendering, StreamBroken
from proxy.dialects.upstream import MessageBroken, UpstreamDialect
from proxy.dispatch.demands import is_met
from proxy.dispatch.lanes import SPOKEN, StreamLane, TranslatedLane, VerbatimLane
from proxy.dispatch.prepare import Prepared
from proxy.dispatch.recording import RecordedLane, Said, said_in, with_name
from proxy.dispatch.spelled import SpelledReply
from proxy.dispatch.streams import Frames, RunningStream, StreamCut
from proxy.dispatch.trace import Trace
from proxy.exchange import Exchange, Operation
from proxy.model.collect import Collector
from proxy.model.message import Message, Usage
from proxy.pool import (
    Failed,
    Failure,
    Fault,
    Lease,
    Outcome,
    Success,
    after_commit,
    classify,
    classify_event,
    classify_fault,
)
from proxy.settings import Policy
from proxy.telemetry.trace_context import SpanContext
from proxy.upstreams.base import ByteReply, Source, Upstream, UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.watch import Watch

_EVENT_STREAM = "text/event-stream"
_JSON = "application/json"
# every look-up of a member in its class is a call
_COUNT_TOKENS = Operation.COUNT_TOKENS


class AttemptFailed(Exception):
    """The call came to nothing the client could see.

    Attributes:
        failure: what it means.
        source: who answered, as far as known.
    """

    def __init__(self, failure: Failure, source: Source) -> None:
        super().__init__(failure.cls.value)
        self.failure = failure
        self.source = source


class UnaryOpened(msgspec.Struct):
    """A whole answer, ready to be sent.

    Attributes:
        lease: the place it came from.
        source: who answered.
        body: for the client.
        usage: what it used, so far as told.
        stop_reason: why it ended.
        lacks: what the client demanded and it does not hold.
        place_free: whether its place was given back while the question was asked once more.
        message_id: its id; empty for an answer that was translated.
        said: what it says, where that is remembered; else None.
    """

    lease: Lease
    source: Source
    body: bytes
    usage: Usage | None
    stop_reason: str | None = None
    lacks: Demand | None = None
    place_free: bool = False
    message_id: str = ""
    said: Said | None = None


class StreamOpened(msgspec.Struct):
    """A streamed answer whose first real event has come.

    Attributes:
        lease: the place it comes from.
        source: who answers.
        stream: what goes to the client.
        reply: what comes from the upstream.
        recorded: what it says, where that is remembered; else None.
    """

    lease: Lease
    source: Source
    stream: Frames
    reply: ByteReply
    recorded: RecordedLane | None = None

    @property
    def message_id(self) -> str:
        """Its id, in Anthropic's streams."""
        return self.stream.observed.message_id


def judged(opened: UnaryOpened | StreamOpened, outcome: Outcome) -> Outcome:
    """What the pool is told of an answer that has ended in `outcome`."""
    if isinstance(outcome, Failed) and isinstance(opened, StreamOpened):
        return Failed(after_commit(outcome.failure))
    if isinstance(outcome, Success):
        source = opened.reply.source if isinstance(opened, StreamOpened) else opened.source
        return outcome if source.limit is None else Success(source.limit)
    return outcome


class Attempt(msgspec.Struct, frozen=True):
    """What one upstream call needs."""

    exchange: Exchange
    prepared: Prepared
    lease: Lease
    upstream: Upstream
    policy: Policy
    clock: Clock
    watch: Watch
    trace: Trace

    async def run(self) -> UnaryOpened | StreamOpened:
        """Make the call. Raises AttemptFailed; whatever it opened is closed again then, as on cancellation."""
        stream = self.prepared.call.stream
        limit_s = self.policy.first_event_timeout_s if stream else self.policy.unary_timeout_s
        due_s = self.clock.monotonic_s() + limit_s
        try:
            call = self.prepared.call if self.trace.span is None else self._traced(self.trace.span)
            reply = await self.upstream.open(call, self.lease.credential, self.watch, limit_s)
        except UpstreamRefused as refused:
            failure = classify(refused.error, now_unix_ms=self.clock.unix_ms())
            raise AttemptFailed(failure, refused.source) from None
        except UpstreamFault as fault:
            raise AttemptFailed(classify_fault(fault.fault), Source()) from None
        try:
            if not stream:
                return await self._whole(reply, due_s)
            if self.prepared.collect and (rendering := self._rendering) is not None:
                return await self._collected(reply, due_s, rendering)
            return await self._streamed(reply, due_s)
        except UpstreamFault as fault:
            reply.close()
            raise AttemptFailed(classify_fault(fault.fault), reply.source) from None
        except BaseException:
            reply.close()
            raise

    def _traced(self, span: SpanContext) -> UpstreamCall:
        """What goes upstream in a trace, where it says which span it is."""
        traceparent = span.attempt(self.trace.attempts).traceparent
        return msgspec.structs.replace(self.prepared.call, traceparent=traceparent)

    def _left_s(self, due_s: float) -> float:
        return max(due_s - self.clock.monotonic_s(), 0.0)

    def _failed(self, fault: Fault, reply: ByteReply) -> AttemptFailed:
        return AttemptFailed(classify_fault(fault), reply.source)

    async def _whole(self, reply: ByteReply, due_s: float) -> UnaryOpened:
        body = await reply.read_all(self.watch, self._left_s(due_s))
        reply.close()
        if self.exchange.operation is _COUNT_TOKENS:
            if not body.lstrip().startswith(b"{"):
                raise self._failed(Fault.GARBAGE, reply)
            return UnaryOpened(self.lease, reply.source, body, None)
        try:
            rendering = self._rendering
            if rendering is None:
                return self._passed(body, reply)
            return self._rendered(self._spoken.decode_message(body), reply, rendering)
        except MessageBroken:
            raise self._no_message(body, reply) from None

    def _passed(self, body: bytes, reply: ByteReply) -> UnaryOpened:
        """An answer that goes to the client as it came, but for the conversation it belongs to."""
        summary = self._spoken.summarize(body)
        opened = UnaryOpened(
            self.lease,
            reply.source,
            body,
            summary.usage,
            summary.stop_reason,
            message_id=summary.message_id,
        )
        if self.exchange.belongs is not None and (conversation := self._conversation) is not None:
            opened.said = said_in(body, self._spoken)
            opened.body = with_name(body, self.exchange.dialect, conversation)
        return opened

    @property
    def _conversation(self) -> str | None:
        """The conversation this answer is a turn of; None where it is none."""
        belongs = self.exchange.belongs
        return belongs.conversation if belongs is not None and belongs.told else None

    @property
    def _rendering(self) -> Rendering | None:
        rendering = self.prepared.rendering
        if rendering is None or self.exchange.belongs is None:
            return rendering
        session = self.exchange.belongs.code_session
        return msgspec.structs.replace(rendering, conversation=self._conversation or "", session=session)

    def _no_message(self, body: bytes, reply: ByteReply) -> AttemptFailed:
        """What a body with status 200 means that is no message: the error it tells, or nothing at all."""
        told = self._spoken.decode_error(body)
        if not told.type:
            return self._failed(Fault.GARBAGE, reply)
        return self._told(told.type, told.message, told.code, reply)

    def _told(self, error_type: str, message: str, code: str | None, reply: ByteReply) -> AttemptFailed:
        """What the upstream itself calls an error, under a status that is none."""
        kind, now_unix_ms = self.lease.credential.kind, self.clock.unix_ms()
        failure = classify_event(error_type, message, code, kind=kind, now_unix_ms=now_unix_ms)
        return AttemptFailed(failure, reply.source)

    def _rendered(self, message: Message, reply: ByteReply, rendering: Rendering) -> UnaryOpened:
        body = self.exchange.dialect.encode_message(message, self._telling(rendering))
        demand = self.prepared.demand
        lacks = demand if demand is not None and not is_met(demand, message) else None
        said = Said(message, rendering.form) if rendering.conversation else None
        return UnaryOpened(
            self.lease, reply.source, body, message.usage, message.stop_reason, lacks, said=said
        )

    async def _collected(self, reply: ByteReply, due_s: float, rendering: Rendering) -> UnaryOpened:
        """Read a stream to its end for a client that wants one whole answer; all of it can still be retried."""
        if reply.content_type == _JSON:
            return await self._whole(reply, due_s)
        self._demand_event_stream(reply)
        decoder = self._spoken.stream_decoder(self.policy.event_max_bytes)
        self.trace.observed = decoder.observed
        collector = Collector()
        left_bytes = self.policy.upstream_body_max_bytes
        whole_due_s = max(due_s, self.clock.monotonic_s() + self.policy.unary_timeout_s)
        while not decoder.observed.complete:
            idle_s = self.policy.idle_timeout_s if decoder.observed.started else self._left_s(due_s)
            chunk = await self._chunk(reply, min(idle_s, self._left_s(whole_due_s)))
            left_bytes -= len(chunk)
            if left_bytes < 0:
                raise self._failed(Fault.BODY_TOO_LARGE, reply)
            if not chunk:
                raise self._failed(Fault.TRUNCATED if decoder.observed.started else Fault.EMPTY_STREAM, reply)
            try:
                for event in decoder.feed(chunk):
                    collector.add(event)
            except StreamBroken:
                raise self._failed(Fault.BROKEN_STREAM, reply) from None
            self._raise_told(decoder.observed, reply)
        reply.close()
        return self._rendered(collector.message(), reply, rendering)

    async def _streamed(self, reply: ByteReply, due_s: float) -> StreamOpened:
        if reply.content_type == _JSON:
            reply = await self._spelled(reply, due_s)
        self._demand_event_stream(reply)
        verbatim = self.prepared.rendering is None
        lane, recorded = self._lane(), None
        if self.exchange.belongs is not None and self._conversation is not None:
            lane = recorded = self._recorded(lane)
        stream = RunningStream(
            reply,
            lane,
            self.policy,
            self.clock,
            self.watch,
            verbatim=verbatim,
            kind=self.lease.credential.kind,
        )
        self.trace.observed = stream.observed
        try:
            await stream.prime(self._left_s(due_s))
        except StreamCut as cut:
            raise AttemptFailed(cut.failure, reply.source) from None
        return StreamOpened(self.lease, reply.source, stream, reply, recorded)

    async def _spelled(self, reply: ByteReply, due_s: float) -> SpelledReply:
        """Read the whole answer of an upstream that has overheard the wish for a stream."""
        body = await reply.read_all(self.watch, self._left_s(due_s))
        reply.close()
        try:
            return SpelledReply(self._spoken.spelled(body), reply.source)
        except MessageBroken:
            raise self._no_message(body, reply) from None

    async def _chunk(self, reply: ByteReply, limit_s: float) -> bytes:
        try:
            return await self.watch.within(limit_s, reply.read())
        except TimeoutError:
            raise self._failed(Fault.FIRST_EVENT_TIMEOUT, reply) from None

    def _demand_event_stream(self, reply: ByteReply) -> None:
        if reply.content_type != _EVENT_STREAM:
            raise self._failed(Fault.GARBAGE, reply)

    def _raise_told(self, observed: Observed, reply: ByteReply) -> None:
        if (told := observed.error) is not None:
            raise self._told(told.type, told.message, told.code, reply)

    @property
    def _spoken(self) -> UpstreamDialect:
        return SPOKEN[self.upstream.dialect]

    def _lane(self) -> StreamLane:
        prepared, event_max_bytes = self.prepared, self.policy.event_max_bytes
        if (rendering := self._rendering) is None:
            return VerbatimLane(event_max_bytes, self._spoken, hides_usage=prepared.hides_usage)
        encoder = self.exchange.dialect.stream_encoder(self._telling(rendering))
        return TranslatedLane(encoder, event_max_bytes, self._spoken)

    def _recorded(self, lane: StreamLane) -> RecordedLane:
        """The same lane, whose answer is remembered."""
        rendering = self.prepared.rendering
        form = PLAIN_FORM if rendering is None else rendering.form
        return RecordedLane(lane, self._spoken.stream_decoder(self.policy.event_max_bytes), form)

    def _telling(self, rendering: Rendering) -> Rendering:
        """The same, so that what the answer loses on its way is told with what the question lost."""
        return msgspec.structs.replace(rendering, tell=self._lost)

    def _lost(self, loss: Dropped) -> None:
        trace = self.trace
        if loss not in trace.dropped:
            trace.dropped = (*trace.dropped, loss)
