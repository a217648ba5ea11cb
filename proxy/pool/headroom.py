"""How much of its limits an organization has left, as the headers of its answers tell before a refusal does.

Two families of headers exist. API keys get ``anthropic-ratelimit-{requests,tokens,…}-{limit,remaining,reset}``, with
``reset`` in RFC 3339; logins of a subscription get ``anthropic-ratelimit-unified-{5h,…}-{status,utilization,reset}``,
with ``utilization`` as the share used, 0 to 1, and ``reset`` in Unix seconds. Sources: the rate limits page of
Anthropic's API documentation; for the second family, which it leaves out, what Claude Code receives.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil, inf, isfinite
from operator import ge
from typing import Final

import msgspec
from multidict import istr

from proxy.settings import Policy

_DIGITS_MAX: Final = 15
_SECONDS_DIGITS_MAX: Final = 12
_PREFIX: Final = "anthropic-ratelimit-"
_REJECTED: Final = "rejected"
_LEARNT_AFTER: Final = 64
_LIMITS: Final = slice(0, None, 3)
_LEFT: Final = slice(1, None, 3)
"""Among the values of an API key's headers."""


@dataclass(frozen=True, slots=True)
class Window:
    """One of the limits that are counted together.

    Attributes:
        name: as in its headers: ``requests``, ``input-tokens``, ``unified-5h``.
        share_left: what is left of it, 0 to 1.
        reset_unix_ms: when it is full again; None where that was not said.
    """

    name: str
    share_left: float
    reset_unix_ms: int | None


class Family(msgspec.Struct, frozen=True):
    """Limits that come together.

    Attributes:
        windows: their names.
        headers: of each window three, in the order in which `read` takes them.
        read: a window's name and the values of its headers to what is left of it; None for rubbish.
    """

    windows: tuple[str, ...]
    headers: tuple[str, ...]
    read: Callable[[str, str | None, str | None, str | None], Window | None]


class LimitHeaders(msgspec.Struct, frozen=True):
    """The limit headers of one answer, unread; `values` belong to the headers of `family`."""

    family: Family
    values: tuple[str | None, ...]


def limit_headers(headers: Mapping[str, str], organization: str | None) -> LimitHeaders | None:
    """The limit headers of an answer, None where it has none.

    That takes one look-up. Only an answer that names its organization is looked at for the second family.

    Args:
        headers: of the answer, looked up in lower case.
        organization: as the answer names it.
    """
    if headers.get(_REQUESTS_LEFT) is not None:
        family = _API
    elif organization is not None and headers.get(_UNIFIED_STATUS) is not None:
        family = _SUBSCRIPTION
    else:
        return None
    return LimitHeaders(family, tuple(map(headers.get, family.headers)))


def exhausted_until_unix_ms(headers: Mapping[str, str]) -> int | None:
    """When the last of the used up limits is full again, by the headers of a refusal; None where none says so."""
    resets = [
        window.reset_unix_ms
        for family in (_API, _SUBSCRIPTION)
        for window in _windows(LimitHeaders(family, tuple(map(headers.get, family.headers))))
        if window.share_left == 0 and window.reset_unix_ms is not None
    ]
    return max(resets, default=None)


class Allowance:
    """What is left of the limits of one organization in one limit class, shared by all its credentials.

    Of answers that tell of plenty only the counts are looked at; the rest is read when somebody asks.

    Attributes:
        short_until_s: monotonic seconds until which others are asked rather; 0 while there is room.
    """

    __slots__ = (
        "__weakref__",
        "_ahead_of_s",
        "_enough",
        "_last",
        "_read",
        "_taken",
        "_windows",
        "short_until_s",
    )

    def __init__(self) -> None:
        self._last: LimitHeaders | None = None
        self._read: LimitHeaders | None = None
        self._windows: tuple[Window, ...] = ()
        self._enough: tuple[int, ...] = ()
        self._taken = 0
        self._ahead_of_s = 0.0
        self.short_until_s = 0.0

    @property
    def windows(self) -> tuple[Window, ...]:
        """As the last answer told; empty while nothing is known."""
        if self._last is not None and self._last != self._read:
            self._windows = _windows(self._last, self._read, self._windows)
            self._read = self._last
        return self._windows

    def share_left(self, now_s: float) -> float | None:
        """The least that is left of any of the limits, 0 to 1; None while nothing is known.

        It is 1 from the moment at which, as was told, all of them are full again.
        """
        windows = self.windows
        if not windows:
            return None
        full_at_s = max(
            inf if window.reset_unix_ms is None else window.reset_unix_ms / 1000 - self._ahead_of_s
            for window in windows
        )
        return 1.0 if now_s >= full_at_s else min(window.share_left for window in windows)

    def takes(self, told: LimitHeaders) -> bool:
        """Take over what changes nothing but counts that are far from short; False for what is to be learnt.

        So is one answer in so many, as the wall clock may have been set meanwhile.
        """
        last, enough = self._last, self._enough
        if not enough or last is None or self._taken >= _LEARNT_AFTER or told.family is not last.family:
            return False
        values = told.values
        if values[_LIMITS] != last.values[_LIMITS]:
            return False
        try:
            if not all(map(ge, map(int, values[_LEFT]), enough)):  # type: ignore[arg-type]  # None raises TypeError
                return False
        except (TypeError, ValueError):
            return False
        self._last = told
        self._taken += 1
        return True

    def learn(self, told: LimitHeaders, policy: Policy, *, now_s: float, now_unix_ms: int) -> bool:
        """Take over what an answer told; True if it is short now."""
        self._last = told
        self._taken = 0
        self._ahead_of_s = now_unix_ms / 1000 - now_s
        windows = self.windows
        rests_s = [
            _ahead_s(window, now_unix_ms)
            for window in windows
            if window.share_left == 0 or window.share_left < policy.headroom_share
        ]
        until_s = now_s + min(max(rests_s, default=0.0), policy.headroom_rest_s)
        self.short_until_s = until_s if until_s > now_s else 0.0
        self._enough = () if rests_s or told.family is not _API else _enough(told, policy)
        return until_s > now_s


