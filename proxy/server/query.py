"""Query parameters, refused by name where they make no sense."""

from collections.abc import Collection
from typing import Final

from aiohttp import web

from proxy.dialects.decoding import printable
from proxy.errors import InvalidRequest

_TEXT_MAX: Final = 128


def demand_known(request: web.Request, known: Collection[str]) -> None:
    """Raises InvalidRequest for a parameter that is not `known`, and for one that is there twice."""
    query = request.query
    for name in query:
        if name not in known:
            shown = printable(name)
            raise InvalidRequest(f"{shown} is no parameter here: {', '.join(known)}.", param=shown)
        if len(query.getall(name)) > 1:
            raise InvalidRequest(f"{name} was given twice.", param=name)


def number(request: web.Request, name: str, *, default: int, most: int) -> int:
    """A whole number from 1 to `most`; `default` where it is not given. Raises InvalidRequest."""
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        raise InvalidRequest(f"{name} must be a whole number from 1 to {most}.", param=name)
    return int(text)


def word(request: web.Request, name: str) -> str | None:
    """1 to 128 printable characters; None where it is not given. Raises InvalidRequest."""
    text = request.query.get(name)
    if text is not None and not (1 <= len(text) <= _TEXT_MAX and text.isprintable()):
        raise InvalidRequest(f"{name} must be 1 to {_TEXT_MAX} printable characters.", param=name)
    return text
