"""Whether a request is tried again: the memory of its attempts, and the budget all requests share.

Refusals did no work, so the walk goes on to other credentials until the deadline. Attempts that may have done work
are counted, and each one after the first costs a token of the budget. Fallbacks come last, once each.

A claude.ai session is a person's own account, and no other takes the place of one that has said no: its limit, a death
notice or a challenge ends the request for all sessions. Only what is paid for by use is asked after it.
"""

import random
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final, assert_never

from proxy.clock import Clock
from proxy.credentials import Kind
from proxy.pool.failure import Failure, FailureClass, Fault
from proxy.pool.members import Lease, Member, WayOut
from proxy.settings import Policy

_DEADLINE_SHARE: Final = 0.2
_DEADLINE_SHARE_AFTER_TIMEOUT: Final = 0.5
_ENDPOINT_WAIT_S: Final = (0.1, 0.5)
_OVERLOADED_WAIT_S: Final = (1.0, 2.0)
_NAMED_WAIT_JITTER: Final = 0.2
_PLAIN_FAULTS: Final = frozenset({FailureClass.SERVER, FailureClass.ENDPOINT, FailureClass.OVERLOADED})
_TIMEOUTS: Final = frozenset({Fault.HEADERS_TIMEOUT, Fault.FIRST_EVENT_TIMEOUT})


class Rule(StrEnum):
    """How one class of failure is tried again."""

    NEVER = "never"
    WALK = "walk"
    WALK_OTHER_GROUP = "walk_other_group"
    OTHER_ORGANIZATION_ONCE = "other_organization_once"
    OTHER_WAY_OUT_ONCE = "other_way_out_once"
    ENDPOINT_ONCE = "endpoint_once"
    COUNTED = "counted"


_RULES: Final[Mapping[FailureClass, Rule]] = {
    FailureClass.REQUEST: Rule.NEVER,
    FailureClass.AUTH: Rule.WALK,
    FailureClass.AUTH_DEAD: Rule.WALK,
    FailureClass.PERMISSION: Rule.WALK,
    FailureClass.NO_MODEL: Rule.OTHER_ORGANIZATION_ONCE,
    FailureClass.RATE: Rule.WALK_OTHER_GROUP,
    FailureClass.BILLING: Rule.WALK_OTHER_GROUP,
    FailureClass.OVERLOADED: Rule.COUNTED,
    FailureClass.SERVER: Rule.COUNTED,
    FailureClass.ENDPOINT: Rule.ENDPOINT_ONCE,
    FailureClass.CHALLENGE: Rule.OTHER_WAY_OUT_ONCE,
    FailureClass.CUT: Rule.NEVER,
    FailureClass.UNKNOWN: Rule.NEVER,
}


class StopReason(StrEnum):
    """Why a request is not tried again."""

    NOT_RETRYABLE = "not_retryable"
    UPSTREAM_SAID_NO = "upstream_said_no"
    ATTEMPTS = "attempts"
    SAME_FAULT = "same_fault"
    BUDGET = "budget"
    DEADLINE = "deadline"
    WAIT = "wait"
    WALKED = "walked"
    REFUSED = "refused"


_OWN_FAULT: Final = frozenset({FailureClass.REQUEST, FailureClass.CUT})
_FINAL: Final = frozenset({StopReason.NOT_RETRYABLE, StopReason.DEADLINE})


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `wait_s` seconds, 0 for at once."""

    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """The last failure is the answer."""

    reason: StopReason


class RetryBudget:
    """The token bucket for counted retries, one for the whole process; it starts full.

    Attributes:
        suppressed: retries that were not made for want of a token.
    """

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._tokens = policy.budget_max
        self._filled_at_s = clock.monotonic_s()
        self.suppressed = 0

    def on_request(self) -> None:
        """A client's request arrived: it brings its share of a retry."""
        self._fill(self._policy.budget_per_request)

    def try_spend(self) -> bool:
        """Take one token; False, and counted, if there is none."""
        self._fill(0.0)
        if self._tokens < 1:
            self.suppressed += 1
            return False
        self._tokens -= 1
        return True

    def _fill(self, extra: float) -> None:
        now_s = self._clock.monotonic_s()
        passed_s = now_s - self._filled_at_s
        self._filled_at_s = now_s
        self._tokens = min(
            self._policy.budget_max, self._tokens + extra + passed_s * self._policy.budget_per_second
        )

    def __repr__(self) -> str:
        return f"<RetryBudget [{self._tokens:.1f} of {self._policy.budget_max:g} | Suppressed: {self.suppressed}]>"


@dataclass(slots=True)
class _Marks:
    """Members marked by what they have in common."""

    names: set[str] = field(default_factory=set)
    groups: set[Hashable] = field(default_factory=set)
    organizations: set[str] = field(default_factory=set)
    ways_out: set[WayOut] = field(default_factory=set)
    kinds: set[Kind] = field(default_factory=set)

    def cover(self, member: Member) -> bool:
        return (
            member.name in self.names
            or member.way_out in self.ways_out
            or member.organization in self.organizations
            or member.group in self.groups
            or member.credential.kind in self.kinds
        )


