"""The pool under any order of events: what holds always, and what comes true in the end."""

import sys
from collections import Counter
from typing import ClassVar, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from proxy.credentials import Credential, Kind
from proxy.pool.failure import FailureClass
from proxy.pool.health import HealthChange, Reason
from proxy.pool.members import Lease
from proxy.pool.outcomes import (
    Abandoned,
    ExhaustedReason,
    Failed,
    Outcome,
    Saturated,
    Settled,
    Success,
    Ticket,
    Want,
)
from tests.unit.pool.building import OTHER_CLASS, WANT, Bench, bench, credential, failure
from tests.unit.pool.healing import Healing, Kept, kept_over_a_restart, longest_s, standings

FAILURES = st.builds(
    lambda cls, after_s: Failed(failure(cls, retry_after_s=after_s)),
    # strikes, refused keys and limits have the most rules, so they come most often
    st.sampled_from(
        [*FailureClass, *[FailureClass.SERVER] * 5, *[FailureClass.AUTH] * 3, *[FailureClass.RATE] * 3]
    ),
    st.sampled_from([None, None, 0.0, 3.0, 700.0]),
)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(st.just(Success()), st.just(Abandoned()), FAILURES)
WANTS = st.sampled_from([WANT, OTHER_CLASS])
MEMBERS: Final[tuple[Credential, ...]] = (
    credential("a", organization="org"),
    credential("b", organization="org", max_concurrency=2),
    credential("c", weight=2),
    credential("d"),
    credential("web", kind=Kind.CLAUDE_WEB, max_concurrency=1),
    credential("backup", tier=1),
    credential("last", kind=Kind.OPENAI),
)
NAMES: Final = st.sampled_from([one.name for one in MEMBERS])
ONE_DAY_S: Final = 86_400.0
STEPS_MIN: Final = 5_000
STEPS_BEFORE_A_RESTART: Final = 12
SETTLING_TURNS: Final = 40


