"""Judges what clients were told: every answer has to be whole, and every error has to have a reason.

The reasons are the limits of the promises: so many attempts, so many of one fault, the budget, the deadline, the
commit, a full queue, or that nobody was left to ask; and then the time that was told has to be the true one.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from proxy.pool import MemberView, Reason, State
from tests.support.schedules import limits
from tests.support.schedules.clients import Happened, Told, is_whole
from tests.support.schedules.limits import EPSILON_S, REFUSALS
from tests.support.schedules.plan import Conduct
from tests.support.schedules.upstream import Call, End
from tests.support.simulated_time import monotonic_s

_MS: Final = 0.003


class Why(StrEnum):
    """What ended a request."""

    WHOLE = "answered whole"
    LEFT = "the client left"
    CUT = "cut after the first event"
    COMMITTED = "failed when the client had its headers"
    ATTEMPTS = "all attempts were made"
    SAME_FAULT = "the same fault twice"
    HALF_RULE = "the same fault twice, of credentials kept in use because too many failed"
    BUDGET = "no retry left in the budget"
    DEADLINE = "too little time left"
    NOBODY = "nobody left to ask"
    FULL = "the queue was full"
    WAITED = "waited in vain for a place"
    TURNED_AWAY = "the provider is overloaded"


@dataclass(slots=True)
class Oracle:
    """The judge of one plan."""

    happened: Happened
    calls: dict[int, list[Call]] = field(default_factory=lambda: defaultdict(list))
    told: dict[int, Told] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    budget: limits.Budget = field(init=False)

    def __post_init__(self) -> None:
        for call in self.happened.calls:
            self.calls[call.request].append(call)
        self.owners = {one.name: one.organization for one in self.happened.plan.accounts}
        self.told = {told.asked.number: told for told in self.happened.told}
        self.budget = limits.keep_budget(self.happened, self.told, self.calls)

    def judge(self) -> list[Why]:
        """Why each request ended. Raises AssertionError with its story for one that has no reason."""
        if self.happened.in_flight:
            raise AssertionError(f"{self.happened.in_flight} places are still taken\n{self.happened.plan}")
        return [self._judge(told) for told in self.happened.told]

    def _judge(self, told: Told) -> Why:
        calls = self.calls[told.asked.number]
        problem = next(self._overstepped(told, calls), None)
        why = None if problem else self._why(told, calls)
        if why is None:
            raise AssertionError(self._story(told, problem or "there is no reason for this error"))
        return why

    def _why(self, told: Told, calls: list[Call]) -> Why | None:
        if told.left:
            return Why.LEFT
        if told.error is None and not told.cut:
            return Why.WHOLE if is_whole(told) else None
        if told.cut:
            return self._cut(told, calls)
        if not calls:
            return self._never_asked(told)
        return self._gave_up(told, calls, calls[-1]) or self._found_nobody(told, calls)

    def _cut(self, told: Told, calls: list[Call]) -> Why | None:
        last = calls[-1]
        mid_answer = last.end is End.CUT and last.interval.conduct is Conduct.CUT_AFTER
        return Why.CUT if mid_answer and told.committed_s is not None else None

    def _never_asked(self, told: Told) -> Why | None:
        if told.error is not None and told.error.status == 529:
            return Why.TURNED_AWAY if limits.breaker_was_open(self.happened, told.ended_s) else None
        return self._found_nobody(told, [])

    def _gave_up(self, told: Told, calls: list[Call], last: Call) -> Why | None:
        """The limits that hold right when an attempt ends, before anybody else is looked for."""
        if told.ended_s > last.ended_s + EPSILON_S:
            return None
        policy = self.happened.plan.policy
        if told.committed_s is not None and told.committed_s <= last.ended_s:
            return Why.COMMITTED
        if limits.counted(calls, last) > policy.retry_count and last.end in limits.COUNTED:
            return Why.ATTEMPTS
        if last.end not in REFUSALS and limits.fault_times(calls, last) >= policy.same_fault_attempts:
            return Why.HALF_RULE if told.panic else Why.SAME_FAULT
        if last.order in self.budget.empty_at:
            return Why.BUDGET
        wait_s = limits.longest_wait_s(calls, last, policy)
        return Why.DEADLINE if limits.too_late(told, last, policy, wait_s=wait_s) else None

    def _found_nobody(self, told: Told, calls: list[Call]) -> Why | None:
        """Everybody is out of use or has refused; or busy, and then the request has waited for its time."""
        policy = self.happened.plan.policy
        out = [self._is_out(calls, view) for view in told.views]
        if all(out):
            return Why.NOBODY if self._time_is_true(told, calls) else None
        if not all(is_out or self._is_busy(view) for is_out, view in zip(out, told.views, strict=True)):
            return None
        since_s = calls[-1].ended_s if calls else told.began_s
        if told.ended_s - since_s >= policy.queue_wait_s - EPSILON_S:
            return Why.WAITED
        return Why.FULL if told.waiting >= policy.queue_length else None

    def _is_out(self, calls: list[Call], view: MemberView) -> bool:
        """Whether a credential has refused this request, or is out of use for something that happened."""
        for call in calls:
            if call.end in REFUSALS and call.name == view.name:
                return True
            if call.end in {End.RATE, End.BILLING} and call.account.organization == self.owners[view.name]:
                return True
        states = limits.hindrances(view)
        return bool(states) and all(limits.explained(self.happened, view, state) for state in states)

    def _same_organization(self, call: Call, name: str, at_s: float) -> bool:
        known = limits.known_organization(self.happened, name, at_s, call.order)
        return known == call.account.organization

    def _is_busy(self, view: MemberView) -> bool:
        full = view.max_concurrency is not None and view.in_flight >= view.max_concurrency
        return full or limits.on_trial(view)

    def _time_is_true(self, told: Told, calls: list[Call]) -> bool:
        """A time to come again is the moment the first credential may be used; none is told without need."""
        error = told.error
        if error is None or error.retry_after_s is None:
            return error is not None and error.status in {403, 502, 503, 504}
        if calls and calls[-1].end is End.OVERLOADED and error.status == 529:
            return True
        least_s = min((left_s for view in told.views for left_s in self._left_s(told, view)), default=None)
        if least_s is None:
            return False
        if any(not limits.hindrances(view) for view in told.views):
            # somebody who is in use was not to be asked for this request, but may be for the next
            return 0 < error.retry_after_s <= max(least_s, 1.0) + _MS
        return abs(error.retry_after_s - max(least_s, 0.0)) < _MS

    @staticmethod
    def _left_s(told: Told, view: MemberView) -> Iterator[float]:
        """Seconds until a credential may be used; nothing for one that is out of use for good or for very long."""
        states = limits.hindrances(view)
        if not states or any(one.state is State.DISABLED for one in states):
            return
        longest = max(states, key=lambda one: one.until_unix_ms or 0)
        if longest.until_unix_ms is not None and longest.reason not in {Reason.BILLING, Reason.PERMISSION}:
            yield monotonic_s(longest.until_unix_ms) - told.ended_s

    def _overstepped(self, told: Told, calls: list[Call]) -> Iterator[str]:
        """Attempts that should not have been made."""
        policy = self.happened.plan.policy
        ends = [call for call in calls if call.end is not None]
        if sum(call.end in limits.COUNTED for call in ends) > policy.retry_count + 1:
            yield "too many attempts that may have done work"
        for earlier in ends:
            if earlier.end not in REFUSALS and limits.fault_times(ends, earlier) > policy.same_fault_attempts:
                yield f"the fault {earlier.fault} too often"
            for later in calls:
                if later.began_s >= earlier.ended_s and later is not earlier:
                    yield from self._again_in_vain(told, earlier, later)
        for call in calls:
            yield from self._asked_too_early(call)
        faulty = sum(any(one.reason is Reason.FAULTS for one in view.classes.values()) for view in told.views)
        if faulty > len(told.views) // 2:
            yield "faults have put more than half of the credentials out of use"

    def _again_in_vain(self, told: Told, earlier: Call, later: Call) -> Iterator[str]:
        if told.committed_s is not None and later.began_s > told.committed_s:
            yield "an attempt after the client had its headers"
        if earlier.end in REFUSALS and earlier.name == later.name:
            yield f"{later.name} was asked again after it had refused"
        if earlier.end in {End.RATE, End.BILLING} and self._same_organization(
            earlier, later.name, later.began_s
        ):
            yield f"{later.name} was asked after its organization had refused"
        if later.began_s - earlier.ended_s < EPSILON_S and limits.too_late(
            told, earlier, self.happened.plan.policy, wait_s=-EPSILON_S * 2
        ):
            yield "an attempt with too little time left"
        if earlier.end in {End.WHOLE, End.CUT}:
            yield "an attempt after an answer"

    def _asked_too_early(self, call: Call) -> Iterator[str]:
        """A credential is left alone for as long as it was said, whoever asks."""
        for end in self.happened.calls:
            if (
                end.end not in REFUSALS
                or not end.ended_s < call.began_s < limits.out_until_s(end) - EPSILON_S
            ):
                continue
            if not limits.is_news(self.happened, end):
                continue
            if end.name == call.name:
                yield f"{call.name} was asked before its time was over"
            if end.end is End.RATE and self._same_organization(end, call.name, end.ended_s):
                yield f"{call.name} was asked before its organization's time was over"

    def _story(self, told: Told, problem: str) -> str:
        start_s = self.happened.start_s
        asked = told.asked
        form = f"{'chat' if asked.chat else 'messages'} {'stream' if asked.stream else 'unary'}"
        lines = [problem, str(self.happened.plan), f"policy: {self.happened.plan.policy}"]
        lines.append(f"request {asked.number} ({form}) came at {told.began_s - start_s:.3f}")
        for call in self.calls[asked.number]:
            ended = f"{call.end} ({call.fault}) at {call.ended_s - start_s:.3f}"
            lines.append(f"  {call.name} asked at {call.began_s - start_s:.3f}: {call.interval}: {ended}")
        if told.committed_s is not None:
            lines.append(f"  the client had its headers at {told.committed_s - start_s:.3f}")
        lines.append(f"  at {told.ended_s - start_s:.3f} it was told {_told(told)}; {told.waiting} wait")
        lines.extend(f"  {_state(view, start_s)}" for view in told.views)
        return "\n".join(lines)


def _told(told: Told) -> str:
    if told.error is None:
        return f"{told.answer!r}"
    error = told.error
    return f"{error.status} {error.kind}: {error.message} (retry-after {error.retry_after_s})"


def _state(view: MemberView, start_s: float) -> str:
    shown = []
    for one in (view.state, *view.classes.values(), *view.closed_models.values()):
        until = "" if one.until_unix_ms is None else f" until {monotonic_s(one.until_unix_ms) - start_s:.3f}"
        shown.append(f"{one.state}({one.reason}, {one.cause}){until}")
    return f"{view.name} [{view.organization}, {view.in_flight} in flight]: {'; '.join(shown)}"
