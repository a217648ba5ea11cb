"""The pool under any order of requests and of other configurations: no lease is lost, nobody gone is asked."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.credentials import Credential, Kind
from proxy.pool.failure import FailureClass
from proxy.pool.health import HealthChange, Reason, State
from proxy.pool.members import Lease, Member
from proxy.pool.outcomes import Abandoned, Failed, Outcome, Settled, Success, Ticket, Want
from proxy.secrets import Secret
from tests.unit.pool.building import OTHER_CLASS, WANT, Bench, bench, credential, failure

NAMES = ("a", "b", "c", "web", "last")
KINDS = {"web": Kind.CLAUDE_WEB, "last": Kind.OPENAI}
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Success()),
    st.just(Abandoned()),
    st.builds(lambda cls: Failed(failure(cls)), st.sampled_from(FailureClass)),
)


def _credential(name: str, number: int, changes: dict[str, object]) -> Credential:
    plain = credential(name, kind=KINDS.get(name, Kind.ANTHROPIC), secret=Secret(f"key {name} {number}"))
    return replace(plain, **changes)  # type: ignore[arg-type]  # field types are those of the strategy below


CREDENTIALS = st.builds(
    _credential,
    st.sampled_from(NAMES),
    st.integers(1, 2),
    st.fixed_dictionaries(
        {},
        optional={
            "weight": st.integers(1, 5),
            "tier": st.integers(0, 1),
            "models": st.sampled_from([(), ("claude-sonnet-*",), ("claude-opus-*",)]),
            "max_concurrency": st.integers(1, 3),
            "enabled": st.booleans(),
            "way_out": st.sampled_from([None, Secret("http://proxy.test")]),
            "organization": st.sampled_from([None, "org"]),
            "base_url": st.sampled_from(["https://api.test", "https://other.test"]),
        },
    ),
)
CONFIGURATIONS = st.lists(CREDENTIALS, unique_by=lambda each: each.name, max_size=5)

Known = dict[str, tuple[bool, Reason | None, float]]


class ReplacingMachine(RuleBasedStateMachine):
    """Requests come and go, credentials fail, and the operator changes the file, in any order."""

    table: Bench

    @initialize(first=CONFIGURATIONS)
    def start(self, first: list[Credential]) -> None:
        """A pool of the first configuration."""
        self.table = bench(*first, queue_length=5)
        self.configured = first
        self.out: list[Lease] = []
        self.waiting: list[Ticket] = []
        self.departed: list[Credential] = []

    def take(self, settled: Settled) -> None:
        """Keep what a change granted; nobody is told of a credential that is not there."""
        names = {each.name for each in self.configured}
        assert {change.name for change in settled.changes} <= names
        for ticket, lease in settled.grants:
            self.waiting.remove(ticket)
            self.granted(lease, ticket.want)
        for ticket, _ in settled.hopeless:
            self.waiting.remove(ticket)

    def granted(self, lease: Lease, want: Want) -> None:
        """A lease is one of the present configuration, by its rules."""
        assert lease.credential in self.configured
        assert lease.credential.enabled
        assert lease.member.serves(want.model, want.client)
        assert lease.member.in_flight <= (lease.credential.max_concurrency or 1000)
        self.out.append(lease)

    @rule(wanted=CONFIGURATIONS, stored=st.booleans())
    def change(self, wanted: list[Credential], stored: bool) -> None:
        """The operator's file is another."""
        pool = self.table.pool
        before, identities = self.known(), {each.name: each.identity for each in self.configured}
        rows = [self.row(each.name) for each in wanted] if stored else []
        self.configured = wanted
        replaced = pool.replace(wanted, rows)
        self.take(replaced.settled)
        assert [view.name for view in pool.snapshot()] == [each.name for each in wanted]
        after = self.known()
        for each in wanted:
            kept = identities.get(each.name) == each.identity
            assert (each.name in (*replaced.difference.added, *replaced.difference.renewed)) is not kept
            manual = Reason.MANUAL in {before.get(each.name, after[each.name])[1], after[each.name][1]}
            if kept and not manual:
                assert after[each.name] == before[each.name]
            elif not kept and not stored:
                assert after[each.name][0] is each.enabled

    def known(self) -> Known:
        """What is known of each credential as a whole."""
        return {
            name: (member.standing.ready, member.standing.reason, member.standing.until_s)
            for name, member in self.table.pool._by_name.items()
        }

    def row(self, name: str) -> HealthChange:
        """A stored state."""
        now_ms = self.table.clock.wall_ms
        return HealthChange(
            name=name,
            state=State.COOLING,
            reason=Reason.BILLING,
            since_unix_ms=now_ms,
            until_unix_ms=now_ms + 9000,
        )

    @rule(want=st.sampled_from([WANT, OTHER_CLASS]), spill=st.booleans())
    def ask(self, want: Want, spill: bool) -> None:
        """A request takes a place, or waits for one."""
        walk = self.table.walk()
        found = self.table.pool.pick(want, walk, spill=spill)
        if isinstance(found, Lease):
            self.granted(found, want)
        elif (ticket := self.table.pool.enqueue(want, walk)) is not None:
            self.waiting.append(ticket)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=OUTCOMES, begin=st.booleans())
    def end(self, data: st.DataObject, outcome: Outcome, begin: bool) -> None:
        """An answer begins, or a lease comes back; of one that has left nobody else notices."""
        lease = data.draw(st.sampled_from(self.out))
        before = self.known()
        if begin:
            self.take(self.table.pool.answered(lease))
        else:
            self.out.remove(lease)
            self.take(self.table.pool.settle(lease, outcome))
        if lease.member.retired:
            assert self.known() == before

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A waiting client goes away."""
        ticket = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(ticket)
        assert self.table.pool.withdraw(ticket)

    @rule(seconds=st.sampled_from([0.1, 5.0, 31.0, 400.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes, and the timer comes round."""
        self.table.clock.advance(seconds)
        self.take(self.table.pool.sweep())

    @rule()
    def clear_away(self) -> None:
        """Those who have left for good are told of, once."""
        gone = self.table.pool.departed()
        assert not self.table.pool.departed()
        self.departed.extend(gone)
        live = [lease.credential for lease in self.out if self.left(lease.member)]
        assert not [each for each in gone if any(each is credential for credential in live)]

    def left(self, member: Member) -> bool:
        """Whether a member is no longer in the pool."""
        return self.table.pool._by_name.get(member.name) is not member

    @invariant()
    def leases_balance(self) -> None:
        """Every place in use belongs to a lease that is out, of members that stay and of those that leave."""
        pool = self.table.pool
        assert pool.in_flight == len(self.out)
        for member in (*pool._members, *pool._leaving):
            assert member.in_flight == sum(lease.member is member for lease in self.out)
        for lease in self.out:
            assert not self.left(lease.member) or lease.member in pool._leaving

    @invariant()
    def nobody_waits_for_a_place_that_is_free(self) -> None:
        """A waiting request could not be served, but for a deadline that has just passed."""
        self.take(self.table.pool.sweep())
        for ticket in self.waiting:
            assert not isinstance(self.table.pool.pick(ticket.want, self.table.walk()), Lease)

    def teardown(self) -> None:
        """In the end all leases come back, and a sound configuration serves by all of its credentials."""
        if not hasattr(self, "table"):
            return
        pool = self.table.pool
        for ticket in self.waiting:
            pool.withdraw(ticket)
        for lease in self.out:
            pool.settle(lease, Abandoned())
        pool.replace([_credential(name, 3, {}) for name in ("a", "b", "c")])
        # a way out that is blocked stays so, whoever goes it
        for name in ("a", "b", "c"):
            pool.reset(name)
        pool.departed()
        assert (pool.in_flight, pool.leaving) == (0, ())
        assert sorted(self.table.names(6)) == ["a", "a", "b", "b", "c", "c"]


TestReplacingMachine = ReplacingMachine.TestCase
TestReplacingMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
