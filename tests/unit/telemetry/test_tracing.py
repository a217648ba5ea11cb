"""Spans of requests: their tree, their times and the names of what they tell."""

from random import Random

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from proxy.telemetry.tracing import Tracing
from tests.unit.telemetry.ended import ENDED_UNIX_MS, ended

_HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exported() -> InMemorySpanExporter:
    """Where spans go."""
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exported: InMemorySpanExporter) -> Tracing:
    """What makes them."""
    return Tracing(SimpleSpanProcessor(exported), "my-gateway", Random(0))


def traced(
    tracing: Tracing,
    exported: InMemorySpanExporter,
    *outcomes: str,
    header: str | None = None,
    **line: object,
) -> tuple[ReadableSpan, ...]:
    """The spans of one request whose attempts ended so."""
    span = tracing.begun(header)
    tracing.count([msgspec.structs.replace(ended(*outcomes, **line), span=span)])  # type: ignore[arg-type] # fields of the line
    return exported.get_finished_spans()


def test_a_request_is_a_span_and_each_upstream_call_one_below_it(
    tracing: Tracing, exported: InMemorySpanExporter
) -> None:
    """Protects the picture of a retry: who was asked when, and what came of it."""
    request, first, second = traced(tracing, exported, "rate", "success")
    assert request.context is not None
    assert request.parent is None
    assert request.kind is SpanKind.SERVER
    assert request.name == first.name == second.name == "chat claude-sonnet-5-5"
    for attempt in (first, second):
        assert attempt.parent is not None
        assert attempt.kind is SpanKind.CLIENT
        assert attempt.parent.span_id == request.context.span_id
    assert [(one.attributes or {})["carousel.credential"] for one in (first, second)] == ["api-1", "api-2"]
    assert (first.attributes or {})["error.type"] == "rate"
    assert "error.type" not in (second.attributes or {})
    codes = [one.status.status_code for one in (request, first, second)]
    assert codes == [StatusCode.UNSET, StatusCode.ERROR, StatusCode.UNSET]
    assert request.resource.attributes["service.name"] == "my-gateway"


def test_a_span_tells_models_tokens_and_times_under_the_agreed_names(
    tracing: Tracing, exported: InMemorySpanExporter
) -> None:
    """Protects dashboards for generative AI, which look for these names."""
    request, _ = traced(
        tracing,
        exported,
        "success",
        input_tokens=5,
        output_tokens=80,
        stop_reason="end_turn",
        credential="api-1",
    )
    assert dict(request.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "sonnet",
        "gen_ai.response.model": "claude-sonnet-5-5",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 1.0,
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 80,
        "gen_ai.response.finish_reasons": ("end_turn",),
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "http.response.status_code": 200,
        "carousel.request.id": "req_1",
        "carousel.client": "env-1",
        "carousel.credential": "api-1",
    }
    assert request.start_time == (ENDED_UNIX_MS - 3000) * 1_000_000
    assert request.end_time == ENDED_UNIX_MS * 1_000_000


def test_a_failed_request_says_so(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    """Protects searches for errors."""
    request, _ = traced(tracing, exported, "server", status=502)
    assert request.status.status_code is StatusCode.ERROR
    assert (request.attributes or {})["error.type"] == "502"


def test_a_request_that_could_not_be_read_has_a_span_all_the_same(
    tracing: Tracing, exported: InMemorySpanExporter
) -> None:
    """Protects against a client whose mistakes leave no trace."""
    (request,) = traced(tracing, exported, status=400, model=None, stream=None, first_ms=None)
    assert request.name == "chat"


def test_a_clients_trace_is_gone_on_with(tracing: Tracing, exported: InMemorySpanExporter) -> None:
    """Protects traces that begin in a client."""
    request, attempt = traced(tracing, exported, "success", header=_HEADER)
    assert request.parent is not None
    assert attempt.context is not None
    assert f"{request.parent.span_id:016x}" == _HEADER.split("-")[2]
    assert f"{attempt.context.trace_id:032x}" == _HEADER.split("-")[1]


def test_what_a_client_does_not_have_traced_is_not_written_down(
    tracing: Tracing, exported: InMemorySpanExporter
) -> None:
    """Protects the collector from traces that somebody has decided against."""
    assert traced(tracing, exported, "success", header=_HEADER[:-1] + "0") == ()


def test_a_request_that_began_without_traces_has_none(
    tracing: Tracing, exported: InMemorySpanExporter
) -> None:
    """Protects the first batch after a start."""
    tracing.count([ended("success")])
    assert exported.get_finished_spans() == ()
