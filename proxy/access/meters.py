"""The limits of a minute that bind one client, its own and the server's: what counts against them, how they stand."""

from math import ceil
from typing import Final

import msgspec

from proxy.access.budgets import Account
from proxy.access.refusals import (
    SERVER,
    fields_begin,
    fields_end,
    requests_reached,
    tokens_reached,
    too_many_tokens,
)
from proxy.access.rules import Rules
from proxy.access.windows import WINDOW_S, RequestWindow, TokenWindow
from proxy.errors import GatewayError
from proxy.settings import LimitSettings

_REQUESTS: Final = "requests"
_TOKENS: Final = "tokens"
_WINDOW_S: Final = int(WINDOW_S)
_REQUESTS_ENDS: Final = tuple(fields_end(seconds, _REQUESTS) for seconds in range(_WINDOW_S + 1))
"""How the fields end where a request drops out of the window in so many seconds; spelled before an answer waits."""

_TOKENS_ENDS: Final = tuple(fields_end(_WINDOW_S + seconds, _TOKENS) for seconds in range(_WINDOW_S + 1))
"""The same where tokens have been counted in a minute of which so many seconds are left."""


class RequestLimit:
    """So many requests a minute.

    Attributes:
        limit: how many.
        name: of the client it binds, or `SERVER`.
        window: what counts against it.
        head: the lines of an answer's head that tell of it, up to what is left.
    """

    __slots__ = ("head", "limit", "name", "window")

    def __init__(self, limit: int, name: str, window: RequestWindow) -> None:
        self.limit = limit
        self.head = fields_begin(limit, _REQUESTS)
        self.name = name
        self.window = window

    def left(self, now_s: float) -> int:
        """Requests that still fit."""
        return max(self.limit - self.window.used(now_s), 0)

    def fields(self, now_s: float) -> str:
        """How it stands, as lines of an answer's head."""
        left = self.left(now_s)
        return f"{self.head}{left}{fields_end(self.window.wait_s(now_s), _REQUESTS)}"


class TokenLimit:
    """So many tokens a minute.

    Attributes:
        limit: how many.
        name: of the client it binds, or `SERVER`.
        window: what counts against it.
        head: the lines of an answer's head that tell of it, up to what is left.
        used: what counted when a request was last let in, that one included.
    """

    __slots__ = ("head", "limit", "name", "used", "window")

    def __init__(self, limit: int, name: str, window: TokenWindow) -> None:
        self.limit = limit
        self.head = fields_begin(limit, _TOKENS)
        self.name = name
        self.window = window
        self.used: float = 0

    def left(self, now_s: float) -> int:
        """Tokens that still fit."""
        return max(self.limit - ceil(self.window.used(now_s)), 0)

    def fields(self, now_s: float) -> str:
        """How it stands, as lines of an answer's head."""
        left, window = self.left(now_s), self.window
        after_s = window.began_s + WINDOW_S - now_s
        if window.current > 0:
            after_s += WINDOW_S
        elif window.previous <= 0:
            after_s = 0.0
        return f"{self.head}{left}{fields_end(after_s, _TOKENS)}"


def _requests_left(limit: RequestLimit) -> int:
    return limit.limit - len(limit.window.times_s)


def _tokens_left(limit: TokenLimit) -> int:
    left = limit.limit - limit.used
    if left <= 0:
        return 0
    return left if isinstance(left, int) else int(left)


class Places:
    """How many requests of a client are under way at the same time."""

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken = 0


