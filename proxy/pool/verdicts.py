"""Applies what became of a lease to everything it concerns: the credential, its siblings, its way out.

Two rules keep a fault of the whole service from emptying the pool. Faults take at most half of the credentials of
a tier and limit class out of use; the others stay in and pass the upstream's own error on. A refused key is
disabled only while at most half of the pool is refused, and never the last one of its kind.
"""

from collections.abc import Sequence
from typing import Final, assert_never

from proxy.clock import Clock
from proxy.credentials import Kind
from proxy.pool.failure import Failure
from proxy.pool.health import (
    BY_CONFIGURATION,
    MONTH_LONGEST_S,
    SESSION_LIMIT_S,
    CoolingTimes,
    Effect,
    HealthChange,
    Reason,
    Standing,
    State,
    effect_of,
    lifted_by,
)
from proxy.pool.members import Lease, Member, Seat, standings_of
from proxy.pool.restraint import Restraints
from proxy.settings import Policy

# what a first event proves: that the answer comes through whole is still to be seen
EARLY_PROOF: Final = frozenset(Reason) - {Reason.FAULTS}
_DENIALS_APART_S: Final = 5.0


class Verdicts:
    """The rules of health over one pool's members.

    Attributes:
        members: whom they are about.
        changes: what has changed since they were last taken.
        next_deadline_s: no deadline that was set lies before this one; monotonic.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        policy: Policy,
        clock: Clock,
        times: CoolingTimes,
        restraints: Restraints,
    ) -> None:
        self.members = members
        self._restraints = restraints
        self._policy = policy
        self._clock = clock
        self._times = times
        self._epoch = 0
        self.changes: list[HealthChange] = []
        self.next_deadline_s = float("inf")

    def take_changes(self) -> tuple[HealthChange, ...]:
        """The changes since the last time, which are forgotten here."""
        if not self.changes:
            return ()
        changes = tuple(self.changes)
        self.changes.clear()
        return changes

    def succeeded(self, lease: Lease, now_s: float) -> None:
        """A whole answer came through."""
        seat = lease.seat
        member = seat.member
        seat.window.record(now_s, fault=False)
        if not seat.idle:
            seat.strikes = 0
            seat.held = False
        if lease.serial > member.standing.epoch:
            member.denied_at_s = None
            member.spared = False
        if member.way_out.unreached:
            self._restraints.reached(member.way_out)
        if not self._sound(lease):
            self.lift(lease, frozenset(Reason), now_s)

    def lift(self, lease: Lease, reasons: frozenset[Reason], now_s: float) -> None:
        """Bring back what this lease has tried and found in order, as far as it was out of use for `reasons`.

        A lease granted before something went out of use says nothing about it.
        """
        seat = lease.seat
        for standing in tuple(standings_of(seat, lease.model)):
            reason = standing.reason
            if standing.ready or standing.disabled or reason not in reasons or lease.serial <= standing.epoch:
                continue
            self._recover(seat, lease.model, standing, now_s)

    def failed(self, lease: Lease, failure: Failure, now_s: float, *, epoch: int) -> None:
        """The lease ended in `failure`; `epoch` is the serial of the last lease granted so far."""
        self._epoch = epoch
        if not self._sound(lease):
            self.lift(lease, lifted_by(failure), now_s)
        self._restraints.failed(lease.member.way_out, failure, now_s)
        effect = effect_of(failure)
        match effect:
            case Effect.NONE:
                pass
            case Effect.REFUSED_KEY:
                self._refused_key(lease.member, failure, now_s)
            case Effect.DEAD_KEY:
                self.disable(lease.member, Reason.AUTH, cause=failure.cls)
            case Effect.CLOSE_MODEL:
                self._close_model(lease, failure, now_s)
            case Effect.RATE_LIMIT:
                self._rate_limit(lease.seat, failure, now_s)
            case Effect.OUT_OF_CREDIT:
                self._out_of_credit(lease.member, failure, now_s)
            case Effect.STRIKE:
                self._strike(lease, failure, now_s)
            case Effect.BLOCK_WAY_OUT:
                self._block_way_out(lease.member, failure, now_s)
            case _:
                assert_never(effect)

    def disable(self, member: Member, reason: Reason, *, cause: str) -> None:
        """Put a whole credential out of use for good."""
        if member.standing.disable(reason, cause=cause, since_unix_ms=self._clock.unix_ms()):
            self._note(member, member.standing)

    def follow_configuration(self) -> None:
        """Disable whom the configuration disables, and bring back whom nothing but that had disabled.

        The first is no change worth keeping: the next start reads it again.
        """
        noted = len(self.changes)
        for member in self.members:
            if not member.credential.enabled:
                self.disable(member, Reason.MANUAL, cause=BY_CONFIGURATION)
        del self.changes[noted:]
        for member in self.members:
            standing = member.standing
            configured = standing.reason is Reason.MANUAL and standing.cause == BY_CONFIGURATION
            if configured and member.credential.enabled:
                standing.recover(since_unix_ms=self._clock.unix_ms())
                self._note(member, standing)

    def join(self, seat: Seat, *, epoch: int) -> None:
        """A seat turned out to share its limits with others: the limit those have run into holds for it too.

        `epoch` is the serial of the last lease granted so far.
        """
        if seat.member.organization is None:
            return
        now_s = self._clock.monotonic_s()
        group = seat.member.group
        for member in self.members:
            if member is seat.member or member.group != group:
                continue
            sibling = member.seats.get(seat.limit_class)
            if sibling is None or sibling.standing.reason is not Reason.RATE_LIMIT:
                continue
            if sibling.standing.closed(now_s):
                self._epoch = epoch
                seat.rate_ladder.rung = sibling.rate_ladder.rung
                self._cool(
                    seat.member,
                    seat.standing,
                    Reason.RATE_LIMIT,
                    sibling.standing.until_s,
                    sibling.standing.cause,
                    limit_class=seat.limit_class,
                )

    def enable(self, member: Member) -> None:
        """Bring a disabled credential back into use; nothing is held against its key any more."""
        if not member.standing.disabled:
            return
        member.denied_at_s = None
        member.spared = False
        member.auth_ladder.rung = member.billing_ladder.rung = 0
        member.standing.recover(since_unix_ms=self._clock.unix_ms())
        self._note(member, member.standing)

    def reset(self, member: Member) -> None:
        """Forget everything that keeps a credential out of use, its way out included."""
        now_s = self._clock.monotonic_s()
        member.denied_at_s = None
        member.spared = False
        member.auth_ladder.rung = member.billing_ladder.rung = 0
        for seat in member.seats.values():
            if not seat.standing.ready:
                self._recover(seat, "", seat.standing, now_s)
            seat.forget()
        if member.standing.recover(since_unix_ms=self._clock.unix_ms()):
            self._note(member, member.standing)
        member.way_out.ladder.rung = 0
        if member.way_standing.recover(since_unix_ms=self._clock.unix_ms()):
            self._note_way_out(member)
        for model, standing in tuple(member.closed.items()):
            del member.closed[model]
            standing.recover(since_unix_ms=self._clock.unix_ms())
            self._note(member, standing, model=model)

    def _sound(self, lease: Lease) -> bool:
        member = lease.member
        return (
            member.standing.ready
            and lease.seat.standing.ready
            and member.way_standing.ready
            and not member.closed
        )

    def _recover(self, seat: Seat, model: str, standing: Standing, now_s: float) -> None:
        member = seat.member
        reason = standing.reason
        standing.recover(since_unix_ms=self._clock.unix_ms())
        if standing is seat.standing:
            if reason is Reason.FAULTS:
                seat.recovered_at_s = now_s
                seat.strikes = 0
                seat.window.clear()
                self._restraints.start_slowly(seat, now_s)
            else:
                seat.rate_ladder.rung = 0
            self._note(member, standing, limit_class=seat.limit_class)
        elif standing is member.standing:
            member.auth_ladder.rung = member.billing_ladder.rung = 0
            self._note(member, standing)
        elif standing is member.way_standing:
            member.way_out.ladder.rung = 0
            self._note_way_out(member)
        else:
            member.closed.pop(model, None)
            self._note(member, standing, model=model)

    def _refused_key(self, member: Member, failure: Failure, now_s: float) -> None:
        denied_at_s = member.denied_at_s
        # calls that were under way together are refused together: that is one refusal
        same = denied_at_s is not None and now_s - denied_at_s < _DENIALS_APART_S
        if same and member.standing.closed(now_s):
            return
        if not same:
            member.denied_at_s = now_s
        if denied_at_s is not None and not same and self._may_disable(member, now_s):
            self.disable(member, Reason.AUTH, cause=failure.cls)
            return
        time_s = self._times.step(member.auth_ladder, self._times.auth_s)
        self._cool(member, member.standing, Reason.AUTH, now_s + time_s, _cause(failure))

    def last_of_its_kind(self, member: Member) -> bool:
        """Whether every other credential of its kind is disabled."""
        kind = member.credential.kind
        return all(
            other is member or other.standing.disabled
            for other in self.members
            if other.credential.kind is kind
        )

    def _may_disable(self, member: Member, now_s: float) -> bool:
        if self.last_of_its_kind(member):
            return False
        counted = refused = 0
        for other in self.members:
            # a key that has had no chance to answer since it was refused still counts as refused
            recently = (
                other.denied_at_s is not None and now_s - other.denied_at_s <= self._policy.auth_window_s
            )
            if other.standing.disabled and not recently:
                continue
            counted += 1
            refused += other.denied_at_s is not None
        member.spared = refused * 2 > counted
        return not member.spared

    def _close_model(self, lease: Lease, failure: Failure, now_s: float) -> None:
        until_s = now_s + self._policy.closed_model_s
        standing = lease.member.closing(lease.model)
        self._cool(lease.member, standing, Reason.PERMISSION, until_s, _cause(failure), model=lease.model)

    def _rate_limit(self, seat: Seat, failure: Failure, now_s: float) -> None:
        kind = seat.member.credential.kind
        time_s = self._named_s(failure, longest_s=self._times.longest_named_limit_s(kind))
        if time_s is None and kind is Kind.CLAUDE_WEB:
            time_s = SESSION_LIMIT_S
        if time_s is None:
            if seat.standing.reason is Reason.RATE_LIMIT and seat.standing.closed(now_s):
                return
            time_s = self._times.step(seat.rate_ladder, self._times.rate_s)
        group = seat.member.group
        for member in self.members:
            sibling = member.seats.get(seat.limit_class)
            if sibling is None or (sibling is not seat and member.group != group):
                continue
            sibling.rate_ladder.rung = seat.rate_ladder.rung
            self._cool(
                member,
                sibling.standing,
                Reason.RATE_LIMIT,
                now_s + time_s,
                _cause(failure),
                limit_class=seat.limit_class,
            )

    def _out_of_credit(self, member: Member, failure: Failure, now_s: float) -> None:
        time_s = self._named_s(failure, longest_s=MONTH_LONGEST_S)
        if time_s is None:
            if member.standing.reason is Reason.BILLING and member.standing.closed(now_s):
                return
            time_s = self._times.step(member.billing_ladder, self._times.billing_s)
        self._cool(member, member.standing, Reason.BILLING, now_s + time_s, _cause(failure))

    def _block_way_out(self, member: Member, failure: Failure, now_s: float) -> None:
        way_out = member.way_out
        if way_out.standing.closed(now_s):
            return
        time_s = self._times.step(way_out.ladder, self._times.blocked_s)
        self._cool(member, way_out.standing, Reason.BLOCKED, now_s + time_s, _cause(failure))

    def _strike(self, lease: Lease, failure: Failure, now_s: float) -> None:
        seat = lease.seat
        trying = not seat.standing.ready and seat.standing.reason is Reason.FAULTS
        if trying and lease.serial <= seat.standing.epoch:
            return
        if now_s - seat.struck_at_s > self._policy.fault_forget_s:
            seat.strikes = 0
        seat.strikes += 1
        seat.struck_at_s = now_s
        seat.window.record(now_s, fault=True)
        share = seat.window.share(calls_min=self._policy.strike_window_calls)
        if trying or seat.strikes >= self._policy.strikes or share >= self._policy.strike_share:
            self._eject(seat, failure, now_s)

    def _eject(self, seat: Seat, failure: Failure, now_s: float) -> None:
        if not self.may_eject(seat, now_s):
            seat.held = True
            if seat.standing.reason is Reason.FAULTS:
                self._recover(seat, "", seat.standing, now_s)
            return
        again = seat.standing.reason is Reason.FAULTS
        if not again and now_s - seat.recovered_at_s >= self._policy.fault_forget_s:
            seat.fault_ladder.rung = 0
        seat.held = False
        seat.strikes = 0
        seat.window.clear()
        time_s = self._times.step(seat.fault_ladder, self._times.fault_s)
        self._cool(
            seat.member,
            seat.standing,
            Reason.FAULTS,
            now_s + time_s,
            _cause(failure),
            limit_class=seat.limit_class,
        )

    def may_eject(self, seat: Seat, now_s: float) -> bool:
        """Whether faults may take this seat out of use without more than half of its peers being so."""
        mine = seat.member
        counted = ejected = 0
        for member in self.members:
            peer = member.seats.get(seat.limit_class)
            if peer is None or not peer.serves or member.fallback is not mine.fallback:
                continue
            if member.credential.tier != mine.credential.tier:
                continue
            by_fault = not peer.standing.ready and peer.standing.reason is Reason.FAULTS
            elsewise = any(each.closed(now_s) for each in standings_of(peer, ""))
            # who is out of use for another reason cannot carry the load, so is no part of the half that stays
            if by_fault or not elsewise or peer is seat:
                counted += 1
                ejected += by_fault and peer is not seat
        return ejected + 1 <= counted // 2

    def _named_s(self, failure: Failure, *, longest_s: float) -> float | None:
        named_s = failure.retry_after_s
        if failure.until_unix_ms is not None and named_s is None:
            named_s = (failure.until_unix_ms - self._clock.unix_ms()) / 1000
        return None if named_s is None else self._times.named(named_s, longest_s=longest_s)

    def _cool(
        self,
        member: Member,
        standing: Standing,
        reason: Reason,
        until_s: float,
        cause: str,
        *,
        limit_class: str = "",
        model: str | None = None,
    ) -> None:
        since = self._clock.unix_ms()
        if not standing.cool(reason, until_s, cause=cause, since_unix_ms=since, epoch=self._epoch):
            return
        self.next_deadline_s = min(self.next_deadline_s, until_s)
        if reason is Reason.BLOCKED:
            self._note_way_out(member)
        else:
            self._note(member, standing, limit_class=limit_class, model=model)

    def _note_way_out(self, member: Member) -> None:
        for other in self.members:
            if other.way_out is member.way_out:
                self._note(other, member.way_standing)

    def _note(
        self, member: Member, standing: Standing, *, limit_class: str = "", model: str | None = None
    ) -> None:
        now_s = self._clock.monotonic_s()
        state = State.COOLING if standing.state(now_s) is State.TRIAL else standing.state(now_s)
        until_unix_ms = None
        if state is State.COOLING:
            until_unix_ms = self._clock.unix_ms() + round((standing.until_s - now_s) * 1000)
        self.changes.append(
            HealthChange(
                name=member.name,
                limit_class=limit_class,
                model=model,
                state=state,
                reason=standing.reason,
                cause=standing.cause,
                since_unix_ms=standing.since_unix_ms,
                until_unix_ms=until_unix_ms,
                rung=_rung(member, standing, limit_class),
                durable=model is None and standing is not member.way_standing,
                shared=standing is not member.way_standing or member.credential.kind is Kind.CLAUDE_WEB,
                way_out=standing is member.way_standing,
            )
        )


def _cause(failure: Failure) -> str:
    return failure.fault or failure.cls


def _rung(member: Member, standing: Standing, limit_class: str) -> int:
    match standing.reason:
        case Reason.AUTH:
            return member.auth_ladder.rung
        case Reason.BILLING:
            return member.billing_ladder.rung
        case Reason.BLOCKED:
            return member.way_out.ladder.rung
        case Reason.FAULTS:
            return member.seats[limit_class].fault_ladder.rung
        case Reason.RATE_LIMIT:
            return member.seats[limit_class].rate_ladder.rung
        case _:
            return 0
