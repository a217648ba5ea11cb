"""Whether a request may begin, by how many there were: each limit is reserved from first and settled at the end.

Nothing here runs for a client that nothing limits.
"""

import math
from collections.abc import Callable

import msgspec
from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from proxy.access.budgets import Budgets
from proxy.access.refusals import (
    SERVER,
    Line,
    budget_reserved,
    budget_spent,
    concurrency_reached,
    limit_headers,
    requests_reached,
    tokens_reached,
    too_many_tokens,
)
from proxy.access.rules import Rules
from proxy.access.windows import ClockedStorage, TokenWindow
from proxy.clock import Clock
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.settings import LimitSettings


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


class Grant:
    """Leave for one request to run, to be settled once when it has ended.

    Attributes:
        headers: how the limits stand, for the answer.
    """

    __slots__ = ("_settle", "headers")

    def __init__(self, headers: dict[str, str], settle: Callable[[str, Usage | None, bool], None]) -> None:
        self.headers = headers
        self._settle: Callable[[str, Usage | None, bool], None] | None = settle

    def settle(self, model: str, usage: Usage | None, *, partial: bool) -> None:
        """The request has ended. Raises RuntimeError the second time.

        Args:
            model: the id that was asked upstream.
            usage: what the upstream told; None where nothing was used, or nothing was told.
            partial: whether the answer broke off or told too little: then no less than was reserved is counted.
        """
        if self._settle is None:
            raise RuntimeError("a grant was settled before")
        settle, self._settle = self._settle, None
        settle(model, usage, partial)


class _Held(msgspec.Struct, frozen=True):
    """What a grant has reserved."""

    client: str
    rules: Rules
    tokens: int
    micro_usd: int
    windows: tuple[tuple[TokenWindow, int], ...]


class Limits(msgspec.Struct, frozen=True):
    """The limits a request is counted against, by the name of whose they are: the client, or the server."""

    requests: tuple[tuple[str, int], ...]
    tokens: tuple[tuple[str, int], ...]


