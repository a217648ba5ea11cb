"""What happens to a credential: the words, the table from failure to effect, and the times out of use.

One rule holds everywhere: whatever is out of use has a moment at which it may be tried again, unless it is
disabled, which only a person, or a key that is known to be dead, brings about.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from proxy.credentials import Kind
from proxy.pool.failure import Failure, FailureClass, Fault
from proxy.settings import Policy

AUTH_LONGEST_S: Final = 300.0
MONTH_LONGEST_S: Final = 32 * 86_400.0
SESSION_LIMIT_S: Final = 3600.0
_SESSION_LIMIT_LONGEST_S: Final = 8 * 86_400.0
_NAMED_JITTER_LONGEST_S: Final = 5.0
BY_CONFIGURATION: Final = "configuration"
BY_OPERATOR: Final = "operator"


class State(StrEnum):
    """Whether something may be used. Only ``disabled`` is without a deadline."""

    READY = "ready"
    COOLING = "cooling"
    TRIAL = "trial"
    DISABLED = "disabled"


class Reason(StrEnum):
    """Why something is out of use.

    What is out of use depends on it: the credential for one limit class (``rate_limit``, ``faults``), the whole
    credential (``billing``, ``auth``, ``manual``), its way out (``blocked``), or one model (``permission``).
    """

    RATE_LIMIT = "rate_limit"
    BILLING = "billing"
    FAULTS = "faults"
    AUTH = "auth"
    BLOCKED = "blocked"
    MANUAL = "manual"
    PERMISSION = "permission"


class Effect(StrEnum):
    """What a failure does to the credential that met it."""

    NONE = "none"
    REFUSED_KEY = "refused_key"
    DEAD_KEY = "dead_key"
    CLOSE_MODEL = "close_model"
    RATE_LIMIT = "rate_limit"
    OUT_OF_CREDIT = "out_of_credit"
    STRIKE = "strike"
    BLOCK_WAY_OUT = "block_way_out"


_EFFECTS: Final[Mapping[FailureClass, Effect]] = {
    FailureClass.REQUEST: Effect.NONE,
    FailureClass.AUTH: Effect.REFUSED_KEY,
    FailureClass.AUTH_DEAD: Effect.DEAD_KEY,
    FailureClass.PERMISSION: Effect.CLOSE_MODEL,
    FailureClass.NO_MODEL: Effect.CLOSE_MODEL,
    FailureClass.RATE: Effect.RATE_LIMIT,
    FailureClass.BILLING: Effect.OUT_OF_CREDIT,
    FailureClass.OVERLOADED: Effect.NONE,
    FailureClass.SERVER: Effect.STRIKE,
    FailureClass.ENDPOINT: Effect.NONE,
    FailureClass.CHALLENGE: Effect.BLOCK_WAY_OUT,
    FailureClass.CUT: Effect.STRIKE,
    FailureClass.UNKNOWN: Effect.NONE,
}


def effect_of(failure: Failure) -> Effect:
    """The effect of `failure` on the credential that met it."""
    # a stream that still pings comes from an upstream that lives
    return Effect.NONE if failure.fault is Fault.PING_ONLY else _EFFECTS[failure.cls]


_KEY_ACCEPTED: Final = frozenset({Reason.AUTH, Reason.BLOCKED})
_ALL_LIFTED: Final = frozenset(
    {Reason.AUTH, Reason.BLOCKED, Reason.RATE_LIMIT, Reason.BILLING, Reason.FAULTS}
)
_LIFTED: Final[Mapping[FailureClass, frozenset[Reason]]] = {
    FailureClass.REQUEST: _ALL_LIFTED,
    FailureClass.PERMISSION: _KEY_ACCEPTED,
    FailureClass.NO_MODEL: _KEY_ACCEPTED,
    FailureClass.RATE: _KEY_ACCEPTED,
    FailureClass.BILLING: _KEY_ACCEPTED,
    FailureClass.AUTH: frozenset({Reason.BLOCKED}),
}


def lifted_by(failure: Failure) -> frozenset[Reason]:
    """The reasons a trial that ended in `failure` has nevertheless proved to be over.

    An upstream that finds fault with the request has accepted the key; one that counts it against a limit has too.
    """
    return _LIFTED.get(failure.cls, frozenset())


class Standing:
    """The state of one thing that can be out of use.

    Attributes:
        ready: whether it may be used without more ado.
        disabled: whether it is out of use for good.
        reason: why it is out of use.
        cause: the failure class or fault that brought it about, for logs.
        until_s: monotonic seconds; from then on one trial at a time is let through.
        since_unix_ms: since when it is out of use.
        epoch: serial of the last lease granted before it went out of use; what such leases report is no news.
        permit: serial of the lease that is trying it, 0 for none.
        permit_until_s: monotonic seconds at which that permit ends by itself.
    """

    __slots__ = (
        "cause",
        "disabled",
        "epoch",
        "permit",
        "permit_until_s",
        "ready",
        "reason",
        "since_unix_ms",
        "until_s",
    )

    def __init__(self) -> None:
        self.ready = True
        self.disabled = False
        self.reason: Reason | None = None
        self.cause = ""
        self.until_s = 0.0
        self.since_unix_ms = 0
        self.epoch = 0
        self.permit = 0
        self.permit_until_s = 0.0

    def state(self, now_s: float) -> State:
        """The word for it at `now_s`."""
        if self.ready:
            return State.READY
        if self.disabled:
            return State.DISABLED
        return State.COOLING if now_s < self.until_s else State.TRIAL

    def closed(self, now_s: float) -> bool:
        """Whether nothing at all is let through at `now_s`."""
        return self.disabled or (not self.ready and now_s < self.until_s)

    def on_trial(self, now_s: float) -> bool:
        """Whether a lease holds the permit at `now_s`."""
        return self.permit != 0 and now_s < self.permit_until_s

    def cool(self, reason: Reason, until_s: float, *, cause: str, since_unix_ms: int, epoch: int) -> bool:
        """Put it out of use until `until_s`. A later deadline that stands already is kept; then False."""
        if self.disabled:
            return False
        self.epoch = epoch
        if not self.ready and self.until_s >= until_s:
            return False
        if self.ready or self.reason is not reason:
            self.since_unix_ms = since_unix_ms
        self.ready = False
        self.reason = reason
        self.cause = cause
        self.until_s = until_s
        return True

    def disable(self, reason: Reason, *, cause: str, since_unix_ms: int) -> bool:
        """Put it out of use for good; False if it was for the same reason."""
        if self.disabled and self.reason is reason:
            return False
        self.ready = False
        self.disabled = True
        self.reason = reason
        self.cause = cause
        self.since_unix_ms = since_unix_ms
        self.permit = 0
        return True

    def recover(self, *, since_unix_ms: int) -> bool:
        """Bring it back into use; False if it was."""
        if self.ready:
            return False
        self.ready = True
        self.disabled = False
        self.reason = None
        self.cause = ""
        self.since_unix_ms = since_unix_ms
        self.permit = 0
        return True

    def take_permit(self, serial: int, until_s: float) -> None:
        """Let the lease `serial` try it until `until_s` at most."""
        self.permit = serial
        self.permit_until_s = until_s

    def give_back(self, serial: int) -> None:
        """End the permit of the lease `serial`, if it still is the one that holds it."""
        if self.permit == serial:
            self.permit = 0


class Ladder:
    """Times that grow with each repetition. ``rung`` is the next step, from 0."""

    __slots__ = ("rung",)

    def __init__(self) -> None:
        self.rung = 0

    def climb(self, steps_s: Sequence[float]) -> float:
        """This repetition's time in seconds; stays on the last step."""
        step = steps_s[min(self.rung, len(steps_s) - 1)]
        self.rung = min(self.rung + 1, len(steps_s))
        return step


