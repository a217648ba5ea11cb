"""Stored states taken over at the start: checked, bounded, and never trusted further than their reason goes."""

from typing import Final

from proxy.clock import Clock
from proxy.pool.health import CoolingTimes, HealthChange, Ladder, Reason, Standing, State
from proxy.pool.members import Member

_ABOUT_A_CLASS: Final = frozenset({Reason.RATE_LIMIT, Reason.FAULTS})
_DISABLING: Final = frozenset({Reason.AUTH, Reason.MANUAL})
_RUNG_MAX: Final = 64


def restore_row(
    member: Member, row: HealthChange, *, times: CoolingTimes, clock: Clock, window_s: float
) -> float | None:
    """Put `member` into the stored state, if the row makes sense; returns the deadline set, monotonic.

    A deadline that has passed leaves one trial to do. One that lies further ahead than its reason allows, as after
    a jump of the wall clock, is brought back to that.
    """
    reason = row.reason
    if row.state is State.READY or reason is None:
        return None
    since_unix_ms = min(row.since_unix_ms, clock.unix_ms())
    if row.state is State.DISABLED:
        if reason in _DISABLING and not member.standing.disabled:
            member.standing.disable(reason, cause=row.cause, since_unix_ms=since_unix_ms)
        return None
    found = _find(member, row, reason, window_s)
    if found is None or row.until_unix_ms is None:
        return None
    standing, ladder = found
    ahead_s = (row.until_unix_ms - clock.unix_ms()) / 1000
    until_s = clock.monotonic_s() + min(max(ahead_s, 0.0), times.longest(reason, member.credential.kind))
    standing.cool(reason, until_s, cause=row.cause, since_unix_ms=since_unix_ms, epoch=0)
    ladder.rung = min(max(row.rung, 0), _RUNG_MAX)
    if reason is Reason.AUTH:
        # the refusal was long enough ago for the next one to be a second
        member.denied_at_s = float("-inf")
    return until_s


def _find(
    member: Member, row: HealthChange, reason: Reason, window_s: float
) -> tuple[Standing, Ladder] | None:
    if bool(row.limit_class) is not (reason in _ABOUT_A_CLASS):
        return None
    if (row.model is not None) is not (reason is Reason.PERMISSION):
        return None
    if row.limit_class:
        seat = member.seat(row.limit_class, window_s=window_s)
        return seat.standing, seat.fault_ladder if reason is Reason.FAULTS else seat.rate_ladder
    if row.model is not None:
        return member.closing(row.model), Ladder()
    if reason is Reason.BLOCKED:
        return member.way_out.standing, member.way_out.ladder
    if reason is Reason.MANUAL:
        return None
    return member.standing, member.auth_ladder if reason is Reason.AUTH else member.billing_ladder
