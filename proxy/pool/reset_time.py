"""The moment an upstream names for its return, where it is said in words, in nested JSON, or not at all."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from proxy.pool.headroom import exhausted_until_unix_ms

# a limit's message ends in words like: you will regain access on 2026-12-01 at 00:00 UTC
_DATE: Final = re.compile(r"\b(\d{4}-\d{2}-\d{2})(?:(?: at |T| )(\d{2}:\d{2}))?")


class _Notice(msgspec.Struct):
    """The JSON that claude.ai puts into a rate limit's message. `resetsAt` is in Unix seconds."""

    resetsAt: int | None = None  # noqa: N815 - the wire's own name


_notice = msgspec.json.Decoder(_Notice)


def stated_reset_unix_ms(
    message: str, headers: Mapping[str, str], *, counted: bool, monthly: bool, now_unix_ms: int
) -> int | None:
    """Unix milliseconds of the stated return, or None.

    In this order: ``resetsAt`` in a message that is itself JSON, a date in the message, with `counted` (for a
    limit of calls or tokens) the reset of those that the headers show as used up, the header
    ``anthropic-ratelimit-unified-reset`` (Unix seconds), and with `monthly` the first day of the next month in
    UTC, which is when Anthropic's enforced spend limits end. With `now_unix_ms` 0 the last one is left out.
    """
    if message.startswith("{") and (notice := _from_notice(message)) is not None:
        return notice
    if (date := _from_text(message)) is not None:
        return date
    if counted and (exhausted := exhausted_until_unix_ms(headers)) is not None:
        return exhausted
    reset = headers.get("anthropic-ratelimit-unified-reset", "")
    if reset.isascii() and reset.isdigit() and len(reset) <= 12 and int(reset) > 0:
        return int(reset) * 1000
    return _next_month(now_unix_ms) if monthly and now_unix_ms > 0 else None


def _from_notice(message: str) -> int | None:
    try:
        resets_at = _notice.decode(message).resetsAt
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return None if resets_at is None or resets_at <= 0 else resets_at * 1000


def _from_text(message: str) -> int | None:
    if (found := _DATE.search(message)) is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}+00:00")
    except ValueError:
        return None
    return max(_unix_ms(moment), 0) or None


def _next_month(now_unix_ms: int) -> int:
    now = datetime.fromtimestamp(now_unix_ms / 1000, UTC)
    later = now.replace(day=1) + timedelta(days=32)
    return _unix_ms(later.replace(day=1, hour=0, minute=0, second=0, microsecond=0))


def _unix_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
