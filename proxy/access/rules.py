"""What a client key may, and the periods its budget is counted in."""

import datetime as dt
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, assert_never

import msgspec

from proxy.settings import LimitSettings

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_MONDAY_MS: Final = 4 * _DAY_MS
"""The first Monday of Unix time."""


class Period(StrEnum):
    """How long a budget lasts; all but the last begin by the calendar, in UTC, weeks on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"

    def bounds(self, now_unix_ms: int) -> tuple[int, int | None]:
        """When the period that is now began, and when the next one begins; None if there is none. Unix ms."""
        match self:
            case Period.HOUR:
                return _steps(now_unix_ms, _HOUR_MS, 0)
            case Period.DAY:
                return _steps(now_unix_ms, _DAY_MS, 0)
            case Period.WEEK:
                return _steps(now_unix_ms, 7 * _DAY_MS, _MONDAY_MS)
            case Period.MONTH:
                first = dt.datetime.fromtimestamp(now_unix_ms / 1000, dt.UTC).replace(
                    day=1, hour=0, minute=0, second=0, microsecond=0
                )
                after = (first + dt.timedelta(days=31)).replace(day=1)
                return int(first.timestamp()) * 1000, int(after.timestamp()) * 1000
            case Period.TOTAL:
                return 0, None
            case _:
                assert_never(self)


def _steps(now_unix_ms: int, step_ms: int, first_ms: int) -> tuple[int, int]:
    began_ms = now_unix_ms - (now_unix_ms - first_ms) % step_ms
    return began_ms, began_ms + step_ms


class Rules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client key may; what is not said is not limited.

    Attributes:
        models: patterns of the models it may ask for; empty for all.
        credentials: aliases of the credentials that may answer it; empty for all.
        requests_per_minute: at least 1.
        tokens_per_minute: of questions and answers together, at least 1.
        concurrency: requests at the same time, at least 1.
        budget_micro_usd: what its requests may cost in a period, in millionths of a US dollar.
        period: of the budget.
        expires_unix_ms: when it ends.
    """

    models: tuple[str, ...] = ()
    credentials: frozenset[str] = frozenset()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    budget_micro_usd: int | None = None
    period: Period = Period.MONTH
    expires_unix_ms: int | None = None

    def permits(self, model: str) -> bool:
        """Whether it may ask for a model, by the id that goes upstream."""
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)

    def expired(self, now_unix_ms: int) -> bool:
        """Whether its end has come."""
        return self.expires_unix_ms is not None and now_unix_ms >= self.expires_unix_ms

    @property
    def reads_model(self) -> bool:
        """Whether it matters which model is asked, so that the upstream must read the same one as we."""
        return bool(self.models) or self.budget_micro_usd is not None

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how large a request is."""
        return self.tokens_per_minute is not None or self.budget_micro_usd is not None


_FREE: Final = Rules()


def in_force(own: Rules | None, limits: LimitSettings) -> Rules | None:
    """What a key may with the server's own limits; None where nothing at all limits it."""
    rules = own or _FREE
    if rules.requests_per_minute is None and limits.client_requests_per_minute is not None:
        rules = msgspec.structs.replace(rules, requests_per_minute=limits.client_requests_per_minute)
    whole_server = limits.requests_per_minute is not None or limits.tokens_per_minute is not None
    return None if rules == _FREE and not whole_server else rules
