"""How long an upstream asks us to stay away, in every form it is said.

Sources: RFC 9110 section 10.2.3 (``retry-after`` as seconds or as a date); ``retry-after-ms`` as the official
OpenAI and Anthropic client libraries read it.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST_S: Final = 366 * 86_400.0


def parse_retry_after(headers: Mapping[str, str], *, now_unix_ms: int) -> float | None:
    """Seconds to wait from now on, or None where the headers say nothing that can be understood.

    ``retry-after-ms`` wins over ``retry-after``. A time in the past and a negative number are 0; nothing is over
    366 days, however much was said.

    Args:
        headers: the answer's headers, names in lower case.
        now_unix_ms: the wall clock, which dates are compared with.
    """
    if (in_ms := _number(headers.get("retry-after-ms"))) is not None:
        return _bounded(in_ms / 1000)
    value = headers.get("retry-after")
    if value is None:
        return None
    if (in_s := _number(value)) is not None:
        return _bounded(in_s)
    return _until_date(value, now_unix_ms)


def _number(value: str | None) -> float | None:
    # float() would also take "1_0", "inf" and digits of other scripts
    if value is None or not value.isascii() or "_" in value:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _until_date(value: str, now_unix_ms: int) -> float | None:
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        until_s = (date - datetime.fromtimestamp(0, UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return _bounded(until_s - now_unix_ms / 1000)


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _LONGEST_S)
