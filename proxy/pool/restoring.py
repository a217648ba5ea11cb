"""States taken over, stored ones and those that other processes tell.

They are checked, bounded, and never trusted further than their reason goes.
"""

from typing import Final

from proxy.clock import Clock
from proxy.pool.failure import FailureClass
from proxy.pool.health import BY_CONFIGURATION, CoolingTimes, HealthChange, Ladder, Reason, Standing, State
from proxy.pool.members import Member
from proxy.pool.restraint import Restraints
from proxy.pool.verdicts import Verdicts

_ABOUT_A_CLASS: Final = frozenset({Reason.RATE_LIMIT, Reason.FAULTS})
_DISABLING: Final = frozenset({Reason.AUTH, Reason.MANUAL})
_RUNG_MAX: Final = 64


class Restoring:
    """Takes states over into the members of one pool."""

    def __init__(
        self,
        verdicts: Verdicts,
        restraints: Restraints,
        times: CoolingTimes,
        clock: Clock,
        *,
        window_s: float,
    ) -> None:
        self._verdicts = verdicts
        self._restraints = restraints
        self._times = times
        self._clock = clock
        self._window_s = window_s

    def restore(self, member: Member, row: HealthChange, *, epoch: int = 0) -> None:
        """Put `member` into the stored state, if the row makes sense.

        A deadline that has passed leaves one trial to do. One that lies further ahead than its reason allows, as after
        a jump of the wall clock, is brought back to that. Leases up to serial `epoch` are no evidence against it.
        """
        reason = row.reason
        if row.state is State.READY or reason is None:
            return
        since_unix_ms = min(row.since_unix_ms, self._clock.unix_ms())
        if row.state is State.DISABLED:
            if reason in _DISABLING and not member.standing.disabled:
                member.standing.disable(reason, cause=row.cause, since_unix_ms=since_unix_ms)
            return
        found = self._find(member, row, reason)
        if found is None or row.until_unix_ms is None:
            return
        standing, ladder = found
        ahead_s = (row.until_unix_ms - self._clock.unix_ms()) / 1000
        longest_s = self._times.longest(reason, member.credential.kind)
        until_s = self._clock.monotonic_s() + min(max(ahead_s, 0.0), longest_s)
        standing.cool(reason, until_s, cause=row.cause, since_unix_ms=since_unix_ms, epoch=epoch)
        ladder.rung = min(max(row.rung, 0), _RUNG_MAX)
        if reason is Reason.AUTH:
            # the refusal was long enough ago for the next one to be a second
            member.denied_at_s = float("-inf")
        self._verdicts.next_deadline_s = min(self._verdicts.next_deadline_s, until_s)

    def adopt(self, member: Member, row: HealthChange, *, epoch: int) -> None:
        """Follow what another process has found out; `epoch` is the serial of the last lease granted here.

        What keeps a fault of the whole service from emptying the pool is looked at here too: two processes may each
        have put another half out of use.
        """
        standing = _standing_of(member, row, window_s=self._window_s)
        if standing is None or (standing.disabled and standing.cause == BY_CONFIGURATION):
            return
        if row.state is not State.DISABLED and (row.state is State.READY or standing.disabled):
            self._recover(member, row, standing)
        now_s = self._clock.monotonic_s()
        if row.reason is Reason.FAULTS and not self._may_rest(member, row.limit_class, now_s):
            return
        if (
            row.state is State.DISABLED
            and row.cause == FailureClass.AUTH
            and self._verdicts.last_of_its_kind(member)
        ):
            since_unix_ms = min(row.since_unix_ms, self._clock.unix_ms())
            until_s = now_s + self._times.auth_s[0]
            standing.cool(Reason.AUTH, until_s, cause=row.cause, since_unix_ms=since_unix_ms, epoch=epoch)
            self._verdicts.next_deadline_s = min(self._verdicts.next_deadline_s, until_s)
            return
        self.restore(member, row, epoch=epoch)

    def _recover(self, member: Member, row: HealthChange, standing: Standing) -> None:
        was = standing.reason
        if not standing.recover(since_unix_ms=min(row.since_unix_ms, self._clock.unix_ms())):
            return
        if standing is member.standing:
            member.denied_at_s, member.spared = None, False
            member.auth_ladder.rung = member.billing_ladder.rung = 0
        elif standing is member.way_standing:
            member.way_out.ladder.rung = 0
        elif row.model is not None:
            member.closed.pop(row.model, None)
        else:
            seat = member.seats[row.limit_class]
            seat.strikes = seat.rate_ladder.rung = 0
            if was is Reason.FAULTS:
                seat.recovered_at_s = self._clock.monotonic_s()
                seat.window.clear()
                self._restraints.start_slowly(seat, seat.recovered_at_s)

    def _may_rest(self, member: Member, limit_class: str, now_s: float) -> bool:
        """Whether at least half of those that could stand in for it stay in use."""
        seat = member.seats[limit_class]
        if seat.serves:
            return self._verdicts.may_eject(seat, now_s)
        # nobody has asked here yet, so nobody knows who serves the class
        tier = member.credential.tier
        peers = [
            each
            for each in self._verdicts.members
            if each.credential.tier == tier and each.fallback is member.fallback
        ]
        others = [each.seats.get(limit_class) for each in peers if each is not member]
        resting = sum(each is not None and each.standing.reason is Reason.FAULTS for each in others)
        return resting + 1 <= len(peers) // 2

    def _find(self, member: Member, row: HealthChange, reason: Reason) -> tuple[Standing, Ladder] | None:
        if bool(row.limit_class) is not (reason in _ABOUT_A_CLASS):
            return None
        if (row.model is not None) is not (reason is Reason.PERMISSION):
            return None
        if row.limit_class:
            seat = member.seat(row.limit_class, window_s=self._window_s)
            return seat.standing, seat.fault_ladder if reason is Reason.FAULTS else seat.rate_ladder
        if row.model is not None:
            return member.closing(row.model), Ladder()
        if reason is Reason.BLOCKED:
            return member.way_out.standing, member.way_out.ladder
        if reason is Reason.MANUAL:
            return None
        return member.standing, member.auth_ladder if reason is Reason.AUTH else member.billing_ladder


def _standing_of(member: Member, row: HealthChange, *, window_s: float) -> Standing | None:
    """What a row is about; None where there is nothing of it here, and nothing is said against it either."""
    if row.way_out:
        return member.way_standing
    if row.model is not None:
        if row.state is State.READY and row.model not in member.closed:
            return None
        return member.closing(row.model)
    if row.limit_class:
        return member.seat(row.limit_class, window_s=window_s).standing
    return member.standing
