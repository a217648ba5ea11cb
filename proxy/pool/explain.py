"""Why no credential can be given, in the terms a client's answer is made from."""

from proxy.pool.choosing import Plan
from proxy.pool.failure import FailureClass
from proxy.pool.health import Reason, Standing, State
from proxy.pool.members import Seat, standings_of
from proxy.pool.outcomes import Exhausted, ExhaustedReason


def explain(plan: Plan, model: str, now_s: float) -> Exhausted:
    """The reason that promises most: what passes soon before what lasts."""
    seats = list(plan.seats)
    if not seats:
        return Exhausted(ExhaustedReason.NO_MODEL)
    hindrances = [_hindrance(seat, model, now_s) for seat in seats]
    known = [each for each in hindrances if each is not None]
    passing = [each for each in known if not each.disabled and each.reason not in _LASTING]
    soonest_s = min((each.until_s for each in passing), default=now_s) - now_s
    if len(known) < len(seats):
        return Exhausted(ExhaustedReason.REFUSED, soonest_s or None)
    if passing:
        limited = any(each.reason is Reason.RATE_LIMIT for each in passing)
        return Exhausted(ExhaustedReason.RATE_LIMITED if limited else ExhaustedReason.COOLING, soonest_s)
    closings = [each.cause for each in known if each.reason is Reason.PERMISSION]
    if closings:
        denied = any(cause != FailureClass.NO_MODEL for cause in closings)
        return Exhausted(ExhaustedReason.PERMISSION if denied else ExhaustedReason.NO_MODEL)
    billing = [each.until_s - now_s for each in known if each.reason is Reason.BILLING]
    return Exhausted(ExhaustedReason.UNUSABLE, min(billing, default=None))


_LASTING = frozenset({Reason.PERMISSION, Reason.BILLING})


def _hindrance(seat: Seat, model: str, now_s: float) -> Standing | None:
    closed = [each for each in standings_of(seat, model) if each.closed(now_s)]
    return max(closed, key=lambda each: (each.state(now_s) is State.DISABLED, each.until_s), default=None)
