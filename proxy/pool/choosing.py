"""Which seat is next: tiers, then the smooth weighted rotation inside each.

The rotation gives every free seat its weight at each turn, takes the greatest, and takes the turn's sum off it: over
time each gets its share, and never several turns in a row where others could go between.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.pool.members import Availability, Seat, availability
from proxy.pool.retry import Walk

Group = tuple[Seat, ...]
# the lookup of a class's attribute is a tenth of a turn's cost
_FREE: Final = Availability.FREE


@dataclass(frozen=True, slots=True)
class Sorts:
    """Which sorts of credentials there are for a request: those asked in turn, and those of last resort."""

    ordinary: bool
    fallback: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The seats that can serve one sort of request, whatever their health.

    Attributes:
        tiers: those of ordinary credentials by tier, lowest first.
        fallbacks: those of last resort by tier, lowest first.
        groups: both together.
        fallback_names: the aliases of the fallbacks.
        sorts: which of the two there are.
    """

    tiers: tuple[Group, ...]
    fallbacks: tuple[Group, ...]
    groups: tuple[Group, ...]
    fallback_names: frozenset[str]
    sorts: Sorts

    @property
    def seats(self) -> Iterator[Seat]:
        """All seats, in the order in which they are asked."""
        for group in self.groups:
            yield from group


def make_plan(seats: Sequence[Seat]) -> Plan:
    """Group `seats` by tier, fallbacks apart; inside a tier their order is kept."""
    tiers = _by_tier([seat for seat in seats if not seat.member.fallback])
    fallbacks = _by_tier([seat for seat in seats if seat.member.fallback])
    return Plan(
        tiers=tiers,
        fallbacks=fallbacks,
        groups=tiers + fallbacks,
        fallback_names=frozenset(seat.member.name for seat in seats if seat.member.fallback),
        sorts=Sorts(bool(tiers), bool(fallbacks)),
    )


def _by_tier(seats: Sequence[Seat]) -> tuple[Group, ...]:
    tiers: dict[int, list[Seat]] = {}
    for seat in seats:
        tiers.setdefault(seat.member.credential.tier, []).append(seat)
    return tuple(tuple(tiers[tier]) for tier in sorted(tiers))


def choose(plan: Plan, model: str, walk: Walk, now_s: float, *, spill: bool) -> Seat | bool:
    """The seat to use now. Without one: True if waiting for a place can help, False if it cannot.

    A tier whose usable seats are all taken is waited for, unless `spill` says to pass on to the next one. A seat
    whose trial is under way does not hold back the tiers after it.
    """
    probing = busy = False
    for group in _left(plan, walk) if walk.marked else plan.groups:
        found = _rotate(group, model, now_s)
        if isinstance(found, Seat):
            return found
        if found is Availability.BUSY:
            if not spill:
                return True
            busy = True
        probing = probing or found is Availability.PROBING
    return probing or busy


def _left(plan: Plan, walk: Walk) -> Iterator[Group]:
    if not walk.fallbacks_only:
        allowed = [[seat for seat in group if not walk.excludes(seat.member)] for group in plan.tiers]
        for avoided in (False, True):
            for group in allowed:
                yield tuple(seat for seat in group if walk.avoids(seat.member) is avoided)
    for fallbacks in plan.fallbacks:
        yield tuple(seat for seat in fallbacks if not walk.excludes(seat.member))


def _rotate(group: Group, model: str, now_s: float) -> Seat | Availability:
    best: Seat | None = None
    greatest = turn = 0
    missing = Availability.OUT
    for seat in group:
        found = availability(seat, model, now_s)
        if found is _FREE:
            weight = seat.weight
            turn += weight
            seat.current = current = seat.current + weight
            if best is None or current > greatest:
                best = seat
                greatest = current
        elif found is Availability.BUSY or missing is Availability.OUT:
            missing = found
    if best is None:
        return missing
    best.current -= turn
    return best
