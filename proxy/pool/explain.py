"""Why no credential can be given, in the terms a client's answer is made from, and in those an operator asks in."""

import copy
import datetime
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from proxy.clock import Clock
from proxy.pool.choosing import Chooser, Group, Plan, make_plan
from proxy.pool.failure import FailureClass
from proxy.pool.health import BY_CONFIGURATION, Reason, Standing, State
from proxy.pool.members import Availability, Member, Seat, availability, standings_of
from proxy.pool.outcomes import Exhausted, ExhaustedReason
from proxy.pool.restraint import Rank, rank_of
from proxy.pool.retry import RetryBudget, Walk
from proxy.pool.sessions import told_to_stop, while_told
from proxy.settings import Policy, Strategy


def explain(plan: Plan, model: str, now_s: float) -> Exhausted:
    """The reason that promises most: what passes soon before what lasts.

    Where there are ordinary credentials it speaks of them alone: a last resort that could not help changes nothing.
    """
    seats = [seat for group in plan.tiers or plan.fallbacks for seat in group]
    if not seats:
        return Exhausted(ExhaustedReason.NO_MODEL)
    hindrances = [_hindrance(seat, model, now_s) for seat in seats]
    known = [each for each in hindrances if each is not None]
    passing = [each for each in known if not each.disabled and each.reason not in _LASTING]
    soonest_s = min((each.until_s for each in passing), default=now_s) - now_s
    if len(known) < len(seats):
        return Exhausted(ExhaustedReason.REFUSED, soonest_s or None)
    if passing:
        limited = any(each.reason is Reason.RATE_LIMIT for each in passing)
        return Exhausted(ExhaustedReason.RATE_LIMITED if limited else ExhaustedReason.COOLING, soonest_s)
    closings = [each.cause for each in known if each.reason is Reason.PERMISSION]
    if closings:
        denied = any(cause != FailureClass.NO_MODEL for cause in closings)
        return Exhausted(ExhaustedReason.PERMISSION if denied else ExhaustedReason.NO_MODEL)
    billing = [each.until_s - now_s for each in known if each.reason is Reason.BILLING]
    return Exhausted(ExhaustedReason.UNUSABLE, min(billing, default=None))


_LASTING = frozenset({Reason.PERMISSION, Reason.BILLING})


def _hindrance(seat: Seat, model: str, now_s: float) -> Standing | None:
    closed = [each for each in standings_of(seat, model) if each.closed(now_s)]
    return max(closed, key=lambda each: (each.state(now_s) is State.DISABLED, each.until_s), default=None)


class Usability(StrEnum):
    """What a credential can do for a request now, in one word."""

    USABLE = "usable"
    DISABLED = "disabled"
    COOLING = "cooling"
    TRIAL = "trial"
    FULL = "full"
    OTHER_MODEL = "other_model"
    OTHER_CLIENT = "other_client"
    LATER_TIER = "later_tier"
    HELD_BACK = "held_back"


@dataclass(frozen=True, slots=True)
class Question:
    """What an operator wants to know of.

    Attributes:
        model: the id to ask upstream.
        limit_class: the limit class it counts against.
        client: the name of a client key, or None for anybody's.
        only: aliases of the credentials that key may use; empty for all.
    """

    model: str
    limit_class: str
    client: str | None
    only: frozenset[str] = frozenset()

    def suits(self, member: Member) -> bool:
        """Whether a member is configured to answer it."""
        return (not self.only or member.name in self.only) and member.serves(self.model, self.client)


@dataclass(frozen=True, slots=True)
class CredentialOutlook:
    """What one credential can do for a request now.

    Attributes:
        name: its alias.
        tier: as configured.
        usability: the word.
        sentence: the same for a person.
        until_unix_ms: when that ends by itself, for ``cooling``, ``trial`` and the requests of a minute; else None.
    """

    name: str
    tier: int
    usability: Usability
    sentence: str
    until_unix_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """Who would be asked for a model now.

    Attributes:
        next: alias of the one a new conversation would get; None if there is none.
        waits: whether a request would wait for a place.
        exhausted: why nobody can be given; None where somebody can, or will be.
        retry_after_s: seconds until the first of them may be used again; None where that is unknown.
        credentials: all of them, in the order in which they would be asked; those that are never asked come last.
    """

    next: str | None
    waits: bool
    exhausted: ExhaustedReason | None
    retry_after_s: float | None
    credentials: tuple[CredentialOutlook, ...]


