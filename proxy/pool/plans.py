"""Who can serve each sort of request, worked out once and kept until the configuration is another."""

from collections.abc import Sequence
from typing import Final

from proxy.pool.choosing import Plan, make_plan
from proxy.pool.members import Member
from proxy.pool.outcomes import Want
from proxy.pool.restraint import Restraints
from proxy.pool.sessions import while_told
from proxy.pool.verdicts import Verdicts

PLANS_MAX: Final = 1024


class Plans:
    """The plans of one pool, at most `PLANS_MAX` at a time.

    Attributes:
        members: those the plans are made of; to be followed by `clear` where they change.
    """

    def __init__(
        self, members: Sequence[Member], *, verdicts: Verdicts, restraints: Restraints, window_s: float
    ) -> None:
        """`window_s` is how long a seat remembers its strikes."""
        self.members = members
        self._verdicts = verdicts
        self._restraints = restraints
        self._window_s = window_s
        self._known: dict[Want, Plan] = {}

    def of(self, want: Want, *, epoch: int) -> Plan:
        """The plan for a request; `epoch` is the serial of the last lease granted so far."""
        plan = self._known.get(want)
        if plan is None:
            plan = self._known[want] = self._made(want, epoch)
        return plan

    def now(self, want: Want, *, epoch: int, now_s: float) -> Plan:
        """The same, without the claude.ai sessions that may not stand in for another at this moment."""
        plan = self.of(want, epoch=epoch)
        return while_told(plan, want.model, now_s) if plan.sessions else plan

    def clear(self) -> None:
        """Forget them all."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)

    def _made(self, want: Want, epoch: int) -> Plan:
        if len(self._known) >= PLANS_MAX:
            self._forget()
        seats = []
        for member in self.members:
            if want.credential is not None and want.credential != member.name:
                continue
            if want.only and member.name not in want.only:
                continue
            if member.serves(want.model, want.client, want.limit_class):
                seat = member.seat(want.limit_class, window_s=self._window_s)
                seat.serves = True
                self._restraints.share(seat)
                self._verdicts.join(seat, epoch=epoch)
                seats.append(seat)
        return make_plan(seats, want.losses)

    def _forget(self) -> None:
        # model ids come from clients: what they make us remember has to have an end
        self.clear()
        for member in self.members:
            for limit_class in [name for name, seat in member.seats.items() if seat.idle]:
                del member.seats[limit_class]
