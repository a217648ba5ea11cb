"""What allows no further attempt, worked out anew from the promises and from what the upstream saw.

Nothing here asks the pool's own rules: what is known is which call came to what and when.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.pool import MemberView, Reason, State, StateView
from proxy.settings import Policy
from tests.support.schedules.clients import Happened, Told
from tests.support.schedules.plan import Conduct
from tests.support.schedules.upstream import Call, End
from tests.support.simulated_time import monotonic_s

EPSILON_S: Final = 1e-6
REFUSALS: Final = frozenset({End.AUTH, End.BILLING, End.PERMISSION, End.RATE})
COUNTED: Final = frozenset({End.SERVER, End.OVERLOADED})
_NAMES_ORGANIZATION: Final = REFUSALS | {End.OVERLOADED, End.WHOLE}
_TIMEOUTS: Final = frozenset({"headers_timeout", "first_event_timeout"})
_LEAST_DEADLINE_SHARE: Final = 0.2
_LEAST_DEADLINE_SHARE_AFTER_TIMEOUT: Final = 0.5
_MS: Final = 0.002


def known_organization(happened: Happened, call_name: str, at_s: float, order: int) -> str | None:
    """The organization of a credential as far as configuration and answers had surely told by then."""
    account = next(one for one in happened.plan.accounts if one.name == call_name)
    told = account.credential.organization is not None or any(
        call.name == call_name
        and call.end in _NAMES_ORGANIZATION
        and (call.ended_s < at_s or call.order == order)
        for call in happened.calls
    )
    return account.organization if told else None


def out_until_s(end: Call) -> float:
    """Until when a refused credential must not be asked again at the least, monotonic seconds."""
    match end.end:
        case End.RATE if end.interval.conduct is Conduct.LIMITED_FOR:
            return end.ended_s + min(max(end.interval.retry_after_s, 1.0), 3600.0)
        case End.RATE:
            return end.ended_s + 5.0
        case End.AUTH:
            return end.ended_s + 60.0
        case End.BILLING:
            return end.ended_s + 3600.0
        case End.PERMISSION:
            return end.ended_s + 600.0
        case _:
            return end.ended_s


def is_news(happened: Happened, end: Call) -> bool:
    """Whether a refusal says anything new: calls under way together that name no time are refused as one."""
    if end.end is End.PERMISSION or end.interval.conduct is Conduct.LIMITED_FOR:
        return True
    return not any(
        other.end is end.end
        and other.account.organization == end.account.organization
        and end.began_s < other.ended_s
        and other.order < end.order
        for other in happened.calls
    )


def fault_times(calls: Iterable[Call], end: Call) -> int:
    """How many of a request's calls, up to `end`, ended in the same fault."""
    return sum(call.fault == end.fault and call.order <= end.order for call in calls if call.end is not None)


def counted(calls: Iterable[Call], end: Call) -> int:
    """How many of a request's calls, up to `end`, may have done work and failed."""
    return sum(call.end in COUNTED and call.order <= end.order for call in calls if call.end is not None)


def too_late(told: Told, end: Call, policy: Policy, *, wait_s: float) -> bool:
    """Whether too little time was left for another attempt after a pause of at most `wait_s` seconds."""
    left_s = told.began_s + policy.deadline_s - end.ended_s - wait_s
    share = 0.0
    if end.end in COUNTED:
        share = _LEAST_DEADLINE_SHARE_AFTER_TIMEOUT if end.fault in _TIMEOUTS else _LEAST_DEADLINE_SHARE
    return left_s < max(policy.min_attempt_s, share * policy.deadline_s) + EPSILON_S


def longest_wait_s(calls: Iterable[Call], end: Call, policy: Policy) -> float:
    """The longest pause there may be before the next attempt."""
    if end.end is End.ENDPOINT:
        return 0.5
    if end.end is End.OVERLOADED:
        return 2.0
    if end.end is End.SERVER:
        return min(policy.backoff_max_s, policy.backoff_base_s * 2.0 ** (counted(calls, end) - 1))
    return 0.0


@dataclass(slots=True)
class Budget:
    """The retry budget, kept a second time.

    Attributes:
        empty_at: the ends, by their order, after which a retry could not be paid for.
    """

    policy: Policy
    tokens: float
    filled_at_s: float
    empty_at: set[int] = field(default_factory=set)

    def arrive(self, at_s: float) -> None:
        """A request came."""
        self._fill(at_s, self.policy.budget_per_request)

    def ask(self, end: Call, *, spent: bool) -> None:
        """A retry is wanted after a call's end; `spent` says whether it was seen to be paid for."""
        self._fill(end.ended_s, 0.0)
        if self.tokens < 1 + EPSILON_S:
            self.empty_at.add(end.order)
        if spent:
            self.tokens -= 1

    def _fill(self, at_s: float, extra: float) -> None:
        gained = extra + (at_s - self.filled_at_s) * self.policy.budget_per_second
        self.tokens = min(self.policy.budget_max, self.tokens + gained)
        self.filled_at_s = at_s


def keep_budget(happened: Happened, requests: dict[int, Told], calls: dict[int, list[Call]]) -> Budget:
    """Go through everything in the order in which it happened."""
    policy = happened.plan.policy
    budget = Budget(policy, policy.budget_max, happened.start_s)
    moments: list[tuple[float, int, Told | Call]] = []
    moments += [(told.began_s, 0, told) for told in happened.told if not _turned_away(told, calls)]
    moments += [(call.ended_s, call.order, call) for call in happened.calls if call.end is not None]
    for at_s, _, what in sorted(moments, key=lambda one: one[:2]):
        if isinstance(what, Told):
            budget.arrive(at_s)
        elif what.end in COUNTED or what.end is End.ENDPOINT:
            told, mine = requests[what.request], calls[what.request]
            if _may_ask(told, mine, what, policy):
                budget.ask(what, spent=_went_on(told, mine, what))
    return budget