def _enough(told: LimitHeaders, policy: Policy) -> tuple[int, ...]:
    """From which counts on each limit of an API key is far from short; empty where one of them was not told."""
    limits = [_count(limit) for limit in told.values[_LIMITS]]
    known = [int(limit * policy.headroom_share) + 1 for limit in limits if limit is not None]
    return tuple(known) if len(known) == len(limits) else ()


def _ahead_s(window: Window, now_unix_ms: int) -> float:
    """Seconds until a window is full again; endless where that was not said."""
    if window.reset_unix_ms is None:
        return inf
    return max((window.reset_unix_ms - now_unix_ms) / 1000, 0.0)


def _windows(
    told: LimitHeaders, last: LimitHeaders | None = None, known: tuple[Window, ...] = ()
) -> tuple[Window, ...]:
    """All windows an answer tells of; those whose headers are as `last` time are taken from `known`."""
    family = told.family
    before = {window.name: window for window in known} if last is not None and last.family is family else {}
    found = []
    for index, name in enumerate(family.windows):
        part = slice(3 * index, 3 * index + 3)
        values = told.values[part]
        if name in before and last is not None and last.values[part] == values:
            found.append(before[name])
        elif (window := family.read(name, *values)) is not None:
            found.append(window)
    return tuple(found)


def _read_count(name: str, limit: str | None, left: str | None, reset: str | None) -> Window | None:
    limit_count, left_count = _count(limit), _count(left)
    if not limit_count or left_count is None:
        return None
    return Window(name, min(left_count / limit_count, 1.0), _rfc_3339_unix_ms(reset))


def _read_share(name: str, status: str | None, used: str | None, reset: str | None) -> Window | None:
    share_left = 0.0 if status == _REJECTED else _share_left(used)
    if share_left is None:
        return None
    reset_s = _count(reset, digits_max=_SECONDS_DIGITS_MAX)
    return Window(name, share_left, None if reset_s is None else reset_s * 1000)


def _count(value: str | None, *, digits_max: int = _DIGITS_MAX) -> int | None:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > digits_max:
        return None
    return int(value)


def _share_left(used: str | None) -> float | None:
    # float() would also take "1_0" and digits of other scripts
    if used is None or not used.isascii() or "_" in used:
        return None
    try:
        share = float(used)
    except ValueError:
        return None
    return max(0.0, 1.0 - share) if isfinite(share) and share >= 0 else None


def _rfc_3339_unix_ms(value: str | None) -> int | None:
    try:
        moment = datetime.fromisoformat(value or "")
        # without a zone it is no RFC 3339, and timestamp() would take the machine's own
        return ceil(moment.timestamp() * 1000) if moment.utcoffset() is not None else None
    except (ValueError, OverflowError):
        return None


def _family(
    windows: tuple[str, ...],
    parts: tuple[str, str, str],
    read: Callable[[str, str | None, str | None, str | None], Window | None],
) -> Family:
    return Family(
        windows, tuple(istr(f"{_PREFIX}{window}-{part}") for window in windows for part in parts), read
    )


_API: Final = _family(
    ("requests", "tokens", "input-tokens", "output-tokens"), ("limit", "remaining", "reset"), _read_count
)
# without a window's name: the verdict on all of them together, which has no share
_SUBSCRIPTION: Final = _family(
    ("unified", "unified-5h", "unified-7d", "unified-7d_oi"), ("status", "utilization", "reset"), _read_share
)
_REQUESTS_LEFT: Final = istr(f"{_PREFIX}requests-remaining")
_UNIFIED_STATUS: Final = istr(f"{_PREFIX}unified-status")

LIMIT_HEADERS: Final = _API.headers + _SUBSCRIPTION.headers
"""All headers that are read here, in lower case."""
