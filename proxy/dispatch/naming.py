"""What the client that asked calls a field of the request, once that has become one of the Messages API."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.dialects.common import Dropped
from proxy.dialects.openai_chat import FIELDS, told_field
from proxy.dialects.openai_responses import NAMED
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange

_NAMES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({"openai_responses": NAMED})
"""What the fields of the Messages API are called in a dialect; the others are forms of Chat Completions."""


def refused_by_name(exchange: Exchange, refused: InvalidRequest) -> InvalidRequest:
    """The same refusal in its client's words: the Messages envelope has no place for the field but the message."""
    field = refused.param
    if field is None:
        return refused
    if exchange.dialect.name == "anthropic":
        return InvalidRequest(f"{field}: {refused.message}", param=field, code=refused.code)
    return InvalidRequest(refused.message, param=_named(exchange, field), code=refused.code)


def dropped_by_name(exchange: Exchange, dropped: tuple[Dropped, ...]) -> tuple[Dropped, ...]:
    """The same losses under the names their client gave them; of messages only a part is ever lost."""
    if exchange.dialect.name == "anthropic":
        return dropped
    return tuple(
        one if one.field.startswith("messages") else Dropped(_named(exchange, one.field), one.reason)
        for one in dropped
    )


def _named(exchange: Exchange, field: str) -> str:
    return told_field(field, _NAMES.get(exchange.dialect.name, FIELDS)) or field