class Limiter:
    """All counters of one process."""

    def __init__(self, clock: Clock, budgets: Budgets, pricing: Pricing, limits: LimitSettings) -> None:
        self._clock = clock
        self._budgets = budgets
        self._pricing = pricing
        self._server = limits
        self._storage = ClockedStorage(clock)
        self._requests = MovingWindowRateLimiter(self._storage)
        self._items: dict[int, RateLimitItemPerMinute] = {}
        self._tokens: dict[str, TokenWindow] = {}
        self._running: dict[str, int] = {}

    def admit(self, client: str, rules: Rules, ask: Ask, *, share: int = 1) -> Grant:
        """Reserve for a request that is to begin, from all limits or from none.

        `share` divides what is a minute's or is held at the same time, where others let in the rest of it.

        Raises LimitReached; InvalidRequest for one larger than a limit of tokens that is not untouched; GatewayError
        402 where the budget is spent.
        """
        limits = limits_of(client, rules, self._server, ask, share=share)
        concurrency = None if rules.concurrency is None else max(rules.concurrency // share, 1)
        self._check_concurrency(client, concurrency, limits)
        if ask.tokens:
            self._check_budget(client, rules)
        for name, limit in limits.tokens:
            self._check_tokens(name, limit, ask.tokens, limits)
        self._count_request(limits)
        self._running[client] = self._running.get(client, 0) + 1
        windows = tuple(
            (window, window.add(ask.tokens)) for window in (self._window(name) for name, _ in limits.tokens)
        )
        reserved = reserved_micro_usd(self._pricing, rules, ask)
        if reserved:
            self._budgets.reserve(client, rules, reserved)
        held = _Held(client, rules, ask.tokens, reserved, windows)
        return Grant(
            self._headers(limits),
            lambda model, usage, partial: self._settle(held, model, usage, partial=partial),
        )

    def note(self, client: str, rules: Rules, ask: Ask, *, share: int) -> None:
        """Count a request that all processes together have let in, for when this one has to decide by itself."""
        limits = limits_of(client, rules, self._server, ask, share=share)
        for name, limit in limits.requests:
            item = self._item(limit)
            self._storage.incr(item.key_for(name), item.get_expiry())
        for name, _ in limits.tokens:
            self._window(name).add(ask.tokens)

    def _settle(self, held: _Held, model: str, usage: Usage | None, *, partial: bool) -> None:
        self._running[held.client] -= 1
        used = usage or Usage()
        tokens = counted_tokens(used)
        least = held.tokens if partial else 0
        for window, bucket in held.windows:
            window.correct(bucket, max(tokens, least) - held.tokens)
        if held.rules.budget_micro_usd is not None:
            cost = self._pricing.assumed_micro_usd(model, used)
            least = held.micro_usd if partial else 0
            self._budgets.settle(held.client, held.rules, held.micro_usd, max(cost, least))

    def _check_concurrency(self, client: str, concurrency: int | None, limits: Limits) -> None:
        if concurrency is not None and self._running.get(client, 0) >= concurrency:
            raise concurrency_reached(concurrency, self._headers(limits))

    def _check_budget(self, client: str, rules: Rules) -> None:
        budget = rules.budget_micro_usd
        if budget is None or self._budgets.left(client, rules) > 0:
            return
        if self._budgets.spent(client, rules) < budget:
            raise budget_reserved()
        raise budget_spent(rules, self._budgets.next_period_s(client, rules))

    def _check_tokens(self, name: str, limit: int, tokens: int, limits: Limits) -> None:
        window = self._window(name)
        used = window.used()
        if used + tokens <= limit or used < 1:
            return
        if tokens > limit:
            raise too_many_tokens(tokens, name, limit)
        raise tokens_reached(name, limit, window.wait_s(tokens, limit), self._headers(limits))

    def _count_request(self, limits: Limits) -> None:
        for name, limit in limits.requests:
            if not self._requests.test(self._item(limit), name):
                wait_s = self._requests_line(name, limit).whole_in_s
                raise requests_reached(name, limit, wait_s, self._headers(limits))
        for name, limit in limits.requests:
            self._requests.hit(self._item(limit), name)

    def _headers(self, limits: Limits) -> dict[str, str]:
        return limit_headers(
            {
                "requests": [self._requests_line(name, limit) for name, limit in limits.requests],
                "tokens": [self._tokens_line(name, limit) for name, limit in limits.tokens],
            }
        )

    def _requests_line(self, name: str, limit: int) -> Line:
        stats = self._requests.get_window_stats(self._item(limit), name)
        return Line(limit, stats.remaining, max(stats.reset_time - self._clock.monotonic_s(), 0.0))

    def _tokens_line(self, name: str, limit: int) -> Line:
        window = self._window(name)
        used = window.used()
        return Line(limit, max(limit - math.ceil(used), 0), window.wait_s(limit, limit) if used else 0.0)

    def _item(self, limit: int) -> RateLimitItemPerMinute:
        item = self._items.get(limit)
        if item is None:
            item = self._items[limit] = RateLimitItemPerMinute(limit)
        return item

    def _window(self, name: str) -> TokenWindow:
        window = self._tokens.get(name)
        if window is None:
            window = self._tokens[name] = TokenWindow(self._clock)
        return window


def limits_of(client: str, rules: Rules, server: LimitSettings, ask: Ask, *, share: int = 1) -> Limits:
    """Which limits a request is counted against; one without tokens against none of those."""
    tokens = _shared(share, (client, rules.tokens_per_minute), (SERVER, server.tokens_per_minute))
    return Limits(
        _shared(share, (client, rules.requests_per_minute), (SERVER, server.requests_per_minute)),
        tokens if ask.tokens else (),
    )


def _shared(share: int, *found: tuple[str, int | None]) -> tuple[tuple[str, int], ...]:
    return tuple((name, max(limit // share, 1)) for name, limit in found if limit is not None)


def reserved_micro_usd(pricing: Pricing, rules: Rules, ask: Ask) -> int:
    """What is to be set apart for a request, in millionths of a US dollar; 0 where there is no budget."""
    if rules.budget_micro_usd is None or not ask.tokens:
        return 0
    usage = Usage(input_tokens=ask.input_tokens, output_tokens=ask.output_tokens)
    return pricing.assumed_micro_usd(ask.model, usage)


def counted_tokens(usage: Usage) -> int:
    """What counts against a limit of tokens: all but what was read from the cache.

    Source: "Rate limits" in Anthropic's API documentation, whose own limits count the same way.
    """
    return (usage.input_tokens or 0) + (usage.cache_creation_input_tokens or 0) + (usage.output_tokens or 0)