@dataclass(frozen=True, slots=True)
class _Next:
    """A further attempt that the rules allow, before time and budget are asked."""

    wait_s: float = 0.0
    token: bool = False
    deadline_share: float = 0.0


class Walk:
    """The memory of one request's attempts.

    Attributes:
        attempts: upstream calls made, the present one included.
        last_failure: how the last one ended that counts for the client, who hears of a last resort only where there
            was nothing else to ask; None before it.
        fallbacks_only: whether nothing but fallbacks may still be asked.
        marked: whether anything is excluded or avoided, so that the pool has to ask.
    """

    def __init__(
        self, policy: Policy, clock: Clock, budget: RetryBudget, deadline_s: float, rng: random.Random
    ) -> None:
        """`deadline_s` is in monotonic seconds."""
        self._policy = policy
        self._clock = clock
        self._budget = budget
        self._rng = rng
        self._deadline_s = deadline_s
        self._length_s = deadline_s - clock.monotonic_s()
        self._waited_s = 0.0
        self._counted = 0
        self._asked: set[str] = set()
        self._fallbacks_left: set[str] = set()
        self._fallbacks_asked: set[str] = set()
        self._rescuing = False
        self.attempts = 0
        self.last_failure: Failure | None = None
        self.fallbacks_only = False
        self.marked = False

    @cached_property
    def _seen(self) -> "Counter[Fault | FailureClass]":
        """How often each failure came. Most walks end well at the first attempt and never need it."""
        return Counter()

    @cached_property
    def _excluded(self) -> _Marks:
        """Whom to ask is out of the question."""
        return _Marks()

    @cached_property
    def _avoided(self) -> _Marks:
        """Whom to ask only after all others."""
        return _Marks()

    def started(self, lease: Lease, fallbacks: frozenset[str], *, rescuing: bool = False) -> None:
        """The pool granted `lease`.

        Args:
            lease: of the attempt that begins.
            fallbacks: the aliases of all fallbacks that could serve the request.
            rescuing: whether there are ordinary credentials too, for which they stand in.
        """
        if fallbacks and not self.attempts:
            self._fallbacks_left.update(fallbacks - self._fallbacks_asked)
            self._rescuing = rescuing
        self.attempts += 1
        self._asked.add(lease.name)
        if lease.member.fallback:
            self.marked = True
            self._fallbacks_left.discard(lease.name)
            self._fallbacks_asked.add(lease.name)
            self._excluded.names.add(lease.name)

    def pass_over(self, lease: Lease) -> None:
        """Ask somebody else: the request is not one for this credential, which was not called."""
        self.marked = True
        self.attempts -= 1
        self._excluded.names.add(lease.name)

    def turn_back(self, lease: Lease) -> None:
        """The credential was not called after all, and may be asked later."""
        self.attempts -= 1
        if not lease.member.fallback:
            self._asked.discard(lease.name)

    def spare_the_provider(self) -> None:
        """Ask nothing but fallbacks, because the provider itself is in trouble."""
        self.marked = self.fallbacks_only = True

    def for_next_model(self) -> "Walk":
        """A walk for the same request under another model: whoever had a last word has had it."""
        walk = Walk(self._policy, self._clock, self._budget, self._deadline_s, self._rng)
        walk._waited_s = self._waited_s
        if self._fallbacks_asked:
            walk._fallbacks_asked.update(self._fallbacks_asked)
            walk._excluded.names.update(self._fallbacks_asked)
            walk.marked = True
        if self.marked and self._excluded.kinds:
            walk._excluded.kinds.update(self._excluded.kinds)
            walk.marked = True
        return walk

    def leave_out(self, kind: Kind) -> None:
        """Ask no member of this kind any more."""
        self.marked = True
        self._excluded.kinds.add(kind)

    def excludes(self, member: Member) -> bool:
        """Whether asking `member` is out of the question."""
        return self._excluded.cover(member)

    def avoids(self, member: Member) -> bool:
        """Whether any other member is better."""
        return self._avoided.cover(member)

    def after(self, failure: Failure, lease: Lease) -> Again | Stop:
        """Decide whether to try again after `lease` ended in `failure`, before the commit.

        With ``Again`` the pool may still find nobody to ask; then the last failure is the answer.
        """
        self.marked = True
        if lease.member.fallback:
            return self._after_fallback(failure)
        self.last_failure = failure
        if lease.credential.kind is Kind.CLAUDE_WEB and failure.cls not in _PLAIN_FAULTS:
            self.leave_out(Kind.CLAUDE_WEB)
        rule = _RULES[failure.cls]
        if failure.cls is FailureClass.UNKNOWN and failure.should_retry is True:
            rule = Rule.COUNTED
        found = self._by_rule(rule, failure, lease)
        verdict = self._affordable(found) if isinstance(found, _Next) else Stop(found)
        if isinstance(verdict, Again):
            return verdict
        # an unknown model is the client's own mistake: a last resort would not know it either
        if failure.cls is FailureClass.NO_MODEL or verdict.reason in _FINAL:
            return verdict
        return self._fall_back(verdict.reason)

    def _after_fallback(self, failure: Failure) -> Again | Stop:
        """Go on to the next fallback, and after the last one to what the ordinary credentials said."""
        if failure.cls in _OWN_FAULT:
            self.last_failure = failure
            return Stop(StopReason.NOT_RETRYABLE)
        if self._rescuing:
            return self._affordable(_Next())
        self.last_failure = failure
        return self._fall_back(StopReason.REFUSED)

    def _by_rule(self, rule: Rule, failure: Failure, lease: Lease) -> _Next | StopReason:
        match rule:
            case Rule.NEVER:
                return StopReason.NOT_RETRYABLE
            case Rule.WALK:
                return self._walk_on(lease.member)
            case Rule.WALK_OTHER_GROUP:
                self._excluded.groups.add(lease.member.group)
                # other workspaces of the organization have limits of their own, but share its total
                if lease.member.organization is not None:
                    self._avoided.organizations.add(lease.member.organization)
                return self._walk_on(lease.member)
            case Rule.OTHER_ORGANIZATION_ONCE:
                if lease.member.organization is not None:
                    self._excluded.organizations.add(lease.member.organization)
                return self._once(failure.cls, lease.member)
            case Rule.OTHER_WAY_OUT_ONCE:
                self._excluded.ways_out.add(lease.member.way_out)
                return self._once(failure.cls, lease.member)
            case Rule.ENDPOINT_ONCE:
                return self._reconnect(lease.member)
            case Rule.COUNTED:
                return self._count(failure, lease.member)
            case _:
                assert_never(rule)

    def _walk_on(self, member: Member) -> _Next | StopReason:
        self._excluded.names.add(member.name)
        return _Next() if len(self._asked) < self._policy.walk_credentials else StopReason.WALKED

    def _once(self, cls: FailureClass, member: Member) -> _Next | StopReason:
        self._seen[cls] += 1
        further = self._walk_on(member)
        return StopReason.REFUSED if self._seen[cls] > 1 else further

    def _reconnect(self, member: Member) -> _Next | StopReason:
        # the address is at fault, whatever key was used: another address is better, the same one will do
        self._avoided.ways_out.add(member.way_out)
        self._seen[FailureClass.ENDPOINT] += 1
        if self._seen[FailureClass.ENDPOINT] > 1:
            return StopReason.SAME_FAULT
        return _Next(self._rng.uniform(*_ENDPOINT_WAIT_S), token=True)

    def _count(self, failure: Failure, member: Member) -> _Next | StopReason:
        same = failure.fault or failure.cls
        self._seen[same] += 1
        self._counted += 1
        self._avoided.names.add(member.name)
        if failure.should_retry is False:
            return StopReason.UPSTREAM_SAID_NO
        if self._counted > self._policy.retry_count:
            return StopReason.ATTEMPTS
        if self._seen[same] >= self._policy.same_fault_attempts:
            return StopReason.SAME_FAULT
        share = _DEADLINE_SHARE_AFTER_TIMEOUT if failure.fault in _TIMEOUTS else _DEADLINE_SHARE
        return _Next(self._pause_s(failure), token=True, deadline_share=share)

    def _pause_s(self, failure: Failure) -> float:
        if failure.retry_after_s:
            return failure.retry_after_s * (1 + self._rng.uniform(0, _NAMED_WAIT_JITTER))
        if failure.cls is FailureClass.OVERLOADED:
            return self._rng.uniform(*_OVERLOADED_WAIT_S)
        ceiling_s = self._policy.backoff_base_s * 2.0 ** (self._counted - 1)
        return self._rng.uniform(0, min(self._policy.backoff_max_s, ceiling_s))

    def _affordable(self, attempt: _Next) -> Again | Stop:
        if self._waited_s + attempt.wait_s > self._policy.cumulative_wait_s:
            return Stop(StopReason.WAIT)
        left_s = self._deadline_s - self._clock.monotonic_s() - attempt.wait_s
        if left_s < max(self._policy.min_attempt_s, attempt.deadline_share * self._length_s):
            return Stop(StopReason.DEADLINE)
        if attempt.token and not self._budget.try_spend():
            return Stop(StopReason.BUDGET)
        self._waited_s += attempt.wait_s
        return Again(attempt.wait_s)

    def _fall_back(self, reason: StopReason) -> Again | Stop:
        self.fallbacks_only = True
        if not self._fallbacks_left:
            return Stop(reason)
        return self._affordable(_Next())
