"""The pool under any order of events: what holds always, and what comes true in the end."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.credentials import Kind
from proxy.pool.failure import FailureClass
from proxy.pool.health import Reason, Standing
from proxy.pool.members import Lease, Member
from proxy.pool.outcomes import Abandoned, Failed, Outcome, Settled, Success, Ticket, Want
from tests.unit.pool.building import OTHER_CLASS, WANT, Bench, bench, credential, failure

FAILURES = st.builds(
    lambda cls, after_s: Failed(failure(cls, retry_after_s=after_s)),
    st.sampled_from(FailureClass),
    st.sampled_from([None, None, 0.0, 3.0, 700.0]),
)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(st.just(Success()), st.just(Abandoned()), FAILURES)
WANTS = st.sampled_from([WANT, OTHER_CLASS])


def standings(member: Member) -> list[Standing]:
    """Everything of a member that can be out of use."""
    seats = [seat.standing for seat in member.seats.values()]
    return [member.standing, member.way_standing, *member.closed.values(), *seats]


class PoolMachine(RuleBasedStateMachine):
    """Requests come, wait, succeed, fail and leave, and time passes, in any order."""

    table: Bench

    @initialize(seed=st.integers(0, 1000), jitter=st.sampled_from([0.0, 0.2]))
    def start(self, seed: int, jitter: float) -> None:
        """A pool of several kinds, tiers, organizations and capacities."""
        self.table = bench(
            credential("a", organization="org"),
            credential("b", organization="org", max_concurrency=2),
            credential("c", weight=2),
            credential("web", kind=Kind.CLAUDE_WEB, max_concurrency=1),
            credential("backup", tier=1),
            credential("last", kind=Kind.OPENAI),
            jitter=jitter,
            seed=seed,
            queue_length=5,
        )
        self.out: list[Lease] = []
        self.waiting: list[Ticket] = []

    def take(self, settled: Settled) -> None:
        """Keep what a change granted."""
        for ticket, lease in settled.grants:
            self.waiting.remove(ticket)
            self.out.append(lease)

    @rule(want=WANTS, spill=st.booleans())
    def ask(self, want: Want, spill: bool) -> None:
        """A request takes a place, or waits for one."""
        walk = self.table.walk()
        found = self.table.pool.pick(want, walk, spill=spill)
        if isinstance(found, Lease):
            self.out.append(found)
        elif (ticket := self.table.pool.enqueue(want, walk)) is not None:
            self.waiting.append(ticket)
        assert len(self.waiting) <= 5

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=OUTCOMES)
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        """A lease comes back."""
        lease = data.draw(st.sampled_from(self.out))
        self.out.remove(lease)
        self.take(self.table.pool.settle(lease, outcome))

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

    @rule(seconds=st.sampled_from([-7200.0, 7200.0]))
    def set_wall_clock(self, seconds: float) -> None:
        """The machine's clock is set; nothing in use may notice."""
        self.table.clock.jump(seconds)

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
        longest_s = 3600 * 24 * 32 + 5
        for member in self.table.pool._members:
            for standing in standings(member):
                if not standing.ready and not standing.disabled:
                    assert standing.until_s <= self.table.clock.now_s + longest_s
                    assert standing.reason is not None

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
        for limit_class in (WANT.limit_class, OTHER_CLASS.limit_class):
            seats = [
                seat
                for member in self.table.pool._members
                if not member.fallback and member.credential.tier == 0
                for seat in [member.seats.get(limit_class)]
                if seat is not None
            ]
            out = [
                seat for seat in seats if not seat.standing.ready and seat.standing.reason is Reason.FAULTS
            ]
            assert len(out) <= len(seats) // 2

    @invariant()
    def nobody_waits_for_a_place_that_is_free(self) -> None:
        """A waiting request could not be served, but for a deadline that has just passed."""
        self.take(self.table.pool.sweep())
        for ticket in self.waiting:
            assert not isinstance(self.table.pool.pick(ticket.want, self.table.walk()), Lease)

    def teardown(self) -> None:
        """In the end, with the upstream healthy again, whatever is not disabled serves."""
        if not hasattr(self, "table"):
            return
        pool, clock = self.table.pool, self.table.clock
        for ticket in self.waiting:
            pool.withdraw(ticket)
        for lease in self.out:
            pool.settle(lease, Abandoned())
        assert pool.in_flight == 0
        deadlines_s = [
            standing.until_s
            for member in pool._members
            for standing in standings(member)
            if not standing.ready and not standing.disabled
        ]
        clock.advance(max([0.0, *(until_s - clock.now_s for until_s in deadlines_s)]) + 30)
        for name in ("a", "b", "c", "web", "backup", "last"):
            self.serves_again(name)

    def serves_again(self, name: str) -> None:
        """With all others off, `name` serves both classes and is healthy after it."""
        pool = self.table.pool
        member = pool._by_name[name]
        if member.standing.disabled:
            return
        others = [each for each in pool._members if each is not member and not each.standing.disabled]
        for other in others:
            pool.disable(other.name)
        for want in (WANT, OTHER_CLASS):
            assert self.table.names(3, want) == [name] * 3
        assert all(standing.ready for standing in standings(member))
        for other in others:
            other.standing.recover(since_unix_ms=0)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
