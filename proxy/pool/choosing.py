"""Which seat is next: tiers, and inside each the strategy; ordinarily the smooth weighted rotation.

The rotation gives every free seat its weight at each turn, takes the greatest, and takes the turn's sum off it: over
time each gets its share, and never several turns in a row where others could go between.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, assert_never

from proxy.credentials import Kind
from proxy.pool.members import Availability, Seat, availability
from proxy.pool.restraint import Rank, rank_of
from proxy.pool.retry import Walk
from proxy.settings import Strategy

Group = tuple[Seat, ...]
Losses = tuple[tuple[Kind, int], ...]
Turn = Callable[[Group, str, float], Seat | Availability]
# the lookup of a class's attribute is a tenth of a turn's cost
_FREE: Final = Availability.FREE
_USABLE: Final = frozenset({Availability.FREE, Availability.BUSY})


@dataclass(frozen=True, slots=True)
class Sorts:
    """Which sorts of credentials there are for a request: those asked in turn, and those of last resort.

    Attributes:
        ordinary, fallback: whether there are any of the sort.
        kinds: the kinds among which there is a choice; empty where each sort has one kind at most.
    """

    ordinary: bool
    fallback: bool
    kinds: frozenset[Kind] = frozenset()

    @property
    def anybody(self) -> bool:
        """Whether there is one of either sort."""
        return self.ordinary or self.fallback


@dataclass(frozen=True, slots=True)
class Plan:
    """The seats that can serve one sort of request, whatever their health.

    Attributes:
        tiers: those of ordinary credentials by what their kind would lose of the request, then by tier, lowest first.
        fallbacks: those of last resort in the same order.
        groups: both together.
        fallback_names: the aliases of the fallbacks.
        sorts: which of the two there are.
        sessions: those of claude.ai sessions, of any tier.
        losses: what each kind would lose; empty where all lose the same.
    """

    tiers: tuple[Group, ...]
    fallbacks: tuple[Group, ...]
    groups: tuple[Group, ...]
    fallback_names: frozenset[str]
    sorts: Sorts
    sessions: Group = ()
    losses: Losses = ()

    @property
    def seats(self) -> Iterator[Seat]:
        """All seats, in the order in which they are asked."""
        for group in self.groups:
            yield from group


def make_plan(seats: Sequence[Seat], losses: Losses = ()) -> Plan:
    """Group `seats` by what they would lose and by tier, fallbacks apart; inside a group their order is kept."""
    ordinary = [seat for seat in seats if not seat.member.fallback]
    last = [seat for seat in seats if seat.member.fallback]
    tiers, fallbacks = _grouped(ordinary, losses), _grouped(last, losses)
    return Plan(
        tiers=tiers,
        fallbacks=fallbacks,
        groups=tiers + fallbacks,
        fallback_names=frozenset(seat.member.name for seat in last),
        sorts=Sorts(bool(tiers), bool(fallbacks), _choice(ordinary) | _choice(last)),
        sessions=tuple(seat for seat in seats if seat.member.credential.kind is Kind.CLAUDE_WEB),
        losses=losses,
    )


def _grouped(seats: Sequence[Seat], losses: Losses) -> tuple[Group, ...]:
    lost = dict(losses)
    groups: dict[tuple[int, int], list[Seat]] = {}
    for seat in seats:
        credential = seat.member.credential
        groups.setdefault((lost.get(credential.kind, 0), credential.tier), []).append(seat)
    return tuple(tuple(groups[place]) for place in sorted(groups))


def _choice(seats: Sequence[Seat]) -> frozenset[Kind]:
    kinds = frozenset(seat.member.credential.kind for seat in seats)
    return kinds if len(kinds) > 1 else frozenset()


class Chooser:
    """Chooses seats for one pool, by its strategy."""

    __slots__ = ("_turn",)

    def __init__(self, strategy: Strategy, rng: random.Random) -> None:
        self._turn = _turn_of(strategy, rng)

    def choose(
        self, plan: Plan, model: str, walk: Walk, now_s: float, *, spill: bool, restrained: bool
    ) -> Seat | bool:
        """The seat to use now. Without one: True if waiting for a place can help, False if it cannot.

        A tier whose usable seats are all taken is waited for, unless `spill` says to pass on to the next one. A seat
        whose trial is under way does not hold back the tiers after it. `restrained` says that some seats may be
        held back, so that it has to be looked who is.
        """
        probing = busy = False
        groups: Iterable[Group] = _left(plan, walk) if walk.marked else plan.groups
        if restrained:
            groups = _reached_first(groups, now_s)
        for group in groups:
            asked = _foremost(group, model, now_s) if restrained else group
            found = self._turn(asked, model, now_s)
            if isinstance(found, Seat):
                return found
            if found is Availability.BUSY:
                if not spill:
                    return True
                busy = True
            probing = probing or found is Availability.PROBING
        return probing or busy


def passed_over(plan: Plan, seat: Seat, model: str, now_s: float) -> bool:
    """Whether another seat of the same tier, which is free and held back less, is to be used rather."""
    rank = rank_of(seat, now_s)
    if rank is Rank.OPEN:
        return False
    group = next(group for group in plan.groups if seat in group)
    return any(rank_of(other, now_s) < rank for other in _free(group, model, now_s))


def outdone(plan: Plan, seat: Seat, model: str, walk: Walk, now_s: float) -> bool:
    """Whether another seat that this walk may ask, free or soon so, would lose less of the request."""
    lost = dict(plan.losses)
    least = lost.get(seat.member.credential.kind, 0)
    return any(
        lost.get(other.member.credential.kind, 0) < least
        and other.member.fallback is seat.member.fallback
        and not walk.excludes(other.member)
        and availability(other, model, now_s) in _USABLE
        for other in plan.seats
    )


def _left(plan: Plan, walk: Walk) -> Iterator[Group]:
    if not walk.fallbacks_only:
        allowed = [[seat for seat in group if not walk.excludes(seat.member)] for group in plan.tiers]
        for avoided in (False, True):
            for group in allowed:
                yield tuple(seat for seat in group if walk.avoids(seat.member) is avoided)
    for fallbacks in plan.fallbacks:
        yield tuple(seat for seat in fallbacks if not walk.excludes(seat.member))


def _reached_first(groups: Iterable[Group], now_s: float) -> Iterator[Group]:
    """All groups without the seats that could not be reached of late, then those seats."""
    unreached = []
    for group in groups:
        away = tuple(seat for seat in group if rank_of(seat, now_s) is Rank.UNREACHED)
        if away:
            unreached.append(away)
            yield tuple(seat for seat in group if seat not in away)
        else:
            yield group
    yield from unreached


def _foremost(group: Group, model: str, now_s: float) -> Group:
    """The free seats that are held back least; all seats where none is free."""
    free = _free(group, model, now_s)
    if not free:
        return group
    ranks = [rank_of(seat, now_s) for seat in free]
    least = min(ranks)
    return tuple(seat for seat, rank in zip(free, ranks, strict=True) if rank is least)


def _free(group: Group, model: str, now_s: float) -> list[Seat]:
    return [seat for seat in group if availability(seat, model, now_s) is _FREE]


def _turn_of(strategy: Strategy, rng: random.Random) -> Turn:
    match strategy:
        case "round_robin":
            return _rotate
        case "least_busy":
            return _least_busy
        case "weighted":
            return partial(_draw, rng)
        case "fill_first":
            return _first
        case _:
            assert_never(strategy)


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


def _least_busy(group: Group, model: str, now_s: float) -> Seat | Availability:
    """Whoever has the fewest calls under way for its weight; equals in rotation."""
    loads = [(seat, (seat.member.in_flight + 1) / seat.weight) for seat in _free(group, model, now_s)]
    if not loads:
        return _rotate(group, model, now_s)
    least = min(load for _, load in loads)
    return _rotate(tuple(seat for seat, load in loads if load == least), model, now_s)


def _draw(rng: random.Random, group: Group, model: str, now_s: float) -> Seat | Availability:
    """By lot, each with its weight times the share that is left of its limits."""
    free = _free(group, model, now_s)
    if not free:
        return _rotate(group, model, now_s)
    shares = [seat.allowance.share_left(now_s) for seat in free]
    chances = [
        seat.weight * (1.0 if share is None else share) for seat, share in zip(free, shares, strict=True)
    ]
    if not any(chances):
        return _rotate(group, model, now_s)
    (chosen,) = rng.choices(free, chances)
    return chosen


def _first(group: Group, model: str, now_s: float) -> Seat | Availability:
    """The first one in the order of the configuration that is free."""
    for seat in group:
        if availability(seat, model, now_s) is _FREE:
            return seat
    return _rotate(group, model, now_s)
