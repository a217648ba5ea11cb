"""Requests as OpenTelemetry spans: one for each, and one for each upstream call made for it.

Spans are made once a request has ended, from what is kept of it, a batch at a time behind the answers; nothing of its
texts is known then. The names of attributes are OpenTelemetry's semantic conventions for generative AI and HTTP.
This module needs the packages of the extra ``opentelemetry`` and is imported only where traces are exported.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes import error_attributes as error
from opentelemetry.semconv.attributes import http_attributes as http
from opentelemetry.semconv.attributes import service_attributes as service
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import SpanContext as Parent
from opentelemetry.util.types import AttributeValue

from proxy import __version__
from proxy.settings import TracingSettings
from proxy.telemetry.metrics import route_of
from proxy.telemetry.trace_context import SpanContext, begun
from proxy.telemetry.traces import AttemptTrace, RequestTrace

_CHAT: Final = gen_ai.GenAiOperationNameValues.CHAT.value
_NS_IN_MS: Final = 1_000_000
_SUCCESS: Final = "success"
_CLAUDE: Final = "claude-"
_TRACES_PATH: Final = "/v1/traces"
_Attributes = Mapping[str, AttributeValue | None]


class _Ids(IdGenerator):
    """Gives the ids that were told upstream while the request was under way."""

    def __init__(self) -> None:
        self.span = SpanContext(1, 1, 0, sampled=True)

    def generate_span_id(self) -> int:
        """See `IdGenerator`."""
        return self.span.span_id

    def generate_trace_id(self) -> int:
        """See `IdGenerator`."""
        return self.span.trace_id


class Tracing:
    """Makes spans of requests and hands them to a processor."""

    def __init__(self, processor: SpanProcessor, service_name: str, rng: Random) -> None:
        self._ids = _Ids()
        self._rng = rng
        self._provider = TracerProvider(
            resource=Resource.create(
                {service.SERVICE_NAME: service_name, service.SERVICE_VERSION: __version__}
            ),
            sampler=ParentBased(ALWAYS_ON),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("carousel", __version__)

    @classmethod
    def exporting(cls, settings: TracingSettings, rng: Random) -> "Tracing":
        """One that sends its spans by OTLP over HTTP, in a thread of its own."""
        endpoint = settings.endpoint.rstrip("/") + _TRACES_PATH
        headers = {name: value.reveal() for name, value in settings.headers}
        exporter = OTLPSpanExporter(endpoint=endpoint, headers=headers)
        return cls(BatchSpanProcessor(exporter), settings.service_name, rng)

    def begun(self, traceparent: str | None) -> SpanContext:
        """The span of a request that begins, and came with this header."""
        return begun(traceparent, self._rng)

    def count(self, ended: Sequence[RequestTrace]) -> None:
        """Make the spans of requests that have ended."""
        for trace in ended:
            if trace.span is not None:
                self._write(trace, trace.span)

    def close(self) -> None:
        """Send what is left, and end the thread. Blocks."""
        self._provider.shutdown()

    def _write(self, trace: RequestTrace, span: SpanContext) -> None:
        line = trace.line
        began_ms = trace.ended_unix_ms - line.took_ms
        failed = line.status >= 400 or any(each.outcome == "cut" for each in trace.attempts[-1:])
        self._span(
            span,
            f"{_CHAT} {line.model}" if line.model else _CHAT,
            SpanKind.SERVER,
            (began_ms, line.took_ms),
            _of_request(trace),
            failed=failed,
        )
        for number, attempt in enumerate(trace.attempts, 1):
            self._span(
                span.attempt(number),
                f"{_CHAT} {line.model}",
                SpanKind.CLIENT,
                (began_ms + attempt.start_ms, attempt.took_ms),
                _of_attempt(attempt, line.model or ""),
                failed=attempt.outcome != _SUCCESS,
            )

    def _span(
        self,
        span: SpanContext,
        name: str,
        kind: SpanKind,
        time_ms: tuple[float, float],
        attributes: _Attributes,
        *,
        failed: bool,
    ) -> None:
        began_ms, took_ms = time_ms
        context = None
        if span.parent_id:
            flags = TraceFlags(TraceFlags.SAMPLED if span.sampled else TraceFlags.DEFAULT)
            parent = Parent(span.trace_id, span.parent_id, is_remote=True, trace_flags=flags)
            context = set_span_in_context(NonRecordingSpan(parent))
        self._ids.span = span
        made = self._tracer.start_span(
            name,
            context=context,
            kind=kind,
            start_time=int(began_ms * _NS_IN_MS),
            attributes={key: value for key, value in attributes.items() if value is not None},
        )
        if failed:
            made.set_status(Status(StatusCode.ERROR))
        made.end(int((began_ms + took_ms) * _NS_IN_MS))


def _of_request(trace: RequestTrace) -> _Attributes:
    line = trace.line
    route, _ = route_of(line.path)
    first_s = None if line.first_ms is None else line.first_ms / 1000
    return {
        gen_ai.GEN_AI_OPERATION_NAME: _CHAT,
        gen_ai.GEN_AI_PROVIDER_NAME: _provider(line.model or ""),
        gen_ai.GEN_AI_REQUEST_MODEL: trace.asked or None,
        gen_ai.GEN_AI_RESPONSE_MODEL: line.model if line.credential else None,
        gen_ai.GEN_AI_REQUEST_STREAM: line.stream,
        gen_ai.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: first_s if line.stream else None,
        gen_ai.GEN_AI_USAGE_INPUT_TOKENS: line.input_tokens,
        gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: line.output_tokens,
        gen_ai.GEN_AI_RESPONSE_FINISH_REASONS: [line.stop_reason] if line.stop_reason else None,
        http.HTTP_REQUEST_METHOD: "POST",
        http.HTTP_ROUTE: route,
        http.HTTP_RESPONSE_STATUS_CODE: line.status,
        error.ERROR_TYPE: str(line.status) if line.status >= 400 else None,
        "carousel.request.id": line.id,
        "carousel.client": line.client or None,
        "carousel.credential": line.credential,
    }


def _of_attempt(attempt: AttemptTrace, model: str) -> _Attributes:
    return {
        gen_ai.GEN_AI_OPERATION_NAME: _CHAT,
        gen_ai.GEN_AI_PROVIDER_NAME: _provider(model),
        gen_ai.GEN_AI_REQUEST_MODEL: model or None,
        http.HTTP_RESPONSE_STATUS_CODE: attempt.status or None,
        error.ERROR_TYPE: None if attempt.outcome == _SUCCESS else attempt.outcome,
        "carousel.credential": attempt.credential,
        "carousel.outcome": attempt.outcome,
    }


def _provider(model: str) -> str | None:
    """Anthropic for its own models; what stands behind another provider's address is not known."""
    return gen_ai.GenAiProviderNameValues.ANTHROPIC.value if model.startswith(_CLAUDE) else None
