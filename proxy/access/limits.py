"""Whether a request may begin, by how many there were: each limit is reserved from first and settled at the end.

Nothing here runs for a client that nothing limits.
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec
from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from proxy.access.budgets import Budgets
from proxy.access.rules import Rules
from proxy.access.windows import ClockedStorage, TokenWindow
from proxy.clock import Clock
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.settings import LimitSettings

_LONG_WAIT_S: Final = 60.0
_BUSY_RETRY_S: Final = 1.0
_SERVER: Final = ""
"""In a client's name's place, for what counts for the whole server."""


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


class _Line(msgspec.Struct, frozen=True):
    """How one limit stands: what it allows, what of it is left, and the seconds until all of it is."""

    limit: int
    left: int
    whole_in_s: float


class Limiter:
    """All counters of one process."""

    def __init__(self, clock: Clock, budgets: Budgets, pricing: Pricing, limits: LimitSettings) -> None:
        self._clock = clock
        self._budgets = budgets
        self._pricing = pricing
        self._server = limits
        self._requests = MovingWindowRateLimiter(ClockedStorage(clock))
        self._items: dict[int, RateLimitItemPerMinute] = {}
        self._tokens: dict[str, TokenWindow] = {}
        self._running: dict[str, int] = {}

    def admit(self, client: str, rules: Rules, ask: Ask) -> Grant:
        """Reserve for a request that is to begin, from all limits or from none.

        Raises LimitReached; InvalidRequest for one larger than a limit of tokens that is not untouched; GatewayError
        402 where the budget is spent.
        """
        token_limits = self._token_limits(client, rules) if ask.tokens else ()
        request_limits = self._request_limits(client, rules)
        self._check_concurrency(client, rules, request_limits, token_limits)
        if ask.tokens:
            self._check_budget(client, rules)
        for name, limit in token_limits:
            self._check_tokens(name, limit, ask.tokens, request_limits, token_limits)
        self._count_request(request_limits, token_limits)
        self._running[client] = self._running.get(client, 0) + 1
        windows = tuple(
            (window, window.add(ask.tokens)) for window in (self._window(name) for name, _ in token_limits)
        )
        reserved = 0
        if rules.budget_micro_usd is not None and ask.tokens:
            usage = Usage(input_tokens=ask.input_tokens, output_tokens=ask.output_tokens)
            reserved = self._pricing.assumed_micro_usd(ask.model, usage)
            self._budgets.reserve(client, rules, reserved)
        held = _Held(client, rules, ask.tokens, reserved, windows)
        headers = self._headers(request_limits, token_limits)
        return Grant(headers, lambda model, usage, partial: self._settle(held, model, usage, partial=partial))

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

    def _request_limits(self, client: str, rules: Rules) -> tuple[tuple[str, int], ...]:
        return _limits((client, rules.requests_per_minute), (_SERVER, self._server.requests_per_minute))

    def _token_limits(self, client: str, rules: Rules) -> tuple[tuple[str, int], ...]:
        return _limits((client, rules.tokens_per_minute), (_SERVER, self._server.tokens_per_minute))

    def _check_concurrency(
        self,
        client: str,
        rules: Rules,
        request_limits: tuple[tuple[str, int], ...],
        token_limits: tuple[tuple[str, int], ...],
    ) -> None:
        if rules.concurrency is not None and self._running.get(client, 0) >= rules.concurrency:
            raise LimitReached(
                f"The client key may have {rules.concurrency} requests under way at the same time, and has.",
                self._headers(request_limits, token_limits),
                retry_after_s=_BUSY_RETRY_S,
            )

    def _check_budget(self, client: str, rules: Rules) -> None:
        budget = rules.budget_micro_usd
        if budget is None or self._budgets.left(client, rules) > 0:
            return
        if self._budgets.spent(client, rules) < budget:
            raise LimitReached(
                "What is left of the client key's budget is set apart for its requests under way.",
                {},
                retry_after_s=_BUSY_RETRY_S,
            )
        raise GatewayError(
            402,
            ErrorKind.BILLING,
            f"The client key has spent its budget of {budget / 1e6:.2f} USD ({rules.period}).",
            code="insufficient_quota",
            retry_after_s=self._budgets.next_period_s(client, rules),
            should_retry=False,
        )

    def _check_tokens(
        self,
        name: str,
        limit: int,
        tokens: int,
        request_limits: tuple[tuple[str, int], ...],
        token_limits: tuple[tuple[str, int], ...],
    ) -> None:
        window = self._window(name)
        used = window.used()
        if used + tokens <= limit or used < 1:
            return
        whose = "the server (TOKENS_PER_MINUTE)" if name is _SERVER else "the client key"
        if tokens > limit:
            raise InvalidRequest(
                f"The request has about {tokens} tokens, and {whose} is limited to {limit} tokens a minute: "
                "it can run only in a minute without any other.",
                code="tokens_per_minute_exceeded",
            )
        wait_s = window.wait_s(tokens, limit)
        raise LimitReached(
            f"The limit of {limit} tokens a minute of {whose} is reached. "
            f"Try again in {math.ceil(wait_s)} seconds.",
            self._headers(request_limits, token_limits),
            retry_after_s=wait_s,
        )

    def _count_request(
        self, request_limits: tuple[tuple[str, int], ...], token_limits: tuple[tuple[str, int], ...]
    ) -> None:
        for name, limit in request_limits:
            if not self._requests.test(self._item(limit), name):
                wait_s = self._requests_line(name, limit).whole_in_s
                whose = "the server (REQUESTS_PER_MINUTE)" if name is _SERVER else "the client key"
                raise LimitReached(
                    f"The limit of {limit} requests a minute of {whose} is reached. "
                    f"Try again in {math.ceil(wait_s)} seconds.",
                    self._headers(request_limits, token_limits),
                    retry_after_s=wait_s,
                )
        for name, limit in request_limits:
            self._requests.hit(self._item(limit), name)

    def _headers(
        self, request_limits: tuple[tuple[str, int], ...], token_limits: tuple[tuple[str, int], ...]
    ) -> dict[str, str]:
        """Of each sort the limit with the least left. Source: "Rate limits" in OpenAI's documentation."""
        lines = {
            "requests": [self._requests_line(name, limit) for name, limit in request_limits],
            "tokens": [self._tokens_line(name, limit) for name, limit in token_limits],
        }
        headers = {}
        for sort, found in lines.items():
            if found:
                line = min(found, key=lambda each: each.left)
                headers[f"x-ratelimit-limit-{sort}"] = str(line.limit)
                headers[f"x-ratelimit-remaining-{sort}"] = str(line.left)
                headers[f"x-ratelimit-reset-{sort}"] = duration(line.whole_in_s)
        return headers

    def _requests_line(self, name: str, limit: int) -> _Line:
        stats = self._requests.get_window_stats(self._item(limit), name)
        return _Line(limit, stats.remaining, max(stats.reset_time - self._clock.monotonic_s(), 0.0))

    def _tokens_line(self, name: str, limit: int) -> _Line:
        window = self._window(name)
        used = window.used()
        return _Line(limit, max(limit - math.ceil(used), 0), window.wait_s(limit, limit) if used else 0.0)

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


def _limits(*found: tuple[str, int | None]) -> tuple[tuple[str, int], ...]:
    return tuple((name, limit) for name, limit in found if limit is not None)


def counted_tokens(usage: Usage) -> int:
    """What counts against a limit of tokens: all but what was read from the cache.

    Source: "Rate limits" in Anthropic's API documentation, whose own limits count the same way.
    """
    return (usage.input_tokens or 0) + (usage.cache_creation_input_tokens or 0) + (usage.output_tokens or 0)


def duration(seconds: float) -> str:
    """Seconds as OpenAI's ``x-ratelimit-reset-*`` headers have them: ``120ms``, ``12s``, ``6m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