def _turned_away(told: Told, calls: dict[int, list[Call]]) -> bool:
    return told.error is not None and told.error.status == 529 and not calls[told.asked.number]


def _may_ask(told: Told, calls: Sequence[Call], end: Call, policy: Policy) -> bool:
    """Whether attempts, faults and headers not yet sent still allow a retry."""
    if told.committed_s is not None and told.committed_s <= end.ended_s:
        return False
    if end.end is End.ENDPOINT:
        return fault_times(calls, end) < 2
    return counted(calls, end) <= policy.retry_count and fault_times(calls, end) < policy.same_fault_attempts


def _went_on(told: Told, calls: Sequence[Call], end: Call) -> bool:
    """Whether a retry was decided on: there is a pause before each, so the request's story went on."""
    return told.ended_s > end.ended_s + EPSILON_S or any(call.began_s > end.ended_s for call in calls)


def breaker_was_open(happened: Happened, at_s: float) -> bool:
    """Whether so many of the provider's answers had been overloads that calls are turned away."""
    policy = happened.plan.policy
    recent: deque[Call] = deque()
    overloads = 0
    ends = [call for call in happened.calls if call.end not in {None, End.LEFT, End.ENDPOINT}]
    for call in sorted(ends, key=lambda one: one.ended_s):
        if call.ended_s > at_s:
            break
        recent.append(call)
        overloads += call.end is End.OVERLOADED
        while recent[0].ended_s <= call.ended_s - policy.overload_window_s:
            overloads -= recent.popleft().end is End.OVERLOADED
        # the longest window is looked at, so answers at its very beginning may have been forgotten
        enough = len(recent) >= policy.overload_calls
        if enough and overloads >= policy.overload_share * policy.overload_calls:
            opened_s = call.ended_s
            if at_s - opened_s <= policy.overload_open_s + EPSILON_S:
                return True
    return False


def hindrances(view: MemberView) -> list[StateView]:
    """All that keeps a credential from being used, as the pool shows it."""
    found = [view.state, *view.classes.values(), *view.closed_models.values()]
    return [one for one in found if one.state in {State.COOLING, State.DISABLED}]


def on_trial(view: MemberView) -> bool:
    """Whether a credential waits for the verdict of a trial."""
    found = [view.state, *view.classes.values(), *view.closed_models.values()]
    return view.in_flight > 0 and any(one.state is State.TRIAL for one in found)


def explained(happened: Happened, view: MemberView, state: StateView) -> bool:
    """Whether something the upstream did accounts for a state of a credential, deadline included."""
    until_s = None if state.until_unix_ms is None else monotonic_s(state.until_unix_ms)
    organization = next(one.organization for one in happened.plan.accounts if one.name == view.name)
    match state.reason:
        case Reason.RATE_LIMIT:
            ends = [call for call in _ended(happened, End.RATE) if call.account.organization == organization]
            return any(_named_or_step(call, until_s, (5, 10, 20, 40, 60)) for call in ends)
        case Reason.AUTH:
            refusals = [call for call in _ended(happened, End.AUTH) if call.name == view.name]
            if state.state is State.DISABLED:
                apart_s = max(one.ended_s for one in refusals) - min(one.ended_s for one in refusals)
                return len(refusals) > 1 and apart_s >= 5
            return any(_is_step(call, until_s, (60, 120, 240, 300)) for call in refusals)
        case Reason.BILLING:
            ends = [call for call in _ended(happened, End.BILLING) if call.name == view.name]
            return any(_is_step(call, until_s, (3600, 7200)) for call in ends)
        case Reason.PERMISSION:
            ends = [call for call in _ended(happened, End.PERMISSION) if call.name == view.name]
            return any(_is_step(call, until_s, (600,)) for call in ends)
        case Reason.FAULTS:
            return any(_is_step(call, until_s, (30, 60, 120, 240, 300)) for call in _strikes(happened, view))
        case _:
            return False


def _ended(happened: Happened, end: End) -> Iterator[Call]:
    return (call for call in happened.calls if call.end is end)


def _strikes(happened: Happened, view: MemberView) -> Iterator[Call]:
    """The faults of a credential that may have put it out of use: with so many others before them."""
    policy = happened.plan.policy
    faults: list[float] = []
    mine = [call for call in happened.calls if call.name == view.name and call.end in {End.SERVER, End.CUT}]
    for call in sorted(mine, key=lambda one: one.order):
        faults.append(call.ended_s)
        # five in a row, half of ten within a minute, or a trial after that
        if len(faults) >= policy.strikes:
            yield call


def _named_or_step(call: Call, until_s: float | None, steps_s: Sequence[float]) -> bool:
    if call.interval.conduct is Conduct.LIMITED_FOR:
        return until_s is not None and abs(out_until_s(call) - until_s) < _MS
    return _is_step(call, until_s, steps_s)


def _is_step(call: Call, until_s: float | None, steps_s: Sequence[float]) -> bool:
    return until_s is not None and any(abs(call.ended_s + step_s - until_s) < _MS for step_s in steps_s)


def in_flight(happened: Happened, name: str, at_s: float) -> int:
    """Calls of a credential under way at a moment, ends at that moment excluded."""
    return sum(call.name == name and call.began_s <= at_s < call.ended_s for call in happened.calls)
