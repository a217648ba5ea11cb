"""The pool of credentials: one synchronous object that owns all of their state.

It never waits. Whatever changes it returns what has to be done elsewhere: who of the waiting got a lease, and what to
keep. Between two calls no waiting request could be served, except by the mere passing of a deadline; `Pool.sweep`
makes good for that.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, assert_never

from proxy.clock import Clock
from proxy.credentials import Credential
from proxy.pool import trials
from proxy.pool.affinity import Affinity
from proxy.pool.choosing import Chooser, Plan, Sorts, outdone, passed_over
from proxy.pool.deadlines import next_deadline_s
from proxy.pool.explain import Outlook, Question, explain, outlook
from proxy.pool.headroom import LimitHeaders
from proxy.pool.health import BY_OPERATOR, CoolingTimes, Effect, HealthChange, Reason, effect_of
from proxy.pool.members import (
    Availability,
    Lease,
    Seat,
    availability,
    endpoint_of,
    standings_of,
)
from proxy.pool.outcomes import (
    Abandoned,
    Exhausted,
    ExhaustedReason,
    Failed,
    Outcome,
    Saturated,
    Settled,
    Success,
    Ticket,
    Want,
)
from proxy.pool.plans import Plans
from proxy.pool.queue import Queue
from proxy.pool.replacing import Replaced, compare, succeed
from proxy.pool.restoring import Restoring
from proxy.pool.restraint import Restraints
from proxy.pool.retry import Walk
from proxy.pool.verdicts import EARLY_PROOF, Verdicts
from proxy.pool.views import MemberView, view_of, word_of
from proxy.settings import Policy, Strategy

__all__ = [
    "Abandoned",
    "Exhausted",
    "ExhaustedReason",
    "Failed",
    "HealthChange",
    "Lease",
    "MemberView",
    "Outcome",
    "Pool",
    "Replaced",
    "Saturated",
    "Settled",
    "Success",
    "Ticket",
    "Want",
]

_NOTHING: Final = Settled()


class Pool:
    """All credentials, who uses them, who waits for them, and what keeps them out of use.

    Attributes:
        affinity: which conversation belongs to which of them.
    """

    def __init__(
        self,
        credentials: Sequence[Credential],
        *,
        policy: Policy,
        clock: Clock,
        rng: random.Random,
        strategy: Strategy = "round_robin",
    ) -> None:
        self._policy = policy
        self._clock = clock
        times = CoolingTimes(policy, rng)
        self._strategy = strategy
        self._chooser = Chooser(strategy, rng)
        self._restraints = Restraints(policy)
        self._members, self._leaving = succeed({}, credentials, {})
        self._by_name = {member.name: member for member in self._members}
        self._verdicts = Verdicts(
            self._members, policy=policy, clock=clock, times=times, restraints=self._restraints
        )
        self._restoring = Restoring(
            self._verdicts, self._restraints, times, clock, window_s=policy.strike_window_s
        )
        self._plans = Plans(
            self._members,
            verdicts=self._verdicts,
            restraints=self._restraints,
            window_s=policy.strike_window_s,
        )
        self._queue = Queue(policy.queue_length)
        self.affinity = Affinity(clock)
        self._serial = 0
        self._verdicts.follow_configuration()

    def pick(self, want: Want, walk: Walk, *, spill: bool = False) -> Lease | Saturated | Exhausted:
        """A lease for the next credential in turn, or why there is none.

        A lease has to come back through `settle`, once. With `spill`, tiers that are merely full are passed over;
        that is for a request that has waited long enough.
        """
        now_s = self._clock.monotonic_s()
        if self._queue and now_s >= self._verdicts.next_deadline_s:
            return Saturated(len(self._queue))
        plan = self._plans.now(want, epoch=self._serial, now_s=now_s)
        restrained = now_s < self._restraints.until_s
        found = self._chooser.choose(plan, want.model, walk, now_s, spill=spill, restrained=restrained)
        if isinstance(found, Seat):
            return self._grant(found, plan, want, walk, now_s)
        return Saturated(len(self._queue)) if found else explain(plan, want.model, now_s)

    def pick_at(self, name: str, want: Want, walk: Walk) -> Lease | Saturated | None:
        """A lease of one credential, outside the rotation; None when it cannot serve this request now."""
        now_s = self._clock.monotonic_s()
        plan = self._plans.now(want, epoch=self._serial, now_s=now_s)
        seat = next((seat for seat in plan.seats if seat.member.name == name), None)
        if seat is None or walk.excludes(seat.member) or walk.avoids(seat.member):
            return None
        if now_s < self._restraints.until_s and passed_over(plan, seat, want.model, now_s):
            return None
        if plan.losses and outdone(plan, seat, want.model, walk, now_s):
            return None
        match availability(seat, want.model, now_s):
            case Availability.FREE:
                return self._grant(seat, plan, want, walk, now_s)
            case Availability.BUSY:
                return Saturated(len(self._queue))
            case Availability.PROBING | Availability.OUT:
                return None

    def sorts(self, want: Want) -> Sorts:
        """Which sorts of credentials can serve this request, whatever their health."""
        return self._plans.of(want, epoch=self._serial).sorts

    def enqueue(self, want: Want, walk: Walk) -> Ticket | None:
        """Join the queue, in which clients take turns; None while it is full."""
        ticket = Ticket(want, walk, self._clock.monotonic_s())
        return ticket if self._queue.join(ticket) else None

    def crowd_out(self, client: str) -> Ticket | None:
        """Take a ticket out of a full queue, to make room for `client`; None where nobody has much more than it."""
        ticket = self._queue.crowded_out(client)
        if ticket is not None:
            self._queue.leave(ticket)
        return ticket

    def withdraw(self, ticket: Ticket) -> bool:
        """Leave the queue. False if the ticket is not in it: then its lease was granted and has to be settled."""
        return self._queue.leave(ticket)

    def answered(self, lease: Lease) -> Settled:
        """The first real event came: a trial has passed, as far as that shows it, long before the answer ends."""
        if lease.settled or not lease.trial or lease.member.retired:
            return _NOTHING
        now_s = self._clock.monotonic_s()
        self._restraints.reached(lease.member.way_out)
        self._verdicts.lift(lease, EARLY_PROOF, now_s)
        if all(standing.ready for standing in standings_of(lease.seat, lease.model)):
            trials.end(lease)
        return self._settled(now_s)

    def settle(self, lease: Lease, outcome: Outcome) -> Settled:
        """Take a lease back. Raises RuntimeError for one that was given back before."""
        if lease.settled:
            raise RuntimeError(f"lease {lease.serial} was given back before")
        lease.settled = True
        member = lease.seat.member
        member.in_flight -= 1
        now_s = self._clock.monotonic_s()
        if lease.trial:
            trials.end(lease)
        if lease.trial or lease.slow_start is not None:
            self._end_restraint(lease, outcome, now_s)
        if member.retired:
            # an alias may be another key by now, and what becomes of the old one is no matter of its
            pass
        elif isinstance(outcome, Success):
            member.succeeded += 1
            self._verdicts.succeeded(lease, now_s)
            if outcome.limit is not None:
                self._verdicts.failed(lease, outcome.limit, now_s, epoch=self._serial)
        elif isinstance(outcome, Failed):
            member.failed += 1
            self._verdicts.failed(lease, outcome.failure, now_s, epoch=self._serial)
        elif isinstance(outcome, Abandoned):
            member.abandoned += 1
        else:
            assert_never(outcome)
        if not self._queue and not self._verdicts.changes:
            return _NOTHING
        return self._settled(now_s)

    def learn(
        self,
        lease: Lease,
        organization: str | None,
        workspace: str | None,
        limits: LimitHeaders | None = None,
    ) -> None:
        """An answer, good or bad, told something about the credential it came from.

        Args:
            lease: of the call that was answered.
            organization: the organization the credential belongs to.
            workspace: the workspace within it.
            limits: what is left of its limits.
        """
        member = lease.member
        if organization is not None and (
            member.organization != organization or member.workspace != workspace
        ):
            member.organization = organization
            member.workspace = workspace
            if member.retired:
                return
            for seat in member.seats.values():
                self._restraints.share(seat)
                if seat is not lease.seat:
                    self._verdicts.join(seat, epoch=self._serial)
        if limits is not None and not member.retired and not lease.seat.allowance.takes(limits):
            self._restraints.learn(
                lease.seat, limits, now_s=self._clock.monotonic_s(), now_unix_ms=self._clock.unix_ms()
            )

    def sweep(self) -> Settled:
        """Make up for deadlines that have passed. May be called at any time, and as often as one likes."""
        now_s = self._clock.monotonic_s()
        for member in self._members:
            member.forget_closed(now_s - self._policy.closed_model_s)
        if self._restraints.until_s:
            self._restraints.sweep(self._members, now_s)
        if now_s >= self._verdicts.next_deadline_s:
            self._verdicts.next_deadline_s = next_deadline_s(self._members, now_s)
        return self._settled(now_s)

    @property
    def next_deadline_s(self) -> float | None:
        """Monotonic seconds at which a sweep is of use next; None while nothing has a deadline."""
        deadline_s = self._verdicts.next_deadline_s
        return None if deadline_s == float("inf") else deadline_s

    def servable(self, models: Iterable[str], client: str | None = None) -> tuple[str, ...]:
        """Those of `models` that a credential which is not disabled serves to `client`, or to anybody for None."""
        members = [member for member in self._members if not member.standing.disabled]
        return tuple(model for model in models if any(member.serves(model, client) for member in members))

    @property
    def in_flight(self) -> int:
        """Leases that are out."""
        return sum(member.in_flight for members in (self._members, self._leaving) for member in members)

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._queue)

    def disable(self, name: str) -> Settled:
        """Put a credential out of use by hand. Raises KeyError for an unknown alias."""
        self._verdicts.disable(self._by_name[name], Reason.MANUAL, cause=BY_OPERATOR)
        return self._settled(self._clock.monotonic_s())

    def tried_elsewhere(self, lease: Lease) -> Settled:
        """Take back a lease that was to try what another process is trying; for a second nobody here does."""
        until_s = self._clock.monotonic_s() + trials.ELSEWHERE_S
        trials.leave_to_others(lease, until_s)
        self._verdicts.next_deadline_s = min(self._verdicts.next_deadline_s, until_s)
        return self.settle(lease, Abandoned())

    def enable(self, name: str) -> Settled:
        """Bring a disabled credential back, whoever disabled it. Raises KeyError for an unknown alias.

        What keeps it out of use for a time stays: that is what `reset` forgets.
        """
        self._verdicts.enable(self._by_name[name])
        return self._settled(self._clock.monotonic_s())

    def reset(self, name: str) -> Settled:
        """Forget all that keeps a credential out of use. Raises KeyError for an unknown alias."""
        self._verdicts.reset(self._by_name[name])
        self._restraints.forget(self._by_name[name])
        return self._settled(self._clock.monotonic_s())

    def restore(self, rows: Iterable[HealthChange]) -> None:
        """Take stored states over at the start. Rows that do not fit are passed over, deadlines are bounded."""
        for row in rows:
            if (member := self._by_name.get(row.name)) is not None:
                self._restoring.restore(member, row)

    def adopt(self, rows: Iterable[HealthChange]) -> Settled:
        """Follow what other processes found out about the same credentials; nothing of it is a change of our own."""
        for row in rows:
            if (member := self._by_name.get(row.name)) is not None:
                self._restoring.adopt(member, row, epoch=self._serial)
        return self._settled(self._clock.monotonic_s())

    def replace(self, credentials: Sequence[Credential], stored: Iterable[HealthChange] = ()) -> Replaced:
        """Go on with another configuration; aliases are unique in it.

        Every lease that is out stays good and is settled as before. A credential whose alias, kind, address and key
        are the same keeps its health; any other begins with what `stored` says of it.
        """
        difference = compare([member.credential for member in self._members], credentials)
        ways_out = {endpoint_of(member.credential): member.way_out for member in self._members}
        self._members, leaving = succeed(self._by_name, credentials, ways_out, self._leaving)
        self._leaving += leaving
        self._by_name = {member.name: member for member in self._members}
        self._verdicts.members = self._plans.members = self._members
        self._plans.clear()
        for member in self._members:
            for seat in member.seats.values():
                # turns that were saved up under other weights would keep the others waiting
                seat.current = 0
        self.affinity.forget({*difference.removed, *difference.renewed})
        unknown = {*difference.added, *difference.renewed}
        self._verdicts.follow_configuration()
        self.restore(row for row in stored if row.name in unknown)
        return Replaced(difference, self._settled(self._clock.monotonic_s()))

    def departed(self) -> tuple[Credential, ...]:
        """Credentials that were replaced and whose last lease has come back; each is told once."""
        gone = tuple(member.credential for member in self._leaving if not member.in_flight)
        self._leaving = tuple(member for member in self._leaving if member.in_flight)
        return gone

    @property
    def leaving(self) -> tuple[Credential, ...]:
        """Credentials that were replaced and have leases out, or were not told of by `departed` yet."""
        return tuple(member.credential for member in self._leaving)

    @property
    def panic(self) -> bool:
        """Whether credentials are kept in use only because too many failed at once."""
        return any(
            member.spared or any(seat.held for seat in member.seats.values()) for member in self._members
        )

    def snapshot(self) -> list[MemberView]:
        """All members as they are now, in the order of the configuration."""
        return [view_of(member, self._clock) for member in self._members]

    def __repr__(self) -> str:
        words = Counter(word_of(member, self._clock) for member in self._members)
        states = ", ".join(f"{count} {word}" for word, count in words.items()) or "none"
        return f"<Pool [{len(self._members)} members: {states} | Leases: {self.in_flight} | Queue: {len(self._queue)}]>"

    def _grant(self, seat: Seat, plan: Plan, want: Want, walk: Walk, now_s: float) -> Lease:
        self._serial += 1
        member = seat.member
        member.in_flight += 1
        if member.quota is not None and (room_s := member.quota.add(now_s)) > now_s:
            self._verdicts.next_deadline_s = min(self._verdicts.next_deadline_s, room_s)
        lease = Lease(self._serial, seat, want.model, now_s)
        if not (member.standing.ready and seat.standing.ready and member.way_standing.ready) or member.closed:
            self._start_trial(lease, now_s)
        if now_s < self._restraints.until_s:
            self._restraints.granted(lease, now_s)
        walk.started(lease, plan.fallback_names, rescuing=bool(plan.tiers))
        return lease

    def _start_trial(self, lease: Lease, now_s: float) -> None:
        until_s = now_s + self._policy.trial_s
        if trials.begin(lease, until_s):
            self._verdicts.next_deadline_s = min(self._verdicts.next_deadline_s, until_s)

    def _end_restraint(self, lease: Lease, outcome: Outcome, now_s: float) -> None:
        fault = isinstance(outcome, Failed) and effect_of(outcome.failure) is Effect.STRIKE
        self._restraints.ended(lease, now_s, whole=isinstance(outcome, Success), fault=fault)

    def _settled(self, now_s: float) -> Settled:
        changes = self._verdicts.take_changes()
        if self._queue:
            return self._serve_queue(now_s, changes)
        return Settled(changes=changes) if changes else _NOTHING

    def _serve_queue(self, now_s: float, changes: tuple[HealthChange, ...]) -> Settled:
        grants: list[tuple[Ticket, Lease]] = []
        hopeless: list[tuple[Ticket, Exhausted]] = []
        in_vain: set[Want] = set()
        restrained = now_s < self._restraints.until_s
        for ticket in self._queue:
            plain = not ticket.walk.marked
            if plain and ticket.want in in_vain:
                continue
            plan = self._plans.now(ticket.want, epoch=self._serial, now_s=now_s)
            found = self._chooser.choose(
                plan, ticket.want.model, ticket.walk, now_s, spill=False, restrained=restrained
            )
            if isinstance(found, Seat):
                self._queue.serve(ticket)
                grants.append((ticket, self._grant(found, plan, ticket.want, ticket.walk, now_s)))
            elif not found:
                self._queue.leave(ticket)
                hopeless.append((ticket, explain(plan, ticket.want.model, now_s)))
            elif plain:
                in_vain.add(ticket.want)
        if grants or hopeless or changes:
            return Settled(tuple(grants), tuple(hopeless), changes)
        return _NOTHING

    def outlook(
        self, model: str, limit_class: str, client: str | None = None, only: frozenset[str] = frozenset()
    ) -> Outlook:
        """Who would get a new request for `model` now, and why not the others; changes nothing.

        Args:
            model: the id to ask upstream, aliases resolved.
            limit_class: the limit class it counts against.
            client: the name of a client key; None leaves restrictions to certain clients out of account.
            only: aliases of the credentials that key may use; empty for all.
        """
        now_s = self._clock.monotonic_s()
        found = outlook(
            self._members,
            Question(model, limit_class, client, only),
            self._policy,
            self._clock,
            strategy=self._strategy,
            restrained=now_s < self._restraints.until_s,
        )
        if self._queue and now_s >= self._verdicts.next_deadline_s:
            return replace(found, next=None, waits=True, exhausted=None, retry_after_s=None)
        return found
