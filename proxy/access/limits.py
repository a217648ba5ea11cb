"""Whether a request may begin, by how many there were: each limit is reserved from first and settled at the end.

Nothing here runs for a client that nothing limits.
"""

import msgspec

from proxy.access.budgets import Budgets
from proxy.access.meters import Meter, Meters
from proxy.access.refusals import budget_reserved, budget_spent, concurrency_reached, headers_of
from proxy.access.rules import Rules
from proxy.clock import Clock
from proxy.errors import GatewayError
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.settings import LimitSettings


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What a request will probably use.

    Attributes:
        model: the id to ask upstream.
        input_tokens: of the question; 0 where nothing is to be answered.
        output_tokens: of the answer.
        at_unix_ms: when it is asked, to the second; None where the clock is still to be read.
    """

    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    at_unix_ms: int | None = None

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.input_tokens + self.output_tokens


class Grant(msgspec.Struct, gc=False):
    """Leave for one request to run, to be settled once when it has ended.

    Attributes:
        unsettled: whether it is still to be settled.
    """

    unsettled: bool

    @property
    def fields(self) -> str:
        """How the limits stand, as lines of the answer's head."""
        raise NotImplementedError  # a struct's metaclass leaves no room for the one of abstract classes

    @property
    def headers(self) -> dict[str, str]:
        """The same fields by their names."""
        return headers_of(self.fields)

    def settle(self, model: str, usage: Usage | None, partial: bool, at_unix_ms: int | None = None) -> None:
        """The request has ended. Raises RuntimeError the second time.

        Args:
            model: the id that was asked upstream.
            usage: what the upstream told; None where nothing was used, or nothing was told.
            partial: whether the answer broke off or told too little: then no less than was reserved is counted.
            at_unix_ms: when it has ended; None where the clock is still to be read.
        """
        raise NotImplementedError


class _OwnGrant(Grant, gc=False):
    """Leave by the counters of this process.

    Reserved are tokens, in the bucket of each window they went to, and millionths of a US dollar.
    """

    fields: str
    _limiter: "Limiter"
    _meter: Meter
    _tokens: int
    _bucket: int
    _micro_usd: int

    def settle(self, model: str, usage: Usage | None, partial: bool, at_unix_ms: int | None = None) -> None:
        """See `Grant.settle`."""
        if not self.unsettled:
            raise settled_before()
        self.unsettled = False
        meter, limiter = self._meter, self._limiter
        meter.places.taken -= 1
        if self._tokens:
            difference = (counted_tokens(usage) if usage is not None else 0) - self._tokens
            if difference > 0 or (difference and not partial):
                now_s, bucket = limiter.clock.monotonic_s(), self._bucket
                for each in meter.tokens:
                    window = each.window
                    if bucket == window.number and now_s < window.fresh_until_s:
                        window.current += difference
                    else:
                        window.correct(bucket, difference, now_s)
        if meter.rules.budget_micro_usd is not None:
            cost = limiter.pricing.assumed_micro_usd(model, usage) if usage is not None else 0
            if partial and cost < self._micro_usd:
                cost = self._micro_usd
            account = meter.account or limiter.budgets.account(meter.client, meter.rules)
            limiter.budgets.pay(account, self._micro_usd, cost, at_unix_ms or limiter.clock.unix_ms())


class Limiter:
    """All counters of one process.

    Attributes:
        clock: the time.
        budgets: what clients have spent.
        pricing: what answers cost.
        share: by what that is divided which is a minute's or is held at the same time, as others let in the rest of it.
    """

    def __init__(self, clock: Clock, budgets: Budgets, pricing: Pricing, limits: LimitSettings) -> None:
        self.clock = clock
        self.budgets = budgets
        self.pricing = pricing
        self.share = 1
        self._meters = Meters(limits)

    def admit(self, client: str, rules: Rules, ask: Ask) -> Grant:
        """Reserve for a request that is to begin, from all limits or from none.

        Raises LimitReached; InvalidRequest for one larger than a limit of tokens that is not untouched; GatewayError
        402 where the budget is spent.
        """
        meter, now_s = self._meters.made.get(client), self.clock.monotonic_s()
        if meter is None or meter.rules is not rules or meter.share != self.share:
            meter = self._meters.meter_of(client, rules, self.share)
        tokens, places = ask.input_tokens + ask.output_tokens, meter.places
        if meter.concurrency is not None and places.taken >= meter.concurrency:
            raise concurrency_reached(meter.concurrency, meter.fields(now_s, tokens=tokens > 0))
        account, budget, micro_usd = None, rules.budget_micro_usd, 0
        if budget is not None and tokens:
            account = meter.account
            if account is None:
                account = meter.account = self.budgets.account(client, rules)
            now_ms = ask.at_unix_ms or self.clock.unix_ms()
            if not account.began_unix_ms <= now_ms < account.ends_unix_ms:
                account.begin_anew(now_ms)
            if account.spent + account.reserved >= budget:
                raise self._nothing_left(client, rules)
        fields = meter.reserve(tokens, now_s)
        places.taken += 1
        if account is not None:
            micro_usd = self.pricing.expected_micro_usd(ask.model, ask.input_tokens, ask.output_tokens)
            account.reserved += micro_usd
        return _OwnGrant(True, fields, self, meter, tokens, meter.bucket, micro_usd)

    def note(self, client: str, rules: Rules, ask: Ask) -> None:
        """Count a request that all processes together have let in, for when this one has to decide by itself."""
        meter, now_s = self._meters.meter_of(client, rules, self.share), self.clock.monotonic_s()
        for each in meter.requests:
            # nobody asks before, so that what is past has to be forgotten here
            each.window.used(now_s)
            each.window.add(now_s)
        for other in meter.tokens:
            other.window.add(ask.tokens, now_s)

    def running(self, client: str) -> int:
        """How many requests of a client this process has let in that have not ended; 0 where nothing limits it."""
        return self._meters.places(client).taken

    def _nothing_left(self, client: str, rules: Rules) -> GatewayError:
        if self.budgets.spent(client, rules) < (rules.budget_micro_usd or 0):
            return budget_reserved()
        return budget_spent(rules, self.budgets.next_period_s(client, rules))


def settled_before() -> RuntimeError:
    """What a grant that is settled a second time raises."""
    return RuntimeError("a grant was settled before")


def reserved_micro_usd(pricing: Pricing, rules: Rules, ask: Ask) -> int:
    """What is to be set apart for a request, in millionths of a US dollar; 0 where there is no budget."""
    if rules.budget_micro_usd is None or not ask.tokens:
        return 0
    return pricing.expected_micro_usd(ask.model, ask.input_tokens, ask.output_tokens)


def counted_tokens(usage: Usage) -> int:
    """What counts against a limit of tokens: all but what was read from the cache.

    Source: "Rate limits" in Anthropic's API documentation, whose own limits count the same way.
    """
    return (usage.input_tokens or 0) + (usage.cache_creation_input_tokens or 0) + (usage.output_tokens or 0)
