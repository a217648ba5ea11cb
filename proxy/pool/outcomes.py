"""What goes into the pool and what comes out of it."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from proxy.credentials import Kind
from proxy.pool.failure import Failure
from proxy.pool.health import HealthChange
from proxy.pool.members import Lease
from proxy.pool.retry import Walk


class Want(msgspec.Struct, frozen=True):
    """What a request needs.

    Attributes:
        model: the id to ask upstream, aliases resolved.
        limit_class: the limit class it counts against.
        client: the name of the client key.
        credential: alias of the only one that will do; None for any.
        only: aliases of the credentials the client key may use; empty for all.
        losses: how much of the request each kind would lose, from 0; those that lose more are asked after the others.
            Empty where all lose the same.
    """

    model: str
    limit_class: str
    client: str
    credential: str | None = None
    only: frozenset[str] = frozenset()
    losses: tuple[tuple[Kind, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Success:
    """A whole answer came through.

    Attributes:
        limit: the limit it was the last answer within, if it said so.
    """

    limit: Failure | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The upstream, or the way to it, failed."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The client left, or we gave up for a reason of our own: nothing is known about the credential."""


Outcome = Success | Failed | Abandoned


@dataclass(frozen=True, slots=True)
class Saturated:
    """Usable credentials exist, and none has a place free now. `waiting` requests are in the queue."""

    waiting: int


class ExhaustedReason(StrEnum):
    """Why nothing can be given.

    ``no_model``: no credential serves the model, or all that were asked do not know it. ``permission``: none may
    use it. ``rate_limited``, ``cooling``: all are out of use for a time, for a rate limit or otherwise.
    ``unusable``: all are disabled or out of credit. ``refused``: this walk has asked all there are.
    """

    NO_MODEL = "no_model"
    PERMISSION = "permission"
    RATE_LIMITED = "rate_limited"
    COOLING = "cooling"
    UNUSABLE = "unusable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No credential can be given.

    Attributes:
        reason: why.
        retry_after_s: seconds until the first of them may be used again, over 0; None where that is unknown.
    """

    reason: ExhaustedReason
    retry_after_s: float | None = None


@dataclass(eq=False, slots=True)
class Ticket:
    """A request's place in the queue. Two are never equal, so that it can be a key.

    Attributes:
        want: what it waits for.
        walk: the memory of its attempts.
        since_s: when it joined, monotonic.
    """

    want: Want
    walk: Walk
    since_s: float


@dataclass(frozen=True, slots=True)
class Settled:
    """What a change of the pool brought about.

    Attributes:
        grants: requests that waited and got a lease; each has to be served or given back.
        hopeless: requests that waited for what can no longer come, and why; they are out of the queue.
        changes: what to keep and to log.
    """

    grants: tuple[tuple[Ticket, Lease], ...] = ()
    hopeless: tuple[tuple[Ticket, Exhausted], ...] = ()
    changes: tuple[HealthChange, ...] = ()