class Meter:
    """What binds one client, put together once for all its requests.

    Attributes:
        client: its name.
        rules: what it may.
        share: by what its limits are divided, because others let in the rest.
        concurrency: requests at the same time; None where that is not limited.
        places: those under way.
        account: what it spends from; None before that was first needed.
        bucket: where the tokens went that were last counted; the same in all windows.
        requests: the limits of requests a minute that bind it.
        tokens: those of tokens.
        several: whether there is more than one of a sort.
    """

    __slots__ = (
        "account",
        "bucket",
        "client",
        "concurrency",
        "places",
        "requests",
        "rules",
        "several",
        "share",
        "tokens",
    )

    def __init__(
        self,
        client: str,
        rules: Rules,
        share: int,
        places: Places,
        *,
        requests: tuple[RequestLimit, ...],
        tokens: tuple[TokenLimit, ...],
    ) -> None:
        self.client = client
        self.rules = rules
        self.share = share
        self.concurrency = None if rules.concurrency is None else max(rules.concurrency // share, 1)
        self.places = places
        self.account: Account | None = None
        self.bucket = 0
        self.requests = requests
        self.tokens = tokens
        self.several = len(requests) > 1 or len(tokens) > 1

    def reserve(self, tokens: int, now_s: float) -> str:
        """Count a request that is to begin, against all limits of a minute or against none. Returns `fields`.

        Raises LimitReached; InvalidRequest for a request larger than a limit of tokens that is not untouched.
        """
        if tokens:
            for each in self.tokens:
                window = each.window
                if now_s >= window.fresh_until_s:
                    window.catch_up(now_s)
                used = window.used(now_s) if window.previous else window.current
                if used + tokens > each.limit and used >= 1:
                    raise self._tokens_reached(each, tokens, now_s)
                each.used = used + tokens
        for other in self.requests:
            times = other.window
            if now_s >= times.drops_s:
                times.drop_old(now_s)
            if len(times.times_s) >= other.limit:
                fields = self.fields(now_s, tokens=tokens > 0)
                raise requests_reached(other.name, other.limit, times.wait_s(now_s), fields)
        return self._let_in(tokens, now_s)

    def _let_in(self, tokens: int, now_s: float) -> str:
        """The same where every limit has been found to allow it, and its window to be up to date."""
        requests, counted = self.requests, self.tokens if tokens else ()
        head = left = end = ""
        if requests:
            for each in requests:
                window = each.window
                if not window.times_s:
                    window.drops_s = now_s + WINDOW_S
                window.times_s.append(now_s)
            asked = min(requests, key=_requests_left) if self.several else requests[0]
            window = asked.window
            after_s = window.drops_s - now_s
            head, left = asked.head, str(asked.limit - len(window.times_s))
            end = _REQUESTS_ENDS[ceil(after_s)] if after_s >= 1 else fields_end(after_s, _REQUESTS)
        if not counted:
            return f"{head}{left}{end}"
        for other in counted:
            other.window.current += tokens
        told = min(counted, key=_tokens_left) if self.several else counted[0]
        bucket = told.window
        self.bucket = bucket.number
        return f"{head}{left}{end}{told.head}{_tokens_left(told)}{_TOKENS_ENDS[bucket.left_s]}"

    def fields(self, now_s: float, *, tokens: bool) -> str:
        """How the limits stand, as lines of an answer's head: of each sort the one with the least left.

        That of tokens is told only where they count.
        """
        fields = ""
        if self.requests:
            fields = min(self.requests, key=lambda limit: limit.left(now_s)).fields(now_s)
        if tokens and self.tokens:
            fields += min(self.tokens, key=lambda limit: limit.left(now_s)).fields(now_s)
        return fields

    def _tokens_reached(self, reached: TokenLimit, tokens: int, now_s: float) -> GatewayError:
        if tokens > reached.limit:
            return too_many_tokens(tokens, reached.name, reached.limit)
        wait_s = reached.window.wait_s(tokens, reached.limit, now_s)
        return tokens_reached(reached.name, reached.limit, wait_s, self.fields(now_s, tokens=True))


class Meters:
    """The meters of all clients, and what they read.

    Attributes:
        made: those there are, by the name of the client; `meter_of` makes the others.
    """

    __slots__ = ("_places", "_requests", "_server", "_tokens", "made")

    def __init__(self, limits: LimitSettings) -> None:
        self._server = limits
        self.made: dict[str, Meter] = {}
        self._places: dict[str, Places] = {}
        self._requests: dict[str, RequestWindow] = {}
        self._tokens: dict[str, TokenWindow] = {}

    def meter_of(self, client: str, rules: Rules, share: int = 1) -> Meter:
        """A client's, made anew where its rules or its share are others than last time; what was counted stays."""
        meter = self.made.get(client)
        if meter is None or meter.rules is not rules or meter.share != share:
            meter = self.made[client] = self._make(client, rules, share)
        return meter

    def places(self, client: str) -> Places:
        """A client's, the same for all its meters."""
        return self._places.setdefault(client, Places())

    def _make(self, client: str, rules: Rules, share: int) -> Meter:
        limits = limits_of(client, rules, self._server, share=share)
        return Meter(
            client,
            rules,
            share,
            self.places(client),
            requests=tuple(
                RequestLimit(limit, name, self._requests.setdefault(name, RequestWindow()))
                for name, limit in limits.requests
            ),
            tokens=tuple(
                TokenLimit(limit, name, self._tokens.setdefault(name, TokenWindow()))
                for name, limit in limits.tokens
            ),
        )


class Limits(msgspec.Struct, frozen=True):
    """The limits of a minute that bind a client, by the name of whose they are: its own, or the server's."""

    requests: tuple[tuple[str, int], ...]
    tokens: tuple[tuple[str, int], ...]


def limits_of(client: str, rules: Rules, server: LimitSettings, *, share: int = 1) -> Limits:
    """Which limits bind a client; each is at least 1, by whatever it is divided."""
    return Limits(
        _shared(share, (client, rules.requests_per_minute), (SERVER, server.requests_per_minute)),
        _shared(share, (client, rules.tokens_per_minute), (SERVER, server.tokens_per_minute)),
    )


def _shared(share: int, *found: tuple[str, int | None]) -> tuple[tuple[str, int], ...]:
    return tuple((name, max(limit // share, 1)) for name, limit in found if limit is not None)