class PoolMachine(RuleBasedStateMachine):
    """Requests come, wait, succeed, fail and leave, time passes and the process restarts, in any order.

    Attributes:
        steps: rules that ran, over all examples.
    """

    steps: ClassVar[int] = 0
    table: Bench

    @initialize(seed=st.integers(0, 1000), jitter=st.sampled_from([0.0, 0.2]))
    def start(self, seed: int, jitter: float) -> None:
        """A pool of several kinds, tiers, organizations and capacities."""
        self.seed = seed
        self.jitter = jitter
        self.table = self.opened()
        self.out: list[Lease] = []
        self.waiting: list[Ticket] = []
        self.stored: dict[tuple[str, str, str | None], HealthChange] = {}
        self.jumped = False
        self.since_start = 0
        PoolMachine.steps -= 1

    def opened(self) -> Bench:
        """A pool as a start makes it."""
        return bench(*MEMBERS, jitter=self.jitter, seed=self.seed, queue_length=5)

    def take(self, settled: Settled) -> None:
        """Keep what a change granted, and write down what it wants kept."""
        for ticket, lease in settled.grants:
            self.waiting.remove(ticket)
            self.out.append(lease)
        for ticket, exhausted in settled.hopeless:
            self.waiting.remove(ticket)
            assert exhausted.reason in set(ExhaustedReason) - {ExhaustedReason.REFUSED}
        for change in settled.changes:
            if change.durable:
                self.stored[change.name, change.limit_class, change.model] = change

    @rule(want=WANTS, spill=st.booleans())
    def ask(self, want: Want, spill: bool) -> None:
        """A request takes a place, or waits for one."""
        walk = self.table.walk()
        found = self.table.pool.pick(want, walk, spill=spill)
        if isinstance(found, Lease):
            self.out.append(found)
        elif isinstance(found, Saturated) and (ticket := self.table.pool.enqueue(want, walk)) is not None:
            self.waiting.append(ticket)
        assert len(self.waiting) <= 5

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=OUTCOMES)
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        """A lease comes back."""
        lease = data.draw(st.sampled_from(self.out))
        self.out.remove(lease)
        self.settle(lease, outcome)

    def settle(self, lease: Lease, outcome: Outcome) -> None:
        """A lease comes back; whatever stays out of use may come back later for it, never earlier."""
        found = [standing for member in self.table.pool._members for standing in standings(member)]
        deadlines_s = {standing: standing.until_s for standing in found if not standing.ready}
        self.take(self.table.pool.settle(lease, outcome))
        for standing, until_s in deadlines_s.items():
            assert standing.ready or standing.disabled or standing.until_s >= until_s

    @rule(
        name=NAMES,
        want=WANTS,
        outcome=FAILURES,
        times=st.sampled_from([1, 2, 5, 6]),
    )
    def suffer(self, name: str, want: Want, outcome: Failed, times: int) -> None:
        """One credential fails several requests in a row."""
        for _ in range(times):
            found = self.table.pool.pick_at(name, want, self.table.walk())
            if isinstance(found, Lease):
                self.settle(found, outcome)

    @rule(name=NAMES, want=WANTS)
    def hang(self, name: str, want: Want) -> None:
        """A request goes to one credential as soon as that may be tried, and its answer is long in coming."""
        standing = self.table.pool._by_name[name].standing
        if not standing.ready and not standing.disabled:
            self.table.clock.advance(max(standing.until_s - self.table.clock.now_s, 0.0))
            self.take(self.table.pool.sweep())
        found = self.table.pool.pick_at(name, want, self.table.walk())
        if isinstance(found, Lease):
            self.out.append(found)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """An answer begins."""
        self.take(self.table.pool.answered(data.draw(st.sampled_from(self.out))))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), organization=st.sampled_from(["org", "other", None]))
    def learn(self, data: st.DataObject, organization: str | None) -> None:
        """An answer names its organization."""
        self.table.pool.learn(data.draw(st.sampled_from(self.out)), organization, None)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A waiting client goes away."""
        ticket = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(ticket)
        assert self.table.pool.withdraw(ticket)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 31.0, 70.0, 400.0, 4000.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes, and the timer comes round."""
        self.table.clock.advance(seconds)
        self.take(self.table.pool.sweep())
        assert self.table.pool.sweep() == Settled()

    @rule(seconds=st.sampled_from([-ONE_DAY_S, -7200.0, 7200.0, ONE_DAY_S]))
    def set_wall_clock(self, seconds: float) -> None:
        """The machine's clock is set; nothing in use may notice."""
        deadline_s = self.table.pool.next_deadline_s
        words = [self.table.word(one.name) for one in MEMBERS]
        self.table.clock.jump(seconds)
        self.take(self.table.pool.sweep())
        assert words == [self.table.word(one.name) for one in MEMBERS]
        assert deadline_s == self.table.pool.next_deadline_s
        self.jumped = True

    @precondition(lambda self: self.since_start >= STEPS_BEFORE_A_RESTART)
    @rule(
        down_s=st.sampled_from([0.0, 0.5, 40.0, 4000.0]), jump_s=st.sampled_from([0.0, -ONE_DAY_S, ONE_DAY_S])
    )
    def restart(self, down_s: float, jump_s: float) -> None:
        """The process dies with all it had in hand, and comes back with what it had written down."""
        self.since_start = 0
        before = kept_over_a_restart(self.table)
        wall_ms = self.table.clock.wall_ms + round((down_s + jump_s) * 1000)
        self.table = self.opened()
        self.table.clock.wall_ms = wall_ms
        self.table.pool.restore(self.stored.values())
        self.out.clear()
        self.waiting.clear()
        after = kept_over_a_restart(self.table)
        self.jumped = self.jumped or jump_s != 0
        assert {key: kept.word for key, kept in before.items()} == {
            key: kept.word for key, kept in after.items()
        }
        for key, kept in after.items():
            self.check_deadline(key[0], before[key], kept, down_s)

    def check_deadline(self, name: str, before: Kept, after: Kept, down_s: float) -> None:
        """A deadline is where it was; if the wall clock lied, it is at least within its bounds."""
        if after.reason is None or after.left_s is None or before.left_s is None:
            return
        assert 0 <= after.left_s <= longest_s(name, after.reason)
        if not self.jumped:
            assert abs(after.left_s - max(before.left_s - down_s, 0.0)) < 0.01

    @precondition(lambda self: not self.waiting)
    @rule(want=WANTS)
    def take_turns(self, want: Want) -> None:
        """Once what was waiting for a trial has had it, equals take strict turns, whatever came before."""
        self.rotate(want, SETTLING_TURNS)
        names = self.rotate(want, 36)
        counts = Counter(names)
        shares = {one.name: counts[one.name] / one.weight for one in MEMBERS if one.name in counts}
        assert not shares or max(shares.values()) - min(shares.values()) <= 1, counts
        equals = [name for name in ("a", "b", "d", "web") if name in counts]
        for end in range(len(names)):
            so_far = Counter(names[: end + 1])
            got = [so_far[name] for name in equals]
            assert not got or max(got) - min(got) <= 1, names

    def rotate(self, want: Want, count: int) -> list[str]:
        """Who answers the next requests, one after the other."""
        names = []
        for _ in range(count):
            found = self.table.pick(want)
            if isinstance(found, Lease):
                names.append(found.name)
                self.take(self.table.pool.settle(found, Success()))
        return names

    @rule(name=st.sampled_from(["a", "b", "web"]))
    def reset(self, name: str) -> None:
        """The operator resets a credential."""
        self.take(self.table.pool.reset(name))

    @invariant()
    def leases_balance(self) -> None:
        """Every place in use belongs to a lease that is out, and none is given twice."""
        for member in self.table.pool._members:
            assert member.in_flight == sum(lease.member is member for lease in self.out)
            assert member.in_flight <= member.max_concurrency

    @invariant()
    def only_disabling_is_without_an_end(self) -> None:
        """Whatever is out of use otherwise has a deadline within its bounds."""
        now_s = self.table.clock.now_s
        for member in self.table.pool._members:
            for standing in standings(member):
                if not standing.ready and not standing.disabled:
                    assert standing.reason is not None
                    assert standing.until_s <= now_s + longest_s(member.name, standing.reason)
                    assert not standing.permit or standing.permit_until_s <= now_s + self.table.policy.trial_s

    @invariant()
    def steps_are_counted(self) -> None:
        """How much of this was done in all."""
        PoolMachine.steps += 1
        self.since_start += 1

    @invariant()
    def one_trial_a_member(self) -> None:
        """At most one lease tries a member, or anything of it, at a time."""
        now_s = self.table.clock.now_s
        for member in self.table.pool._members:
            permits = {each.permit for each in standings(member) if each is not member.way_standing}
            live = {
                each.permit
                for each in standings(member)
                if each.on_trial(now_s) and each is not member.way_standing
            }
            assert len(live) <= 1
            assert permits - {0} <= set(range(1, self.table.pool._serial + 1))

    @invariant()
    def faults_leave_half_in(self) -> None:
        """Faults never take more than half of a tier and class."""
        peers = [member for member in self.table.pool._members if not member.fallback]
        first_tier = [member for member in peers if member.credential.tier == 0]
        for want in (WANT, OTHER_CLASS):
            seats = [member.seats.get(want.limit_class) for member in first_tier]
            out = [seat for seat in seats if seat is not None and seat.standing.reason is Reason.FAULTS]
            assert len(out) <= len(first_tier) // 2

    @invariant()
    def nobody_waits_for_a_place_that_is_free(self) -> None:
        """A waiting request could not be served, but for a deadline that has just passed, and may hope to be."""
        self.take(self.table.pool.sweep())
        for ticket in self.waiting:
            assert isinstance(self.table.pool.pick(ticket.want, self.table.walk()), Saturated)

    def teardown(self) -> None:
        """In the end, with the upstream healthy again, whatever is not disabled serves in time.

        Some of the answers under way never end: nothing may wait for them.
        """
        if not hasattr(self, "table"):
            return
        pool = self.table.pool
        for ticket in self.waiting:
            pool.withdraw(ticket)
        hanging = [
            lease for lease in self.out if lease.member.max_concurrency == sys.maxsize and lease.serial % 2
        ]
        for lease in self.out:
            if lease not in hanging:
                pool.settle(lease, Abandoned())
        Healing(self.table, (WANT, OTHER_CLASS)).check()
        assert pool.in_flight == len(hanging)
        for lease in hanging:
            pool.settle(lease, Abandoned())
        assert pool.in_flight == 0


def test_the_pool_keeps_its_promises_under_any_order_of_events() -> None:
    """Protects everything the pool promises, over at least 5,000 steps of every sort."""
    PoolMachine.steps = 0
    run_state_machine_as_test(
        PoolMachine, settings=settings(max_examples=150, stateful_step_count=70, deadline=None)
    )
    assert PoolMachine.steps >= STEPS_MIN
