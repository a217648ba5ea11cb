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
_HEADER_TEXT: Final = re.compile(r"[\x20-\x7e]{1,2048}")
VERSION: Final = istr("anthropic-version")
BETA: Final = istr("anthropic-beta")


def answer_headers(headers: MutableMapping[str, str], exchange: Exchange, trace: Trace) -> None:
    """Add who answered, after how many attempts, with which model, and what was dropped."""
    attempt_headers(headers, trace)
    model = trace.model or exchange.model
    if model != exchange.envelope.model and _SAFE_VALUE.fullmatch(model):
        headers["x-carousel-model"] = model
    if trace.dropped:
        headers["x-carousel-dropped"] = dropped_value(trace.dropped)
    if (belongs := exchange.belongs) is not None:
        if belongs.told:
            headers["x-carousel-conversation"] = belongs.conversation
        if belongs.session:
            headers["x-carousel-session"] = belongs.session


def attempt_headers(headers: MutableMapping[str, str], trace: Trace) -> None:
    """Add who answered, and after how many attempts."""
    headers["x-carousel-credential"] = trace.credential
    headers["x-carousel-attempts"] = str(trace.attempts)
    headers["x-carousel-cache"] = "off"
    if trace.upstream_request_id and _REQUEST_ID.fullmatch(trace.upstream_request_id):
        headers["x-carousel-upstream-request-id"] = trace.upstream_request_id


def dropped_value(dropped: Sequence[Dropped]) -> str:
    """Field paths, sorted, ASCII, 1 KB at most; a secret in a field's place is masked."""
    fields = sorted({REDACTOR.clean(item.field.encode("ascii", "replace")).decode() for item in dropped})
    value = ", ".join(field for field in fields if _SAFE_VALUE.fullmatch(field))
    if len(value) <= _DROPPED_MAX_BYTES:
        return value
    return value[: value.rindex(",", 0, _DROPPED_MAX_BYTES - 5)] + ", ..."


def forwardable(value: str | None, name: str) -> str | None:
    """A client's header that goes upstream as it is. Raises InvalidRequest when it is no printable ASCII."""
    if value is not None and not _HEADER_TEXT.fullmatch(value):
        raise InvalidRequest(f"The header {name} holds characters that cannot be forwarded.", param=name)
    return value
