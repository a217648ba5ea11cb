"""Whether a request may begin, by how many there were: each limit is reserved from first and settled at the end.

Nothing here runs for a client that nothing limits.
"""

import math
from typing import Final

import msgspec

from proxy.access.budgets import Budgets
from proxy.access.meters import Meter, Meters, RequestLimit, TokenLimit
from proxy.access.rules import Rules
from proxy.clock import Clock
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.settings import LimitSettings

_LONG_WAIT_S: Final = 60.0
_BUSY_RETRY_S: Final = 1.0
_NOTHING_USED: Final = Usage()


class Ask(msgspec.Struct, frozen=True):
    """What a request will probably use.

    Attributes:
        model: the id to ask upstream.
        input_tokens: of the question; 0 where nothing is to be answered.
        output_tokens: of the answer.
    """

    model: str
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.input_tokens + self.output_tokens


class LimitReached(GatewayError):
    """A limit of the client or of the server is reached; `headers` say how they stand."""

    def __init__(self, message: str, headers: dict[str, str], *, retry_after_s: float) -> None:
        super().__init__(
            429,
            ErrorKind.RATE_LIMIT,
            message,
            code="rate_limit_exceeded",
            retry_after_s=retry_after_s,
            should_retry=False if retry_after_s > _LONG_WAIT_S else None,
        )
        self.headers = headers


class Grant:
    """Leave for one request to run, to be settled once when it has ended.

    Attributes:
        headers: how the limits stand, for the answer.
    """

    __slots__ = ("_bucket", "_limiter", "_meter", "_micro_usd", "_tokens", "headers")

    def __init__(
        self,
        limiter: "Limiter",
        meter: Meter,
        headers: dict[str, str],
        reserved: tuple[int, int, int],
    ) -> None:
        """`reserved` are tokens, the bucket of each window they went to, and millionths of a US dollar."""
        self.headers = headers
        self._limiter: Limiter | None = limiter
        self._meter = meter
        self._tokens, self._bucket, self._micro_usd = reserved

    def settle(self, model: str, usage: Usage | None, *, partial: bool) -> None:
        """The request has ended. Raises RuntimeError the second time.

        Args:
            model: the id that was asked upstream.
            usage: what the upstream told; None where nothing was used, or nothing was told.
            partial: whether the answer broke off or told too little: then no less than was reserved is counted.
        """
        limiter, meter = self._limiter, self._meter
        if limiter is None:
            raise RuntimeError("a grant was settled before")
        self._limiter = None
        limiter.leave(meter.client)
        used = usage or _NOTHING_USED
        if self._tokens and meter.tokens:
            limiter.correct(meter, self._bucket, self._tokens, counted_tokens(used), partial=partial)
        if meter.rules.budget_micro_usd is not None:
            limiter.pay(meter, self._micro_usd, model, used, partial=partial)


