"""What the client that asked calls a field of the request, once that has become one of the Messages API."""

from proxy.dialects.common import Dropped
from proxy.dialects.openai_chat import chat_field
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange


def refused_by_name(exchange: Exchange, refused: InvalidRequest) -> InvalidRequest:
    """The same refusal in its client's words: the Messages envelope has no place for the field but the message."""
    field = refused.param
    if field is None:
        return refused
    if exchange.dialect.name == "anthropic":
        return InvalidRequest(f"{field}: {refused.message}", param=field, code=refused.code)
    return InvalidRequest(refused.message, param=chat_field(field) or field, code=refused.code)


def dropped_by_name(exchange: Exchange, dropped: tuple[Dropped, ...]) -> tuple[Dropped, ...]:
    """The same losses under the names their client gave them; of messages only a part is ever lost."""
    if exchange.dialect.name == "anthropic":
        return dropped
    return tuple(
        one if one.field.startswith("messages") else Dropped(chat_field(one.field) or one.field, one.reason)
        for one in dropped
    )
