"""What makes the pool ask others rather: too little left of a limit, a slow start after faults, no connection.

None of it puts anything out of use. Who is held back is passed over while another of its tier is free, and used when
there is no other.
"""

from collections.abc import Hashable, Iterable
from enum import IntEnum
from typing import Final
from weakref import WeakValueDictionary

from proxy.pool.failure import Failure, FailureClass
from proxy.pool.headroom import Allowance, LimitHeaders
from proxy.pool.members import Lease, Member, Seat, SlowStart, WayOut
from proxy.settings import Policy

_ENDLESS: Final = float("inf")


class Rank(IntEnum):
    """Who is asked first: the least."""

    OPEN = 0
    STARTING = 1
    SHORT = 2
    UNREACHED = 3


def rank_of(seat: Seat, now_s: float) -> Rank:
    """What holds a seat back at `now_s`."""
    if now_s < seat.member.way_out.avoided_until_s:
        return Rank.UNREACHED
    if now_s < seat.allowance.short_until_s:
        return Rank.SHORT
    start = seat.slow_start
    if start is not None and start.taken >= start.places and now_s < start.until_s:
        return Rank.STARTING
    return Rank.OPEN


class Restraints:
    """Sets and ends what holds the seats of one pool back.

    Attributes:
        until_s: from then on, monotonic, nothing holds anybody back, so that nobody has to look; 0 while nothing does.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._allowances: WeakValueDictionary[tuple[Hashable, str], Allowance] = WeakValueDictionary()
        self.until_s = 0.0

    def share(self, seat: Seat) -> None:
        """Let a seat read and tell what is left together with all that share its limits."""
        key = (seat.member.group, seat.limit_class)
        seat.allowance = self._allowances.setdefault(key, Allowance())

    def learn(self, seat: Seat, told: LimitHeaders, *, now_s: float, now_unix_ms: int) -> None:
        """An answer told what is left of a seat's limits."""
        allowance = seat.allowance
        if allowance.learn(told, self._policy, now_s=now_s, now_unix_ms=now_unix_ms):
            self.until_s = max(self.until_s, allowance.short_until_s)

    def start_slowly(self, seat: Seat, now_s: float) -> None:
        """A seat has come back after faults."""
        seat.slow_start = SlowStart(now_s + self._policy.slow_start_s)
        self.until_s = max(self.until_s, seat.slow_start.until_s)

    def granted(self, lease: Lease, now_s: float) -> None:
        """A lease was granted while somebody may be held back."""
        if (start := lease.seat.slow_start) is not None:
            start.taken += 1
            lease.slow_start = start
        way_out = lease.member.way_out
        if way_out.unreached >= self._policy.endpoint_strikes and now_s >= way_out.avoided_until_s:
            # the others wait for what this one finds out
            lease.trial = True
            way_out.probe = lease.serial
            way_out.avoided_until_s = now_s + self._policy.trial_s

    def ended(self, lease: Lease, now_s: float, *, whole: bool, fault: bool) -> None:
        """A lease that was granted meanwhile came back: with a whole answer, with a fault, or with neither."""
        way_out = lease.member.way_out
        if not whole and not fault and way_out.probe == lease.serial:
            way_out.avoided_until_s = now_s
        if (start := lease.slow_start) is None:
            return
        start.taken -= 1
        if fault:
            start.places = 1
        elif whole:
            start.places += 1
            if start.places >= self._policy.slow_start_places and lease.seat.slow_start is start:
                lease.seat.slow_start = None

    def reached(self, way_out: WayOut) -> None:
        """A connection was made."""
        way_out.unreached = way_out.probe = 0
        way_out.avoided_until_s = 0.0

    def failed(self, way_out: WayOut, failure: Failure, now_s: float) -> None:
        """A call failed, perhaps for want of a connection."""
        if failure.cls is not FailureClass.ENDPOINT:
            if way_out.unreached:
                self.reached(way_out)
            return
        way_out.unreached += 1
        way_out.probe = 0
        if way_out.unreached >= self._policy.endpoint_strikes:
            way_out.avoided_until_s = now_s + self._policy.endpoint_open_s
            # until it is reached again, one request at a time tries
            self.until_s = _ENDLESS

    def forget(self, member: Member) -> None:
        """Nothing holds `member` back any more, nor those that share its limits or its way out."""
        self.reached(member.way_out)
        for seat in member.seats.values():
            seat.slow_start = None
            seat.allowance.short_until_s = 0.0

    def sweep(self, members: Iterable[Member], now_s: float) -> None:
        """Forget what has ended, and find out until when somebody is held back."""
        ends_s = [0.0]
        for member in members:
            if member.way_out.unreached >= self._policy.endpoint_strikes:
                ends_s.append(_ENDLESS)
            for seat in member.seats.values():
                if now_s >= seat.allowance.short_until_s:
                    seat.allowance.short_until_s = 0.0
                if seat.slow_start is not None and now_s >= seat.slow_start.until_s:
                    seat.slow_start = None
                ends_s.append(seat.allowance.short_until_s)
                ends_s.append(0.0 if seat.slow_start is None else seat.slow_start.until_s)
        self.until_s = max(ends_s)
