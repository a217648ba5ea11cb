"""Errors in OpenAI's envelope.

Source: "Error codes" in OpenAI's documentation. All four keys are always there; the type is never null. A 529 or
402 means nothing to OpenAI's clients, so they become the status that does.
"""

import re
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
_TOLD_OF: Final = re.compile(r"`?(?P<path>[a-z_]+[a-z0-9_.]*)`?(?::| )")
FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "max_tokens": "max_tokens",
        "messages": "messages",
        "metadata": "user",
        "model": "model",
        "output_config.effort": "reasoning_effort",
        "output_config.format": "response_format",
        "prompt": "messages",
        "stop_sequences": "stop",
        "system": "messages",
        "temperature": "temperature",
        "thinking": "reasoning_effort",
        "tool_choice": "tool_choice",
        "tools": "tools",
        "top_p": "top_p",
    }
)
"""Which field of a chat request became the field that the Messages API tells of at the start of its message."""

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


class ErrorEnvelope(msgspec.Struct):
    """The envelope of an error."""

    error: ToldError
    request_id: str


def render_error(error: GatewayError, request_id: str, fields: Mapping[str, str] = FIELDS) -> RenderedError:
    """See `proxy.dialects.common.Dialect.render_error`; `fields` are those of `error_of`."""
    return RenderedError(_STATUSES.get(error.status, error.status), _body(error, request_id, fields))


def error_frame(error: GatewayError, request_id: str) -> bytes:
    """See `proxy.dialects.common.Dialect.error_frame`."""
    return encode_frame(_body(error, request_id, FIELDS))


def _body(error: GatewayError, request_id: str, fields: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(ErrorEnvelope(error_of(error, fields), request_id))


def error_of(error: GatewayError, fields: Mapping[str, str] = FIELDS) -> ToldError:
    """An error without the envelope around it.

    `fields` says which field of the client's request became the one that the Messages API tells of.
    """
    _, kind, code = KINDS[error.kind]
    if error.kind is ErrorKind.API and error.status == 503:
        kind = _UNAVAILABLE
    elif error.kind is ErrorKind.API and error.status == 502:
        code = "upstream_error"
    elif error.kind is ErrorKind.INVALID_REQUEST and error.message.startswith(_PROMPT_TOO_LONG):
        code = "context_length_exceeded"
    return ToldError(error.message, kind, error.param or _param(error, fields), error.code or code)


def _param(error: GatewayError, fields: Mapping[str, str]) -> str | None:
    """The field that an upstream's refusal tells of, where it tells of one that the client's request has."""
    found = _TOLD_OF.match(error.message) if error.kind is ErrorKind.INVALID_REQUEST else None
    return None if found is None else told_field(found["path"], fields)


def told_field(path: str, fields: Mapping[str, str] = FIELDS) -> str | None:
    """The client's field that became a field of the Messages API, given by its path; None where none did."""
    first, _, rest = path.replace("[", ".").partition(".")
    return fields.get(first) or fields.get(f"{first}.{rest.partition('.')[0]}")
