"""Answers that tell what is left of limits, for the tests of the pool."""

from proxy.pool.headroom import LimitHeaders, limit_headers
from proxy.pool.members import Lease
from proxy.pool.outcomes import Success, Want
from tests.unit.pool.building import WANT, Bench

RESET = "2026-11-18T11:07:10Z"  # 30 s after the clock's start


def left(requests: int, *, reset: str = RESET) -> LimitHeaders:
    """So many of a hundred requests are left."""
    found = limit_headers(
        {
            "anthropic-ratelimit-requests-limit": "100",
            "anthropic-ratelimit-requests-remaining": str(requests),
            "anthropic-ratelimit-requests-reset": reset,
        },
        None,
    )
    assert found is not None
    return found


def lease_of(table: Bench, name: str, want: Want = WANT) -> Lease:
    """A lease of one credential, whoever is next."""
    found = table.pool.pick_at(name, want, table.walk())
    assert isinstance(found, Lease), found
    return found


def tell(
    table: Bench, name: str, requests: int, *, organization: str | None = None, reset: str = RESET
) -> None:
    """Let one credential answer that so many of a hundred requests are left."""
    lease = lease_of(table, name)
    table.pool.learn(lease, organization, None, left(requests, reset=reset))
    table.pool.settle(lease, Success())
