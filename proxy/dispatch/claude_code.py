"""What is ready for Anthropic's API made ready for Claude Code, which takes less of it."""

import msgspec

from proxy.dialects.anthropic import read_messages
from proxy.dialects.common import Dropped
from proxy.dispatch.naming import dropped_by_name, refused_by_name
from proxy.dispatch.prepare import Prepared
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange, Operation
from proxy.upstreams.claude_code.carrying import lost_fields, refusal


def for_claude_code(prepared: Prepared, exchange: Exchange) -> Prepared:
    """The same for Claude Code. Raises InvalidRequest for what it cannot be asked; another credential perhaps can."""
    call = msgspec.structs.replace(prepared.call, client=exchange.client)
    prepared = msgspec.structs.replace(prepared, call=call)
    if call.operation is Operation.COUNT_TOKENS:
        return prepared
    try:
        fields = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
        messages = read_messages(call.body)
    except (ValueError, RecursionError, InvalidRequest):
        # the upstream itself says what is wrong with it
        return prepared
    if (problem := refusal(fields, messages)) is not None:
        raise refused_by_name(exchange, problem)
    lost = tuple(Dropped(name, "Claude Code sends none") for name in lost_fields(fields))
    return msgspec.structs.replace(prepared, dropped=(*prepared.dropped, *dropped_by_name(exchange, lost)))
