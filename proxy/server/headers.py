"""The headers of ours that answers carry. No value a client chose gets into one unchecked."""

import re
from collections.abc import MutableMapping, Sequence
from typing import Final

from multidict import istr

from proxy.dialects.common import Dropped
from proxy.dispatch.trace import Trace
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange
from proxy.telemetry.redaction import REDACTOR

_SAFE_VALUE: Final = re.compile(r"[\x21-\x7e]{1,128}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DROPPED_MAX_BYTES: Final = 1024
_CREDENTIAL: Final = istr("x-carousel-credential")
_ATTEMPTS: Final = istr("x-carousel-attempts")
_CACHE: Final = istr("x-carousel-cache")
_MODEL: Final = istr("x-carousel-model")
_DROPPED: Final = istr("x-carousel-dropped")
_UPSTREAM_REQUEST_ID: Final = istr("x-carousel-upstream-request-id")
_HEADER_TEXT: Final = re.compile(r"[\x20-\x7e]{1,2048}")
_USUAL_VERSION: Final = "2023-06-01"
_SESSION: Final = istr("x-carousel-session")
VERSION: Final = istr("anthropic-version")
BETA: Final = istr("anthropic-beta")
CONVERSATION: Final = istr("x-carousel-conversation")


def answer_headers(headers: MutableMapping[str, str], exchange: Exchange, trace: Trace) -> None:
    """Add who answered, after how many attempts, with which model, and what was dropped."""
    attempt_headers(headers, trace)
    model = trace.model or exchange.model
    if model != exchange.envelope.model and _SAFE_VALUE.fullmatch(model):
        headers[_MODEL] = model
    if trace.dropped:
        headers[_DROPPED] = dropped_value(trace.dropped)
    if (belongs := exchange.belongs) is not None:
        if belongs.told:
            headers[CONVERSATION] = belongs.conversation
        if belongs.session:
            headers[_SESSION] = belongs.session


def attempt_headers(headers: MutableMapping[str, str], trace: Trace) -> None:
    """Add who answered, and after how many attempts."""
    headers[_CREDENTIAL] = trace.credential
    headers[_ATTEMPTS] = str(trace.attempts)
    headers[_CACHE] = trace.cache
    if trace.upstream_request_id and _REQUEST_ID.fullmatch(trace.upstream_request_id):
        headers[_UPSTREAM_REQUEST_ID] = trace.upstream_request_id


def dropped_value(dropped: Sequence[Dropped]) -> str:
    """Field paths, sorted, ASCII, 1 KB at most; a secret in a field's place is masked."""
    fields = sorted({REDACTOR.clean(item.field.encode("ascii", "replace")).decode() for item in dropped})
    value = ", ".join(field for field in fields if _SAFE_VALUE.fullmatch(field))
    if len(value) <= _DROPPED_MAX_BYTES:
        return value
    return value[: value.rindex(",", 0, _DROPPED_MAX_BYTES - 5)] + ", ..."


def forwardable(value: str | None, name: str) -> str | None:
    """A client's header that goes upstream as it is. Raises InvalidRequest when it is no printable ASCII."""
    if value is not None and value != _USUAL_VERSION and not _HEADER_TEXT.fullmatch(value):
        raise InvalidRequest(f"The header {name} holds characters that cannot be forwarded.", param=name)
    return value
