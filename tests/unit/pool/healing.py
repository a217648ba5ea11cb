"""What has to come true once the upstream is healthy again, and what has to survive a restart."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.pool.health import Reason, Standing
from proxy.pool.members import Lease, Member
from proxy.pool.outcomes import Settled, Success, Want
from tests.unit.pool.building import Bench

HEALED_WITHIN_S: Final = 330.0
TRIED_WITHIN_S: Final = 30.0
_TICK_S: Final = 10.0
_REQUESTS_A_TICK: Final = 10
_OURS: Final = frozenset({Reason.FAULTS, Reason.AUTH})
_DAY_S: Final = 86_400.0
# the last step of each ladder, or the longest named time with the most that is added to it
_LONGEST_S: Final = {
    Reason.RATE_LIMIT: 3605.0,
    Reason.BILLING: 32 * _DAY_S + 5,
    Reason.FAULTS: 300.0,
    Reason.AUTH: 300.0,
    Reason.BLOCKED: 900.0,
    Reason.PERMISSION: 600.0,
}


def longest_s(name: str, reason: Reason) -> float:
    """The most seconds anything of a credential may be out of use for a reason before it is tried.

    The limit of a person's account lasts as long as claude.ai says: a week, and a day for clocks that differ.
    """
    if reason is Reason.RATE_LIMIT and name == "web":
        return 8 * _DAY_S + 5
    return _LONGEST_S[reason]


def standings(member: Member) -> list[Standing]:
    """Everything of a member that can be out of use."""
    seats = [seat.standing for seat in member.seats.values()]
    return [member.standing, member.way_standing, *member.closed.values(), *seats]


def _hindrances(member: Member, want: Want) -> list[Standing]:
    found = [member.standing, member.way_standing]
    if (seat := member.seats.get(want.limit_class)) is not None:
        found.append(seat.standing)
    if (closing := member.closed.get(want.model)) is not None:
        found.append(closing)
    return [standing for standing in found if not standing.ready]


def held_back_until_s(member: Member, want: Want) -> float:
    """Until when others may be asked rather, as long as they are free."""
    ends_s = [member.way_out.avoided_until_s]
    if (seat := member.seats.get(want.limit_class)) is not None:
        ends_s += [seat.allowance.short_until_s, seat.slow_start.until_s if seat.slow_start else 0.0]
    return max(ends_s)


@dataclass(frozen=True, slots=True)
class Kept:
    """One state that has to survive a restart.

    Attributes:
        word: ``disabled`` or ``cooling``, with its reason.
        reason: the same reason.
        left_s: seconds to its deadline, at least 0; None for what is disabled.
    """

    word: str
    reason: Reason | None
    left_s: float | None


def kept_over_a_restart(table: Bench) -> dict[tuple[str, str], Kept]:
    """Whatever a restart must not forget, by alias and limit class: neither a model nor a way out is in it."""
    found = {}
    for member in table.pool._members:
        places = [("", member.standing), *((name, seat.standing) for name, seat in member.seats.items())]
        for limit_class, standing in places:
            if standing.ready:
                continue
            word = f"{'disabled' if standing.disabled else 'cooling'}({standing.reason})"
            left_s = None if standing.disabled else max(standing.until_s - table.clock.now_s, 0.0)
            found[member.name, limit_class] = Kept(word, standing.reason, left_s)
    return found


@dataclass(slots=True)
class Healing:
    """A pool whose upstream answers every call well from now on.

    Attributes:
        table: the pool and its clock.
        wants: what is asked for.
        served: when the rotation first gave each credential for each class.
    """

    table: Bench
    wants: Sequence[Want]
    served: dict[tuple[str, str], float] = field(default_factory=dict)

    def check(self) -> None:
        """Let time and requests pass, and see everything that is not disabled serve in time."""
        due = self._due()
        began_s = self.table.clock.now_s
        ticks = [began_s + number * _TICK_S for number in range(int(HEALED_WITHIN_S / _TICK_S) + 1)]
        for moment_s in sorted({*ticks, *due.values()}):
            self._pass_until(moment_s)
            for (name, limit_class), due_s in due.items():
                if due_s == moment_s:
                    self._check_serves(name, limit_class)
        for member in self.table.pool._members:
            hindrances = [each for want in self.wants for each in _hindrances(member, want)]
            assert member.standing.disabled or not hindrances, member.name

    def _due(self) -> dict[tuple[str, str], float]:
        """By when each credential has to serve each class."""
        now_s = self.table.clock.now_s
        for want in self.wants:
            # whoever shares a limit is found out with the first request for its class
            self.table.pool.sorts(want)
        due = {}
        for member in self.table.pool._members:
            for want in self.wants:
                limits = [now_s]
                if (until_s := held_back_until_s(member, want)) > now_s:
                    limits.append(until_s + TRIED_WITHIN_S)
                for standing in _hindrances(member, want):
                    if standing.reason in _OURS:
                        limits.append(now_s + HEALED_WITHIN_S)
                    else:
                        limits.append(max(standing.until_s, now_s) + TRIED_WITHIN_S)
                if not member.standing.disabled:
                    due[member.name, want.limit_class] = max(limits)
        return due

    def _pass_until(self, moment_s: float) -> None:
        clock, pool = self.table.clock, self.table.pool
        clock.advance(moment_s - clock.now_s)
        pool.sweep()
        assert pool.sweep() == Settled()
        for want in self.wants:
            for _ in range(_REQUESTS_A_TICK):
                found = self.table.pick(want)
                if isinstance(found, Lease):
                    self.served.setdefault((found.name, want.limit_class), clock.now_s)
                    pool.settle(found, Success())

    def _check_serves(self, name: str, limit_class: str) -> None:
        """The credential can be had, and among those of the first tier requests really reach it."""
        want = next(want for want in self.wants if want.limit_class == limit_class)
        found = self.table.pool.pick_at(name, want, self.table.walk())
        assert isinstance(found, Lease), (name, limit_class, found)
        self.table.pool.settle(found, Success())
        if not found.member.fallback and found.member.credential.tier == 0:
            assert (name, limit_class) in self.served
