"""The limits of a minute that bind one client, its own and the server's: what counts against them, how they stand."""

from math import ceil
from typing import Final

import msgspec

from proxy.access.refusals import SERVER, fields_begin, fields_end
from proxy.access.rules import Rules
from proxy.access.windows import WINDOW_S, RequestWindow, TokenWindow
from proxy.settings import LimitSettings

_REQUESTS: Final = "requests"
_TOKENS: Final = "tokens"
_LONGEST_S: Final = 2 * int(WINDOW_S)
"""No window takes longer to empty."""

_REQUESTS_ENDS: Final = tuple(fields_end(seconds, _REQUESTS) for seconds in range(_LONGEST_S + 1))
_TOKENS_ENDS: Final = tuple(fields_end(seconds, _TOKENS) for seconds in range(_LONGEST_S + 1))
"""Of each limit the last line for so many whole seconds, as an answer needs it that cannot wait for their spelling."""


class RequestLimit:
    """So many requests a minute.

    Attributes:
        limit: how many.
        name: of the client it binds, or `SERVER`.
        window: what counts against it.
    """

    __slots__ = ("_begin", "limit", "name", "window")

    def __init__(self, limit: int, name: str, window: RequestWindow) -> None:
        self.limit = limit
        self._begin = fields_begin(limit, _REQUESTS)
        self.name = name
        self.window = window

    def left(self, now_s: float) -> int:
        """Requests that still fit."""
        return max(self.limit - self.window.used(now_s), 0)

    def fields(self, now_s: float) -> str:
        """How it stands, as lines of an answer's head."""
        times_s = self.window.times_s
        if times_s and times_s[0] <= now_s - WINDOW_S:
            self.window.used(now_s)
        left = self.limit - len(times_s)
        whole_in_s = times_s[0] + WINDOW_S - now_s if times_s else 0.0
        end = _REQUESTS_ENDS[ceil(whole_in_s)] if whole_in_s >= 1 else fields_end(whole_in_s, _REQUESTS)
        return f"{self._begin}{left if left > 0 else 0}{end}"


class TokenLimit:
    """So many tokens a minute.

    Attributes:
        limit: how many.
        name: of the client it binds, or `SERVER`.
        window: what counts against it.
    """

    __slots__ = ("_begin", "limit", "name", "window")

    def __init__(self, limit: int, name: str, window: TokenWindow) -> None:
        self.limit = limit
        self._begin = fields_begin(limit, _TOKENS)
        self.name = name
        self.window = window

    def left(self, now_s: float) -> int:
        """Tokens that still fit."""
        return max(self.limit - ceil(self.window.used(now_s)), 0)

    def fields(self, now_s: float) -> str:
        """How it stands, as lines of an answer's head."""
        window = self.window
        passed_s = now_s - window.began_s
        if not 0 <= passed_s < WINDOW_S:
            passed_s = window.turn(now_s)
        used, previous = window.current, window.previous
        whole_in_s = 0.0
        if used > 0:
            whole_in_s = 2 * WINDOW_S - passed_s
        elif previous > 0:
            whole_in_s = WINDOW_S - passed_s
        if previous:
            used = ceil(used + previous * (1 - passed_s / WINDOW_S))
        left = self.limit - used if used > 0 else self.limit
        end = _TOKENS_ENDS[ceil(whole_in_s)] if whole_in_s >= 1 else fields_end(whole_in_s, _TOKENS)
        return f"{self._begin}{left if left > 0 else 0}{end}"


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
        requests: the limits of requests a minute that bind it.
        tokens: those of tokens.
    """

    __slots__ = ("client", "concurrency", "places", "requests", "rules", "share", "tokens")

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
        self.requests = requests
        self.tokens = tokens

    def fields(self, now_s: float, *, tokens: bool) -> str:
        """How the limits stand, as lines of an answer's head: of each sort the one with the least left.

        That of tokens is told only where they count.
        """
        fields = ""
        if requests := self.requests:
            asked = requests[0]
            if len(requests) > 1 and requests[1].left(now_s) < asked.left(now_s):
                asked = requests[1]
            fields = asked.fields(now_s)
        if tokens and (counted := self.tokens):
            used = counted[0]
            if len(counted) > 1 and counted[1].left(now_s) < used.left(now_s):
                used = counted[1]
            fields += used.fields(now_s)
        return fields


class Meters:
    """The meters of all clients, and what they read."""

    __slots__ = ("_made", "_places", "_requests", "_server", "_tokens")

    def __init__(self, limits: LimitSettings) -> None:
        self._server = limits
        self._made: dict[str, Meter] = {}
        self._places: dict[str, Places] = {}
        self._requests: dict[str, RequestWindow] = {}
        self._tokens: dict[str, TokenWindow] = {}

    def of(self, client: str, rules: Rules, share: int = 1) -> Meter:
        """A client's, made anew where its rules or its share are others than last time; what was counted stays."""
        meter = self._made.get(client)
        if meter is None or meter.rules is not rules or meter.share != share:
            meter = self._made[client] = self._make(client, rules, share)
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
