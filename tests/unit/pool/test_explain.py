"""Why no credential can be given."""

import pytest

from proxy.pool.failure import Failure, FailureClass
from proxy.pool.members import Lease
from proxy.pool.outcomes import Exhausted, ExhaustedReason, Failed, Want
from tests.unit.pool.building import AUTH, RATE, WANT, bench, failure

LONG_RATE = failure(FailureClass.RATE, retry_after_s=90.0)
BILLING = failure(FailureClass.BILLING)
DEAD = failure(FailureClass.AUTH_DEAD)
PERMISSION = failure(FailureClass.PERMISSION)
NO_MODEL = failure(FailureClass.NO_MODEL)
CHALLENGE = failure(FailureClass.CHALLENGE)


@pytest.mark.parametrize(
    ("first", "second", "reason", "retry_after_s"),
    [
        (LONG_RATE, RATE, ExhaustedReason.RATE_LIMITED, 5),
        (LONG_RATE, LONG_RATE, ExhaustedReason.RATE_LIMITED, 90),
        (LONG_RATE, AUTH, ExhaustedReason.RATE_LIMITED, 60),
        (RATE, BILLING, ExhaustedReason.RATE_LIMITED, 5),
        (RATE, DEAD, ExhaustedReason.RATE_LIMITED, 5),
        (AUTH, BILLING, ExhaustedReason.COOLING, 60),
        (CHALLENGE, CHALLENGE, ExhaustedReason.COOLING, 60),
        (BILLING, BILLING, ExhaustedReason.UNUSABLE, 3600),
        (BILLING, DEAD, ExhaustedReason.UNUSABLE, 3600),
        (DEAD, DEAD, ExhaustedReason.UNUSABLE, None),
        (PERMISSION, PERMISSION, ExhaustedReason.PERMISSION, None),
        (PERMISSION, NO_MODEL, ExhaustedReason.PERMISSION, None),
        (NO_MODEL, NO_MODEL, ExhaustedReason.NO_MODEL, None),
        (NO_MODEL, DEAD, ExhaustedReason.NO_MODEL, None),
        (NO_MODEL, RATE, ExhaustedReason.RATE_LIMITED, 5),
    ],
)
def test_what_passes_soonest_is_what_is_told(
    first: Failure, second: Failure, reason: ExhaustedReason, retry_after_s: float | None
) -> None:
    """Protects the client's answer: the reason that leaves most hope, with the least remaining time."""
    table = bench("a", "b")
    held = [table.lease(), table.lease()]
    for lease, found in zip(held, (first, second), strict=True):
        table.pool.settle(lease, Failed(found))
    assert table.pick() == Exhausted(reason, retry_after_s)


def test_a_disabled_credential_promises_nothing() -> None:
    """Protects clients from waiting for the end of a limit on a key that is dead."""
    table = bench("a")
    first, second = table.lease(), table.lease()
    table.pool.settle(first, Failed(LONG_RATE))
    table.pool.settle(second, Failed(DEAD))
    assert table.pick() == Exhausted(ExhaustedReason.UNUSABLE)


def test_a_model_nobody_serves_is_unknown() -> None:
    """Protects the 404."""
    table = bench("a")
    assert table.pick(Want("gpt-4o", "gpt-4o", "client")) == Exhausted(ExhaustedReason.NO_MODEL)
    assert bench().pick() == Exhausted(ExhaustedReason.NO_MODEL)


def test_a_walk_that_was_turned_away_by_healthy_credentials_is_refused() -> None:
    """Protects the client's answer: then the last failure says more than the pool's state."""
    table = bench("a")
    walk = table.walk()
    lease = table.pool.pick(WANT, walk)
    assert isinstance(lease, Lease)
    walk.after(AUTH, lease)
    assert table.pool.pick(WANT, walk) == Exhausted(ExhaustedReason.REFUSED)


def test_a_walk_that_was_refused_is_told_when_the_first_limited_credential_is_back() -> None:
    """Protects clients from a time that was true when it was said and has passed in part since."""
    table = bench("a", "b")
    walk = table.walk()
    for found in (AUTH, LONG_RATE):
        lease = table.pool.pick(WANT, walk)
        assert isinstance(lease, Lease)
        walk.after(found, lease)
        if found is LONG_RATE:
            table.pool.settle(lease, Failed(found))
    table.clock.advance(30)
    assert table.pool.pick(WANT, walk) == Exhausted(ExhaustedReason.REFUSED, 60.0)
