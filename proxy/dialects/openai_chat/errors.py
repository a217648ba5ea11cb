"""Errors in OpenAI's envelope.

Source: "Error codes" in OpenAI's documentation. All four keys are always there; the type is never null. A 529 or
402 means nothing to OpenAI's clients, so they become the status that does.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.dialects.common import RenderedError
from proxy.dialects.sse import encode_frame
from proxy.errors import ErrorKind, GatewayError

_INVALID: Final = "invalid_request_error"
_SERVER: Final = "server_error"
_UNAVAILABLE: Final = "service_unavailable_error"
_PROMPT_TOO_LONG: Final = "prompt is too long"

KINDS: Final[Mapping[ErrorKind, tuple[int, str, str | None]]] = MappingProxyType(
    {
        ErrorKind.INVALID_REQUEST: (400, _INVALID, None),
        ErrorKind.AUTHENTICATION: (401, _INVALID, "invalid_api_key"),
        ErrorKind.BILLING: (429, "insufficient_quota", "insufficient_quota"),
        ErrorKind.PERMISSION: (403, "permission_error", None),
        ErrorKind.NOT_FOUND: (404, _INVALID, None),
        ErrorKind.REQUEST_TOO_LARGE: (413, _INVALID, "request_too_large"),
        ErrorKind.RATE_LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
        ErrorKind.API: (500, _SERVER, None),
        ErrorKind.TIMEOUT: (504, _SERVER, "timeout"),
        ErrorKind.OVERLOADED: (503, _UNAVAILABLE, "server_is_overloaded"),
    }
)
"""For each kind: the usual status, ``error.type``, and the ``error.code`` when the error names none."""

_STATUSES: Final[Mapping[int, int]] = MappingProxyType({402: 429, 529: 503})


class ToldError(msgspec.Struct):
    """An error in OpenAI's words."""

    message: str
    type: str
    param: str | None
    code: str | None


class _Envelope(msgspec.Struct):
    error: ToldError
    request_id: str


def render_error(error: GatewayError, request_id: str) -> RenderedError:
    """See `proxy.dialects.common.Dialect.render_error`."""
    return RenderedError(_STATUSES.get(error.status, error.status), _body(error, request_id))


def error_frame(error: GatewayError, request_id: str) -> bytes:
    """See `proxy.dialects.common.Dialect.error_frame`."""
    return encode_frame(_body(error, request_id))


def _body(error: GatewayError, request_id: str) -> bytes:
    return msgspec.json.encode(_Envelope(error_of(error), request_id))


def error_of(error: GatewayError) -> ToldError:
    """An error without the envelope around it."""
    _, kind, code = KINDS[error.kind]
    if error.kind is ErrorKind.API and error.status == 503:
        kind = _UNAVAILABLE
    elif error.kind is ErrorKind.API and error.status == 502:
        code = "upstream_error"
    elif error.kind is ErrorKind.INVALID_REQUEST and error.message.startswith(_PROMPT_TOO_LONG):
        code = "context_length_exceeded"
    return ToldError(error.message, kind, error.param, error.code or code)
