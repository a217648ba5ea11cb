"""What a client's rules mean for one exchange: may it be asked at all, and what does it count for."""

from typing import Final

from proxy.access import Ask, Grant, Reservation, Rules
from proxy.access.estimate import batch_tokens, input_tokens, output_tokens
from proxy.dispatch import answers
from proxy.dispatch.trace import SUCCESS, Trace
from proxy.exchange import Exchange, Operation
from proxy.server.context import Caller, Services

_MESSAGES: Final = Operation.MESSAGES
"""At hand: to look up a member of an enumeration costs as much as three other names."""


def admitted(exchange: Exchange, caller: Caller, rules: Rules) -> Grant | Reservation:
    """Hold an exchange to its client's rules, and reserve what it will probably use.

    Raises GatewayError 403 for a model the client may not ask for, and what `Limiter.admit` raises.
    """
    if rules.models:
        if not rules.permits(exchange.model):
            raise answers.model_not_allowed(exchange.envelope.model or exchange.model, rules.models)
        exchange.permits = rules.permits
    if rules.credentials:
        exchange.credentials = rules.credentials
    services = caller.services
    if rules.budget_micro_usd is not None:
        exchange.rewritten = counted = True
    else:
        exchange.rewritten = rules.reads_model
        counted = rules.counts_tokens or counts_batches(services)
    if counted and exchange.operation is _MESSAGES:
        asked, answered = input_tokens(exchange.body), output_tokens(exchange.envelope.max_tokens)
        ask = Ask(exchange.model, asked, answered, exchange.created_s * 1000)
    else:
        ask = Ask(exchange.model)
    return services.admission.admit(caller.client, rules, ask)


def admitted_object(caller: Caller, rules: Rules, *, batch_bytes: int | None = None) -> Grant | Reservation:
    """The same for a request about files or batches; of those only the making of a batch uses tokens.

    What a batch asks for is read no further than for its size, so a key whose models, tokens or budget are limited
    makes none. Raises GatewayError 403 for that, and what `Limiter.admit` raises.

    Args:
        caller: who asks.
        rules: of the caller.
        batch_bytes: length of the batch that is to be made, 0 where it is not known; None where none is made.
    """
    ask = Ask("")
    if batch_bytes is not None:
        if rules.reads_model or rules.counts_tokens:
            raise answers.no_batches_allowed()
        if counts_batches(caller.services):
            ask = Ask("", batch_tokens(batch_bytes))
    return caller.services.admission.admit(caller.client, rules, ask)


def counts_batches(services: Services) -> bool:
    """Whether it matters how large batches are."""
    return services.settings.limits.tokens_per_minute is not None


def settle(grant: Grant, exchange: Exchange, trace: Trace, ended_unix_ms: int) -> None:
    """An exchange has ended, however it did: count what was used.

    An answer that broke off, or whose upstream told no numbers, counts for no less than what was reserved.
    """
    usage = trace.usage
    if usage is not None and usage.output_tokens is not None and trace.outcome == SUCCESS:
        partial = False
    else:
        partial = trace.attempts > len(trace.failed) and exchange.operation is _MESSAGES
    grant.settle(trace.model or exchange.model, usage, partial, ended_unix_ms)
