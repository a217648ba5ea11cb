"""What a client is told of its limits: how they stand, with every answer, and which one is in the way, in words."""

import math
from typing import Final

from proxy.access.rules import Rules
from proxy.errors import ErrorKind, GatewayError, InvalidRequest

SERVER: Final = ""
"""In a client's name's place, for what counts for the whole server."""

_LONG_WAIT_S: Final = 60.0
_BUSY_RETRY_S: Final = 1.0


class LimitReached(GatewayError):
    """A limit of the client or of the server is reached; `headers` say how they stand."""

    def __init__(self, message: str, fields: str, *, retry_after_s: float) -> None:
        super().__init__(
            429,
            ErrorKind.RATE_LIMIT,
            message,
            code="rate_limit_exceeded",
            retry_after_s=retry_after_s,
            should_retry=False if retry_after_s > _LONG_WAIT_S else None,
        )
        self.headers = headers_of(fields)


def fields_begin(limit: int, sort: str) -> str:
    """The fields of a limit up to what is left of it. Source: "Rate limits" in OpenAI's documentation."""
    return f"x-ratelimit-limit-{sort}: {limit}\r\nx-ratelimit-remaining-{sort}: "


def fields_end(seconds: float, sort: str) -> str:
    """The same from there on: `seconds` are those until all of it is left."""
    return f"\r\nx-ratelimit-reset-{sort}: {duration(seconds)}\r\n"


def headers_of(fields: str) -> dict[str, str]:
    """The same lines one by one, for who has to add to them."""
    headers = {}
    for line in fields.splitlines():
        name, _, value = line.partition(": ")
        headers[name] = value
    return headers


def duration(seconds: float) -> str:
    """Seconds as OpenAI's ``x-ratelimit-reset-*`` headers have them: ``120ms``, ``12s``, ``6m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def concurrency_reached(concurrency: int, fields: str) -> LimitReached:
    """Too many are under way."""
    return LimitReached(
        f"The client key may have {concurrency} requests under way at the same time, and has.",
        fields,
        retry_after_s=_BUSY_RETRY_S,
    )


def budget_reserved() -> LimitReached:
    """The rest of a budget may be needed by what is under way."""
    return LimitReached(
        "What is left of the client key's budget is set apart for its requests under way.",
        "",
        retry_after_s=_BUSY_RETRY_S,
    )


def budget_spent(rules: Rules, next_period_s: float | None) -> GatewayError:
    """Nothing of a budget is left."""
    return GatewayError(
        402,
        ErrorKind.BILLING,
        f"The client key has spent its budget of {(rules.budget_micro_usd or 0) / 1e6:.2f} USD ({rules.period}).",
        code="insufficient_quota",
        retry_after_s=next_period_s,
        should_retry=False,
    )


def too_many_tokens(tokens: int, name: str, limit: int) -> InvalidRequest:
    """A request is larger than a limit that is not untouched."""
    return InvalidRequest(
        f"The request has about {tokens} tokens, and {_whose(name, 'TOKENS')} is limited to {limit} tokens a minute: "
        "it can run only in a minute without any other.",
        code="tokens_per_minute_exceeded",
    )


def tokens_reached(name: str, limit: int, wait_s: float, fields: str) -> LimitReached:
    """Too many tokens in the last minute."""
    return LimitReached(
        f"The limit of {limit} tokens a minute of {_whose(name, 'TOKENS')} is reached. "
        f"Try again in {math.ceil(wait_s)} seconds.",
        fields,
        retry_after_s=wait_s,
    )


def requests_reached(name: str, limit: int, wait_s: float, fields: str) -> LimitReached:
    """Too many requests in the last minute."""
    return LimitReached(
        f"The limit of {limit} requests a minute of {_whose(name, 'REQUESTS')} is reached. "
        f"Try again in {math.ceil(wait_s)} seconds.",
        fields,
        retry_after_s=wait_s,
    )


def _whose(name: str, sort: str) -> str:
    return "the client key" if name else f"the server ({sort}_PER_MINUTE)"
