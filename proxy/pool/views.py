"""The pool as people see it: one value per member, with words, reasons and wall-clock times."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.clock import Clock
from proxy.credentials import Kind
from proxy.pool.health import Reason, Standing, State
from proxy.pool.members import Member, standings_of

_IN_USE: Final = frozenset({State.READY, State.TRIAL})
_WORST_LAST: Final = (State.READY, State.TRIAL, State.COOLING, State.DISABLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateView:
    """One state.

    Attributes:
        state: the word.
        reason: None for ``ready``.
        cause: the failure class or fault behind it; empty for ``ready``.
        since_unix_ms: since when it is out of use; None for ``ready``.
        until_unix_ms: for ``cooling`` the deadline; for ``trial`` the end of the permit, or while none is out
            the moment from which on a trial was possible; None for ``ready`` and ``disabled``.
    """

    state: State
    reason: Reason | None = None
    cause: str = ""
    since_unix_ms: int | None = None
    until_unix_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitView:
    """One limit of a credential.

    Attributes:
        name: as the upstream calls it: ``requests``, ``input-tokens``, ``unified-5h``.
        share_left: the least that is left of it in any limit class, 0 to 1.
        reset_unix_ms: when that is full again; None where that was not said.
    """

    name: str
    share_left: float
    reset_unix_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """One credential.

    Attributes:
        name: its alias.
        kind: which upstream it opens.
        organization, workspace: as configured or learned.
        tier, weight: its place in the order.
        in_flight: leases on it.
        max_concurrency: its places; None for no limit.
        state: of the credential as a whole, its way out included.
        classes: of each limit class that was asked for.
        closed_models: models it may not use for a while.
        headroom: the least share that is left of any of its limits, 0 to 1; None while that is unknown.
        limits: each of its limits that an answer has told of.
        strikes: faults in a row, for each limit class in which there are any.
        succeeded, failed, abandoned: leases given back so since the start.
    """

    name: str
    kind: Kind
    organization: str | None
    workspace: str | None
    tier: int
    weight: int
    in_flight: int
    max_concurrency: int | None
    state: StateView
    classes: Mapping[str, StateView]
    closed_models: Mapping[str, StateView]
    headroom: float | None
    limits: tuple[LimitView, ...]
    strikes: Mapping[str, int]
    succeeded: int
    failed: int
    abandoned: int

    @property
    def usable(self) -> bool:
        """Whether it may be used for something: as a whole, and in a limit class if it was asked for any."""
        classes = [each.state in _IN_USE for each in self.classes.values()]
        return self.state.state in _IN_USE and (any(classes) or not classes)

    @property
    def worst(self) -> State:
        """The worst state it is in as a whole or in any limit class."""
        return max((self.state.state, *(each.state for each in self.classes.values())), key=_WORST_LAST.index)


def view_of(member: Member, clock: Clock) -> MemberView:
    """`member` as it is now."""
    credential = member.credential
    return MemberView(
        name=member.name,
        kind=credential.kind,
        organization=member.organization,
        workspace=member.workspace,
        tier=credential.tier,
        weight=credential.weight,
        in_flight=member.in_flight,
        max_concurrency=credential.max_concurrency,
        state=_state_view(_worst((member.standing, member.way_standing), clock), clock),
        classes={name: _state_view(seat.standing, clock) for name, seat in member.seats.items()},
        closed_models={model: _state_view(standing, clock) for model, standing in member.closed.items()},
        headroom=_headroom(member, clock.monotonic_s()),
        limits=_limits(member, clock.unix_ms()),
        strikes={name: seat.strikes for name, seat in member.seats.items() if seat.strikes},
        succeeded=member.succeeded,
        failed=member.failed,
        abandoned=member.abandoned,
    )


def _headroom(member: Member, now_s: float) -> float | None:
    shares = [seat.allowance.share_left(now_s) for seat in member.seats.values()]
    return min((share for share in shares if share is not None), default=None)


def _limits(member: Member, now_unix_ms: int) -> tuple[LimitView, ...]:
    found: dict[str, LimitView] = {}
    for seat in member.seats.values():
        for window in seat.allowance.windows:
            over = window.reset_unix_ms is not None and window.reset_unix_ms <= now_unix_ms
            view = LimitView(
                name=window.name,
                share_left=1.0 if over else window.share_left,
                reset_unix_ms=None if over else window.reset_unix_ms,
            )
            known = found.get(window.name)
            if known is None or view.share_left < known.share_left:
                found[window.name] = view
    return tuple(found.values())


def word_of(member: Member, clock: Clock) -> str:
    """The worst of a member's states, with its reason: ``ready``, ``cooling(rate_limit)``."""
    standings = {id(each): each for seat in member.seats.values() for each in standings_of(seat, "")}
    worst = _worst((member.standing, member.way_standing, *standings.values()), clock)
    state = worst.state(clock.monotonic_s())
    return f"{state}({worst.reason})" if worst.reason else str(state)


def _worst(standings: Iterable[Standing], clock: Clock) -> Standing:
    now_s = clock.monotonic_s()
    return max(standings, key=lambda each: (_WORST_LAST.index(each.state(now_s)), each.until_s))


def _state_view(standing: Standing, clock: Clock) -> StateView:
    now_s = clock.monotonic_s()
    state = standing.state(now_s)
    if state is State.READY:
        return StateView(state=state)
    until_unix_ms = None
    if state is not State.DISABLED:
        trying = state is State.TRIAL and standing.on_trial(now_s)
        until_s = standing.permit_until_s if trying else standing.until_s
        until_unix_ms = clock.unix_ms() + round((until_s - now_s) * 1000)
    return StateView(
        state=state,
        reason=standing.reason,
        cause=standing.cause,
        since_unix_ms=standing.since_unix_ms,
        until_unix_ms=until_unix_ms,
    )
