"""The limits of a minute that bind one client, its own and the server's: what counts against them, how they stand."""

import math
from typing import Final

from multidict import istr

from proxy.access.rules import Rules
from proxy.access.windows import WINDOW_S, RequestWindow, TokenWindow
from proxy.settings import LimitSettings

SERVER: Final = ""
"""In a client's name's place, for what counts for the whole server."""

_LIMIT_REQUESTS: Final = istr("x-ratelimit-limit-requests")
_REMAINING_REQUESTS: Final = istr("x-ratelimit-remaining-requests")
_RESET_REQUESTS: Final = istr("x-ratelimit-reset-requests")
_LIMIT_TOKENS: Final = istr("x-ratelimit-limit-tokens")
_REMAINING_TOKENS: Final = istr("x-ratelimit-remaining-tokens")
_RESET_TOKENS: Final = istr("x-ratelimit-reset-tokens")


class RequestLimit:
    """So many requests a minute.

    Attributes:
        limit: how many.
        text: the same in words of a header.
        whose: whom it binds, in the words of an error.
        window: what counts against it.
    """

    __slots__ = ("limit", "text", "whose", "window")

    def __init__(self, limit: int, name: str, window: RequestWindow) -> None:
        self.limit = limit
        self.text = str(limit)
        self.whose = "the client key" if name else "the server (REQUESTS_PER_MINUTE)"
        self.window = window

    def left(self, now_s: float) -> int:
        """Requests that still fit."""
        return max(self.limit - self.window.used(now_s), 0)


class TokenLimit:
    """So many tokens a minute.

    Attributes:
        limit: how many.
        text: the same in words of a header.
        whose: whom it binds, in the words of an error.
        window: what counts against it.
    """

    __slots__ = ("limit", "text", "whose", "window")

    def __init__(self, limit: int, name: str, window: TokenWindow) -> None:
        self.limit = limit
        self.text = str(limit)
        self.whose = "the client key" if name else "the server (TOKENS_PER_MINUTE)"
        self.window = window

    def left(self, now_s: float) -> int:
        """Tokens that still fit."""
        return max(self.limit - math.ceil(self.window.used(now_s)), 0)


class Meter:
    """What binds one client, put together once for all its requests.

    Attributes:
        client: its name.
        rules: what it may.
        requests: the limits of requests a minute that bind it.
        tokens: those of tokens.
    """

    __slots__ = ("client", "requests", "rules", "tokens")

    def __init__(
        self, client: str, rules: Rules, requests: tuple[RequestLimit, ...], tokens: tuple[TokenLimit, ...]
    ) -> None:
        self.client = client
        self.rules = rules
        self.requests = requests
        self.tokens = tokens

    def headers(self, now_s: float, *, tokens: bool) -> dict[str, str]:
        """How the limits stand: of each sort the one with the least left, that of tokens only where they count.

        Source: "Rate limits" in OpenAI's documentation.
        """
        headers: dict[str, str] = {}
        if self.requests:
            asked = self.requests[0]
            left = asked.left(now_s)
            for other in self.requests[1:]:
                if (less := other.left(now_s)) < left:
                    asked, left = other, less
            headers[_LIMIT_REQUESTS] = asked.text
            headers[_REMAINING_REQUESTS] = str(left)
            headers[_RESET_REQUESTS] = duration(asked.window.wait_s(now_s))
        if tokens and self.tokens:
            used = self.tokens[0]
            left = used.left(now_s)
            for another in self.tokens[1:]:
                if (less := another.left(now_s)) < left:
                    used, left = another, less
            headers[_LIMIT_TOKENS] = used.text
            headers[_REMAINING_TOKENS] = str(left)
            headers[_RESET_TOKENS] = duration(used.window.empty_in_s(now_s))
        return headers


class Meters:
    """The meters of all clients, and the windows behind them."""

    __slots__ = ("_made", "_requests", "_server", "_tokens")

    def __init__(self, limits: LimitSettings) -> None:
        self._server = limits
        self._made: dict[str, Meter] = {}
        self._requests: dict[str, RequestWindow] = {}
        self._tokens: dict[str, TokenWindow] = {}

    def of(self, client: str, rules: Rules) -> Meter:
        """A client's, made anew where its rules are not those of the last time; what was counted stays."""
        meter = self._made.get(client)
        if meter is None or meter.rules is not rules:
            meter = self._made[client] = self._make(client, rules)
        return meter

    def _make(self, client: str, rules: Rules) -> Meter:
        server = self._server
        requests = ((client, rules.requests_per_minute), (SERVER, server.requests_per_minute))
        tokens = ((client, rules.tokens_per_minute), (SERVER, server.tokens_per_minute))
        return Meter(
            client,
            rules,
            tuple(
                RequestLimit(limit, name, self._requests.setdefault(name, RequestWindow()))
                for name, limit in requests
                if limit is not None
            ),
            tuple(
                TokenLimit(limit, name, self._tokens.setdefault(name, TokenWindow()))
                for name, limit in tokens
                if limit is not None
            ),
        )


def duration(seconds: float) -> str:
    """Seconds as OpenAI's ``x-ratelimit-reset-*`` headers have them: ``120ms``, ``12s``, ``6m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole_s = math.ceil(seconds)
    return _USUAL[whole_s] if whole_s < len(_USUAL) else _spelled(whole_s)


def _spelled(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


_USUAL: Final = tuple(_spelled(seconds) for seconds in range(2 * int(WINDOW_S) + 1))
"""No window of ours takes longer to empty."""