_PHRASES: Final[Mapping[Reason | None, str]] = {
    None: "a forgotten reason",
    Reason.RATE_LIMIT: "a rate limit",
    Reason.BILLING: "missing credit",
    Reason.FAULTS: "faults",
    Reason.AUTH: "a refused key",
    Reason.BLOCKED: "a challenge on its way out",
    Reason.MANUAL: "its operator's decision",
    Reason.PERMISSION: "a refusal of this model",
}


_RANKED: Final = {
    Rank.OPEN: "It can be asked.",
    Rank.STARTING: "It can be asked, after others: it has come back from faults and takes its share bit by bit.",
    Rank.SHORT: "It can be asked, after others: little is left of one of its limits.",
    Rank.UNREACHED: "It can be asked, after others: its address could not be reached of late.",
}


def outlook(
    members: Sequence[Member],
    question: Question,
    policy: Policy,
    clock: Clock,
    *,
    strategy: Strategy,
    restrained: bool,
) -> Outlook:
    """What the pool would do with a new request now, found out on copies of its seats.

    Under the strategy that draws lots, what is told is one draw of many. `restrained` is as for `Chooser.choose`.
    """
    inquiry = _Inquiry(question, policy, clock, strategy=strategy, restrained=restrained)
    model = question.model
    serving = [member for member in members if question.suits(member)]
    everybody = make_plan(inquiry.copies(serving))
    plan = while_told(everybody, model, inquiry.now_s)
    allowed = [seat.member for seat in plan.seats]
    told = [seat.member.name for seat in told_to_stop(everybody, model, inquiry.now_s)]
    found = inquiry.choose(plan, spill=False)
    chosen = found.member.name if isinstance(found, Seat) else None
    nobody = explain(plan, model, inquiry.now_s) if found is False else None
    return Outlook(
        next=chosen,
        waits=found is True,
        exhausted=nobody.reason if nobody is not None else None,
        retry_after_s=nobody.retry_after_s if nobody is not None else None,
        credentials=(
            *inquiry.in_order(make_plan(inquiry.copies(allowed))),
            *(_held_back(member, told) for member in serving if member not in allowed),
            *(_unsuited(member, model) for member in members if not question.suits(member)),
        ),
    )