class Limiter:
    """All counters of one process."""

    def __init__(self, clock: Clock, budgets: Budgets, pricing: Pricing, limits: LimitSettings) -> None:
        self._clock = clock
        self._budgets = budgets
        self._pricing = pricing
        self._meters = Meters(limits)
        self._running: dict[str, int] = {}

    def admit(self, client: str, rules: Rules, ask: Ask) -> Grant:
        """Reserve for a request that is to begin, from all limits or from none.

        Raises LimitReached; InvalidRequest for one larger than a limit of tokens that is not untouched; GatewayError
        402 where the budget is spent.
        """
        meter, now_s, tokens = self._meters.of(client, rules), self._clock.monotonic_s(), ask.tokens
        running = self._running.get(client, 0)
        if rules.concurrency is not None and running >= rules.concurrency:
            raise LimitReached(
                f"The client key may have {rules.concurrency} requests under way at the same time, and has.",
                meter.headers(now_s, tokens=tokens > 0),
                retry_after_s=_BUSY_RETRY_S,
            )
        pays = tokens > 0 and rules.budget_micro_usd is not None
        if pays and self._budgets.left(client, rules) <= 0:
            raise self._nothing_left(client, rules)
        if tokens:
            for each in meter.tokens:
                used = each.window.used(now_s)
                if used + tokens > each.limit and used >= 1:
                    raise _tokens_reached(meter, each, tokens, now_s)
        for other in meter.requests:
            if other.window.used(now_s) >= other.limit:
                raise _requests_reached(meter, other, tokens, now_s)
        self._running[client] = running + 1
        return Grant(self, meter, *self._reserve(meter, ask, tokens, now_s, pays=pays))

    def _reserve(
        self, meter: Meter, ask: Ask, tokens: int, now_s: float, *, pays: bool
    ) -> tuple[dict[str, str], tuple[int, int, int]]:
        """Count a request that is let in. Returns how the limits stand then, and what a grant has to know."""
        bucket = micro_usd = 0
        for each in meter.requests:
            each.window.add(now_s)
        if tokens:
            for other in meter.tokens:
                bucket = other.window.add(tokens, now_s)
        if pays:
            micro_usd = self._pricing.expected_micro_usd(ask.model, ask.input_tokens, ask.output_tokens)
            self._budgets.reserve(meter.client, meter.rules, micro_usd)
        return meter.headers(now_s, tokens=tokens > 0), (tokens, bucket, micro_usd)

    def leave(self, client: str) -> None:
        """A request of a client is not under way any more."""
        self._running[client] -= 1

    def correct(self, meter: Meter, bucket: int, reserved: int, used: int, *, partial: bool) -> None:
        """Count the tokens a request used in place of the reserved ones; never fewer than those, if `partial`."""
        difference = used - reserved
        if difference > 0 or (difference and not partial):
            now_s = self._clock.monotonic_s()
            for each in meter.tokens:
                each.window.correct(bucket, difference, now_s)

    def pay(self, meter: Meter, reserved: int, model: str, usage: Usage, *, partial: bool) -> None:
        """Charge a budget for what a request used; never less than the micro-dollars `reserved`, if `partial`."""
        cost = self._pricing.assumed_micro_usd(model, usage)
        if partial and cost < reserved:
            cost = reserved
        self._budgets.settle(meter.client, meter.rules, reserved, cost)

    def _nothing_left(self, client: str, rules: Rules) -> GatewayError:
        budget = rules.budget_micro_usd or 0
        if self._budgets.spent(client, rules) < budget:
            return LimitReached(
                "What is left of the client key's budget is set apart for its requests under way.",
                {},
                retry_after_s=_BUSY_RETRY_S,
            )
        return GatewayError(
            402,
            ErrorKind.BILLING,
            f"The client key has spent its budget of {budget / 1e6:.2f} USD ({rules.period}).",
            code="insufficient_quota",
            retry_after_s=self._budgets.next_period_s(client, rules),
            should_retry=False,
        )


def _tokens_reached(meter: Meter, reached: TokenLimit, tokens: int, now_s: float) -> GatewayError:
    limit, whose = reached.limit, reached.whose
    if tokens > limit:
        return InvalidRequest(
            f"The request has about {tokens} tokens, and {whose} is limited to {limit} tokens a minute: "
            "it can run only in a minute without any other.",
            code="tokens_per_minute_exceeded",
        )
    wait_s = reached.window.wait_s(tokens, limit, now_s)
    return LimitReached(
        f"The limit of {limit} tokens a minute of {whose} is reached. Try again in {math.ceil(wait_s)} seconds.",
        meter.headers(now_s, tokens=True),
        retry_after_s=wait_s,
    )


def _requests_reached(meter: Meter, reached: RequestLimit, tokens: int, now_s: float) -> LimitReached:
    wait_s = reached.window.wait_s(now_s)
    return LimitReached(
        f"The limit of {reached.limit} requests a minute of {reached.whose} is reached. "
        f"Try again in {math.ceil(wait_s)} seconds.",
        meter.headers(now_s, tokens=tokens > 0),
        retry_after_s=wait_s,
    )


def counted_tokens(usage: Usage) -> int:
    """What counts against a limit of tokens: all but what was read from the cache.

    Source: "Rate limits" in Anthropic's API documentation, whose own limits count the same way.
    """
    return (usage.input_tokens or 0) + (usage.cache_creation_input_tokens or 0) + (usage.output_tokens or 0)
