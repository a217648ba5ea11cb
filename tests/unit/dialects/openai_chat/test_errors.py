"""Errors in OpenAI's envelope."""

import msgspec
import pytest

from proxy.dialects.common import Dialect
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dialects.openai_chat.errors import KINDS
from proxy.dialects.sse import SseDecoder
from proxy.errors import ErrorKind, GatewayError, NotFound, TooLarge, Unauthorized

_DIALECT: Dialect = OpenAIChatDialect()


def _error(status: int, kind: ErrorKind, message: str = "m", code: str | None = None) -> GatewayError:
    return GatewayError(status, kind, message, code=code)


_CASES = [
    (_error(400, ErrorKind.INVALID_REQUEST), 400, "invalid_request_error", None),
    (_error(400, ErrorKind.INVALID_REQUEST, code="x"), 400, "invalid_request_error", "x"),
    (
        _error(400, ErrorKind.INVALID_REQUEST, "prompt is too long: 3 tokens > 2 maximum"),
        400,
        "invalid_request_error",
        "context_length_exceeded",
    ),
    (Unauthorized("m"), 401, "invalid_request_error", "invalid_api_key"),
    (_error(402, ErrorKind.BILLING), 429, "insufficient_quota", "insufficient_quota"),
    (_error(503, ErrorKind.BILLING), 503, "insufficient_quota", "insufficient_quota"),
    (_error(403, ErrorKind.PERMISSION), 403, "permission_error", None),
    (NotFound("m", code="model_not_found"), 404, "invalid_request_error", "model_not_found"),
    (TooLarge(5), 413, "invalid_request_error", "request_too_large"),
    (_error(429, ErrorKind.RATE_LIMIT), 429, "rate_limit_error", "rate_limit_exceeded"),
    (_error(500, ErrorKind.API), 500, "server_error", None),
    (_error(502, ErrorKind.API), 502, "server_error", "upstream_error"),
    (_error(503, ErrorKind.API), 503, "service_unavailable_error", None),
    (
        _error(503, ErrorKind.OVERLOADED, code="server_shutdown"),
        503,
        "service_unavailable_error",
        "server_shutdown",
    ),
    (_error(504, ErrorKind.TIMEOUT), 504, "server_error", "timeout"),
    (_error(529, ErrorKind.OVERLOADED), 503, "service_unavailable_error", "server_is_overloaded"),
]


@pytest.mark.parametrize(("error", "status", "kind", "code"), _CASES)
def test_each_error_in_openais_words(error: GatewayError, status: int, kind: str, code: str | None) -> None:
    """All four keys, before and after the commit."""
    rendered = _DIALECT.render_error(error, "req_1")
    param = "messages" if error.message.startswith("prompt") else error.param
    expected = {
        "error": {"message": error.message, "type": kind, "param": param, "code": code},
        "request_id": "req_1",
    }
    assert (rendered.status, msgspec.json.decode(rendered.body)) == (status, expected)
    (frame,) = SseDecoder(10_000).feed(_DIALECT.error_frame(error, "req_1"))
    assert (frame.event, msgspec.json.decode(frame.data)) == ("message", expected)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("tools.0.custom.name: String should match", "tools"),
        ("messages.2.content.0: all messages must have non-empty content", "messages"),
        ("messages: at least one message is required", "messages"),
        ("system: text content blocks must be non-empty", "messages"),
        ("`temperature` is deprecated for this model.", "temperature"),
        ("`max_tokens` must be greater than `thinking.budget_tokens`.", "max_tokens"),
        ("max_tokens: 5 > 4, which is the maximum", "max_tokens"),
        ("stop_sequences: each stop sequence must contain non-whitespace", "stop"),
        ("output_config.effort: Input should be 'low'", "reasoning_effort"),
        ("output_config.format.schema: For 'object' type", "response_format"),
        ("output_config: no", None),
        ("thinking.enabled.budget_tokens: Field required", "reasoning_effort"),
        ("prompt is too long: 3 tokens > 2 maximum", "messages"),
        ("metadata.user_id: String should have at most 256 characters", "user"),
        ("This model does not support the effort parameter.", None),
        ("", None),
        ("no field of ours: at all", None),
    ],
)
def test_the_field_an_upstream_tells_of_is_named_as_its_client_knows_it(
    message: str, param: str | None
) -> None:
    """Protects clients of a translated request from having to know the upstream's API to see what was wrong."""
    error = _error(400, ErrorKind.INVALID_REQUEST, message)
    body = msgspec.json.decode(_DIALECT.render_error(error, "req_1").body)
    assert body["error"]["param"] == param
    error.param = "n"
    assert msgspec.json.decode(_DIALECT.render_error(error, "req_1").body)["error"]["param"] == "n"


def test_no_kind_is_forgotten() -> None:
    """A new kind of error has words here or the tests fail."""
    assert set(KINDS) == set(ErrorKind)


def test_the_keep_alive_is_a_comment() -> None:
    """An event without data makes OpenAI's client fail."""
    assert SseDecoder(1000).feed(_DIALECT.keep_alive) == []
    assert _DIALECT.keep_alive.endswith(b"\n\n")
