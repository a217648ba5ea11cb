"""Why no credential can be given, in the terms a client's answer is made from."""

from proxy.pool.choosing import Plan
from proxy.pool.failure import FailureClass
from proxy.pool.health import Reason, Standing, State
from proxy.pool.members import Seat, standings_of
from proxy.pool.outcomes import Exhausted, ExhaustedReason


def explain(plan: Plan, model: str, now_s: float) -> Exhausted:
    """The reason that promises most: what passes soon before what lasts.

    Where there are ordinary credentials it speaks of them alone: a last resort that could not help changes nothing.
    """
    seats = [seat for group in plan.tiers or plan.fallbacks for seat in group]
    if not seats:
        return Exhausted(ExhaustedReason.NO_MODEL)
    hindrances = [_hindrance(seat, model, now_s) for seat in seats]
    if any(each is None for each in hindrances):
        return Exhausted(ExhaustedReason.REFUSED)
    known = [each for each in hindrances if each is not None]
    passing = [each for each in known if not each.disabled and each.reason not in _LASTING]
    if passing:
        limited = any(each.reason is Reason.RATE_LIMIT for each in passing)
        soonest_s = min(each.until_s for each in passing) - now_s
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
