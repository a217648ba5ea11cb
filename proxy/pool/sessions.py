"""claude.ai sessions are persons' accounts, so none carries on where another was told to stop.

While a session that a client may use rests at its limit, is refused, or met a challenge, that client's requests go to
no other session either; what is asked instead is paid for by use. Plain faults stop nothing: they say nothing about
what the account may do.
"""

from typing import Final

from proxy.credentials import Kind
from proxy.pool.choosing import Plan, make_plan
from proxy.pool.failure import FailureClass
from proxy.pool.health import Reason, Standing
from proxy.pool.members import Member, Seat

_STOPS: Final = frozenset({Reason.RATE_LIMIT, Reason.BILLING, Reason.AUTH, Reason.BLOCKED, Reason.PERMISSION})


def told_to_stop(plan: Plan, model: str, now_s: float) -> tuple[Seat, ...]:
    """The sessions of a plan that were told to stop, and still are."""
    return tuple(seat for seat in plan.sessions if _is_told(seat.member, model, now_s))


def while_told(plan: Plan, model: str, now_s: float) -> Plan:
    """The plan without the sessions that may not stand in for one that was told to stop."""
    if len(plan.sessions) < 2 or not (told := told_to_stop(plan, model, now_s)):
        return plan
    return make_plan([seat for seat in plan.seats if _may_be_asked(seat, told)], plan.losses)


def _may_be_asked(seat: Seat, told: tuple[Seat, ...]) -> bool:
    return seat.member.credential.kind is not Kind.CLAUDE_WEB or seat in told


def _is_told(member: Member, model: str, now_s: float) -> bool:
    standings = [member.standing, member.way_standing, *(seat.standing for seat in member.seats.values())]
    if (closing := member.closed.get(model)) is not None and closing.cause != FailureClass.NO_MODEL:
        standings.append(closing)
    return any(_stops(each, now_s) for each in standings)


def _stops(standing: Standing, now_s: float) -> bool:
    return standing.reason in _STOPS and standing.closed(now_s)