class _Inquiry:
    """One look at the pool."""

    def __init__(
        self, question: Question, policy: Policy, clock: Clock, *, strategy: Strategy, restrained: bool
    ) -> None:
        self._question = question
        self._policy = policy
        self._now_unix_ms = clock.unix_ms()
        self.now_s = clock.monotonic_s()
        rng = random.Random(0)  # noqa: S311 - a walk that asked nobody draws nothing
        self._walk = Walk(policy, clock, RetryBudget(policy, clock), self.now_s, rng)
        self._chooser = Chooser(strategy, rng)
        self._restrained = restrained

    def choose(self, plan: Plan, *, spill: bool) -> Seat | bool:
        """The seat a new request would get; see `Chooser.choose`."""
        return self._chooser.choose(
            plan, self._question.model, self._walk, self.now_s, spill=spill, restrained=self._restrained
        )

    def copies(self, members: Sequence[Member]) -> list[Seat]:
        """The members' seats with turns of their own, so that choosing among them moves nothing."""
        limit_class, window_s = self._question.limit_class, self._policy.strike_window_s
        return [
            copy.copy(seat)
            if (seat := member.seats.get(limit_class)) is not None
            else Seat(member, limit_class, window_s=window_s)
            for member in members
        ]

    def in_order(self, plan: Plan) -> list[CredentialOutlook]:
        """All seats of a plan, tier by tier; in each those that can be given first, by their turn."""
        found: list[CredentialOutlook] = []
        decisive: Seat | None = None
        for group in plan.groups:
            found += [self._told(seat, decisive) for seat in self._by_turn(group)]
            if decisive is None:
                decisive = next(filter(self._decides, group), None)
        return found

    def _decides(self, seat: Seat) -> bool:
        """Whether nobody goes past this seat's tier."""
        return availability(seat, self._question.model, self.now_s) in {Availability.FREE, Availability.BUSY}

    def _by_turn(self, group: Group) -> list[Seat]:
        left = list(group)
        asked: list[Seat] = []
        # no walk asks more of them than this
        while len(asked) < self._policy.walk_credentials:
            found = self.choose(make_plan(left), spill=True)
            if not isinstance(found, Seat):
                break
            left.remove(found)
            asked.append(found)
        return asked + left

    def _told(self, seat: Seat, decisive: Seat | None) -> CredentialOutlook:
        found = availability(seat, self._question.model, self.now_s)
        match found:
            case Availability.FREE:
                return self._free(seat, decisive)
            case Availability.BUSY:
                return self._full(seat.member)
            case Availability.PROBING:
                return self._probing(seat)
            case Availability.OUT:
                return self._out(seat)
            case _:
                assert_never(found)

    def _free(self, seat: Seat, decisive: Seat | None) -> CredentialOutlook:
        member = seat.member
        if decisive is not None:
            return _outlook(member, Usability.LATER_TIER, _later(member, decisive.member))
        pending = [each for each in standings_of(seat, self._question.model) if not each.ready]
        if seat.held:
            sentence = "It can be asked: its faults would rest it, but half of its tier must stay in use."
            return _outlook(member, Usability.USABLE, sentence)
        if not pending:
            return _outlook(member, Usability.USABLE, _RANKED[rank_of(seat, self.now_s)])
        sentence = f"It can be asked: the next call tries whether {_PHRASES[pending[0].reason]} is over."
        return _outlook(member, Usability.USABLE, sentence)

    def _full(self, member: Member) -> CredentialOutlook:
        quota, places = member.quota, member.max_concurrency
        if quota is not None and quota.full(self.now_s):
            sentence = f"It has had its requests of this minute ({quota.most})."
            return _outlook(member, Usability.FULL, sentence, self._unix_ms(quota.free_at_s))
        return _outlook(member, Usability.FULL, f"All of its places ({places}) are taken.")

    def _probing(self, seat: Seat) -> CredentialOutlook:
        member = seat.member
        until_s = max(
            member.probe_until_s if member.probe else 0.0,
            *(each.permit_until_s for each in standings_of(seat, self._question.model) if each.permit),
            0.0,
        )
        sentence = "One call is trying it; the next one waits for what becomes of that."
        return _outlook(member, Usability.TRIAL, sentence, self._unix_ms(until_s))

    def _out(self, seat: Seat) -> CredentialOutlook:
        standing = _hindrance(seat, self._question.model, self.now_s)
        if standing is None:
            raise RuntimeError("a seat is out of use and nothing keeps it there")
        if standing.disabled:
            return _outlook(seat.member, Usability.DISABLED, _disabled(standing))
        until_unix_ms = self._unix_ms(standing.until_s)
        why = f"{_PHRASES[standing.reason]} ({standing.cause})"
        sentence = f"Cooling for {why} until {_shown(until_unix_ms)}."
        return _outlook(seat.member, Usability.COOLING, sentence, until_unix_ms)

    def _unix_ms(self, moment_s: float) -> int:
        return self._now_unix_ms + round((moment_s - self.now_s) * 1000)


def _unsuited(member: Member, model: str) -> CredentialOutlook:
    if member.serves(model, None):
        return _outlook(member, Usability.OTHER_CLIENT, "It is kept for other client keys.")
    return _outlook(member, Usability.OTHER_MODEL, "It does not serve this model.")


def _held_back(member: Member, told: Sequence[str]) -> CredentialOutlook:
    sentence = f"No claude.ai session takes the place of one that is out of use: {', '.join(told)}."
    return _outlook(member, Usability.HELD_BACK, sentence)


def _later(member: Member, earlier: Member) -> str:
    if member.fallback and not earlier.fallback:
        return "It is a last resort, asked when no other credential can be."
    return f"It is of tier {member.credential.tier}; tier {earlier.credential.tier} comes first."


def _outlook(
    member: Member, usability: Usability, sentence: str, until_unix_ms: int | None = None
) -> CredentialOutlook:
    return CredentialOutlook(member.name, member.credential.tier, usability, sentence, until_unix_ms)


def _disabled(standing: Standing) -> str:
    if standing.cause == BY_CONFIGURATION:
        return "Disabled in the configuration."
    if standing.reason is Reason.MANUAL:
        return "Disabled by its operator, until it is enabled again."
    return f"Disabled for {_PHRASES[standing.reason]} ({standing.cause}), until it is enabled again."


def _shown(unix_ms: int) -> str:
    return f"{datetime.datetime.fromtimestamp(unix_ms / 1000, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
