"""The one door through which a client's JSON comes in."""

import re
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import msgspec

from proxy.dialects.common import Dropped
from proxy.errors import InvalidRequest

Anything: TypeAlias = msgspec.Raw | msgspec.UnsetType
"""A field that only has to be noticed. (In a union with None, the decoder would take nothing but null.)"""

_Kind = TypeVar("_Kind")

_MESSAGE_MAX_CHARS = 200
_UNKNOWN_MAX = 32
_UNPRINTABLE = re.compile(r"[^!-+\--~]")
_MISSING = re.compile(r"^Object missing required field `(?P<name>\w+)`$")
_PATH = re.compile(r"^(?P<what>.*) - at `(?:key in )?\$(?P<path>[^`]*)`$", re.DOTALL)
# an alias that is written where it is asked for is made anew each time
_FIELDS = dict[str, msgspec.Raw]
# each of the kind it is found by, which the type of a dict cannot say
_decoders: dict[object, msgspec.json.Decoder[Any]] = {}


def decode_json(kind: type[_Kind], body: bytes | str | msgspec.Raw, *, at: str = "") -> _Kind:
    """Decode a request, or a part of one.

    Args:
        kind: what it has to be; a struct is the usual case.
        body: JSON in UTF-8.
        at: where in the request the part lies (``messages[0]``), for the error's ``param``.

    Raises:
        InvalidRequest: the body is no JSON, or a field has the wrong type. The message holds no more than 200
            characters of what the client sent.
    """
    decoder: msgspec.json.Decoder[_Kind] | None = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise invalid(error, at) from None


def invalid(error: Exception, at: str = "") -> InvalidRequest:
    """What a client is told about an error of the JSON decoder, in the part of its request called `at`."""
    if isinstance(error, RecursionError):
        return InvalidRequest("The request is nested too deeply.", param=at or None, code="invalid_json")
    if isinstance(error, msgspec.ValidationError):
        return _mistyped(str(error), at)
    # A codec's own text shows the whole input, msgspec's only a position.
    text = _short(str(error)) if isinstance(error, msgspec.DecodeError) else "it is not valid UTF-8"
    return InvalidRequest(
        f"The request body could not be parsed as JSON: {text}.", param=at or None, code="invalid_json"
    )


def is_given(value: Anything) -> bool:
    """Whether a field is there and is not null."""
    return isinstance(value, msgspec.Raw) and bytes(value) != b"null"


def unknown_fields(body: bytes, known: frozenset[str]) -> tuple[Dropped, ...]:
    """The top-level fields of a JSON object that are not among `known`, as losses to be told; 32 at most."""
    fields = decode_json(_FIELDS, body)
    if known.issuperset(fields):
        return ()
    names = (name for name in fields if name not in known)
    return tuple(Dropped(printable(name), "unknown field") for name in islice(names, _UNKNOWN_MAX))


def printable(name: str) -> str:
    """A client's own field name, made fit for a header and a log line."""
    return _UNPRINTABLE.sub("?", name)[:64]


def _mistyped(text: str, at: str) -> InvalidRequest:
    found = _PATH.match(text)
    what, path = (found["what"], found["path"]) if found else (text, "")
    if (missing := _MISSING.match(what)) is not None:
        path += "." + missing["name"]
    param = at + path if at else path.removeprefix(".")
    if not param:
        return InvalidRequest(f"Invalid request body: {_short(what)}.")
    return InvalidRequest(f"Invalid value for '{_short(param)}': {_short(what)}.", param=_short(param))


def _short(text: str) -> str:
    return text if len(text) <= _MESSAGE_MAX_CHARS else text[: _MESSAGE_MAX_CHARS - 1] + "…"