def doubling_s(first_s: float, longest_s: float) -> tuple[float, ...]:
    """`first_s`, twice that, and so on; the last step is `longest_s`."""
    steps = []
    while first_s < longest_s:
        steps.append(first_s)
        first_s *= 2
    return (*steps, longest_s)


class CoolingTimes:
    """The times out of use under one policy, with their jitter.

    A time of our own is varied by the policy's jitter either way, so that credentials that failed together do not
    come back together, but never over its ladder's last step. A time an upstream named is only ever lengthened,
    by at most 5 s.
    """

    def __init__(self, policy: Policy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng
        self.auth_s = doubling_s(policy.auth_cooling_s, max(policy.auth_cooling_s, AUTH_LONGEST_S))
        self.billing_s = doubling_s(policy.billing_cooling_s, policy.billing_max_s)
        self.blocked_s = doubling_s(policy.blocked_cooling_s, policy.blocked_max_s)
        self.rate_s = policy.rate_ladder_s
        self.fault_s = policy.fault_ladder_s
        self.closed_model_s = (policy.closed_model_s,)

    def step(self, ladder: Ladder, steps_s: Sequence[float]) -> float:
        """The next time on a ladder of our own, in seconds."""
        jitter = self._policy.jitter
        time_s = ladder.climb(steps_s)
        return min(time_s * (1 + self._rng.uniform(-jitter, jitter)), max(steps_s))

    def named(self, seconds: float, *, longest_s: float) -> float:
        """A time an upstream named: at least 1 s, at most `longest_s` and the jitter."""
        bounded_s = min(max(seconds, 1.0), longest_s)
        jitter_s = self._rng.uniform(0, self._policy.jitter) * bounded_s
        return bounded_s + min(jitter_s, _NAMED_JITTER_LONGEST_S)

    def longest_named_limit_s(self, kind: Kind) -> float:
        """The most seconds an upstream's own word keeps a credential of this kind from being asked after a 429.

        An account of claude.ai has limits of a week, and asking it again before their end is no use to anybody.
        """
        return _SESSION_LIMIT_LONGEST_S if kind is Kind.CLAUDE_WEB else self._policy.retry_after_max_s

    def longest(self, reason: Reason, kind: Kind = Kind.ANTHROPIC) -> float:
        """The most seconds a stored deadline of this reason may lie ahead for a credential of this kind."""
        return {
            Reason.RATE_LIMIT: max(
                self.longest_named_limit_s(kind) + _NAMED_JITTER_LONGEST_S, *self._policy.rate_ladder_s
            ),
            Reason.BILLING: MONTH_LONGEST_S,
            Reason.FAULTS: max(self.fault_s),
            Reason.AUTH: max(self.auth_s),
            Reason.BLOCKED: max(self.blocked_s),
            Reason.MANUAL: 0.0,
            Reason.PERMISSION: self._policy.closed_model_s,
        }[reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChange:
    """A change worth keeping and logging; also the stored form of a state.

    Attributes:
        name: the credential's alias.
        limit_class: the class it is about; empty for the credential as a whole.
        state: ``ready``, ``cooling`` or ``disabled``; trials are not kept.
        reason: None for ``ready``.
        since_unix_ms: since when.
        until_unix_ms: the deadline; None for ``ready`` and ``disabled``.
        model: set where it is about this model alone.
        cause: the failure class or fault behind it.
        rung: how far up its ladder it is.
        durable: whether it is to be kept over a restart. What belongs to a model or a way out is not: it is soon
            found out anew.
        shared: whether it holds for other processes with the same credentials. A way out is each process's own matter,
            but a claude.ai session that met a challenge is to be left alone by all of them.
        way_out: whether it is about the credential's way out.
    """

    name: str
    state: State
    reason: Reason | None
    since_unix_ms: int
    until_unix_ms: int | None
    limit_class: str = ""
    model: str | None = None
    cause: str = ""
    rung: int = 0
    durable: bool = True
    shared: bool = True
    way_out: bool = False
