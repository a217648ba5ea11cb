"""Towards Anthropic: requests out, whole answers and errors in.

Source: "Create a Message" and "Errors" in Anthropic's API documentation.
"""

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from proxy.dialects.anthropic.wire import MessageBroken, error_code
from proxy.dialects.common import ErrorFacts
from proxy.dialects.decoding import decode_json
from proxy.model.message import Usage
from proxy.model.request import Request

_encoder = msgspec.json.Encoder()


def encode_request(request: Request) -> bytes:
    """The body of a request; the same request gives the same bytes."""
    return _encoder.encode(request)


def splice(
    body: bytes,
    *,
    set: Mapping[str, bytes],  # noqa: A002 - a call reads: splice, set this, remove that
    remove: Collection[str],
) -> bytes:
    """Rewrite top-level fields of a JSON object and leave every other byte of its values alone.

    The order of the keys stays, new ones come last, and of a key that came twice only its last value remains,
    in its first place. `set` holds values as JSON. Raises InvalidRequest for a body that is no object.
    """
    fields = dict(decode_json(dict[str, msgspec.Raw], body))
    for name in remove:
        fields.pop(name, None)
    for name, value in set.items():
        fields[name] = msgspec.Raw(value)
    return _encoder.encode(fields)


class Summary(msgspec.Struct):
    """What is kept of a unary answer that passes unchanged.

    Attributes:
        type: ``message``.
        usage: what it used; None where it does not say.
        stop_reason: why it ended.
    """

    type: Literal["message"]
    usage: Usage | None = None
    stop_reason: str | None = None


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""
    details: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _WithError(msgspec.Struct):
    error: _Error | None = None


class _AnyMessage(msgspec.Struct):
    type: Literal["message"]


_summary_decoder = msgspec.json.Decoder(Summary)
_message_decoder = msgspec.json.Decoder(_AnyMessage)
_error_decoder = msgspec.json.Decoder(_WithError)


def summarize(body: bytes) -> Summary:
    """Read what is kept of a unary answer; what it tells in no known form is left out, and costs nobody the answer.

    Raises MessageBroken for a body that is no message.
    """
    try:
        return _summary_decoder.decode(body)
    except (ValueError, RecursionError):
        pass
    try:
        _message_decoder.decode(body)
    except (ValueError, RecursionError):
        raise MessageBroken("the answer is no message") from None
    return Summary("message")


def decode_error(body: bytes) -> ErrorFacts:
    """Read an error body, whatever it is: an HTML page, nothing, or JSON cut off in the middle."""
    try:
        error = _error_decoder.decode(body).error
    except (ValueError, RecursionError):
        return ErrorFacts()
    if error is None:
        return ErrorFacts()
    return ErrorFacts(error.type, error.message, error_code(error.details))
