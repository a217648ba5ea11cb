"""The pool: which credential a request gets, what failures mean, and whether a request is tried again.

Pure and synchronous: nothing here waits, opens a socket or reads a clock that was not handed in.
"""

from proxy.pool.breaker import Breaker, Breakers
from proxy.pool.failure import (
    Failure,
    FailureClass,
    Fault,
    UpstreamError,
    after_commit,
    classify,
    classify_event,
    classify_fault,
    event_error,
)
from proxy.pool.health import HealthChange, Reason, State
from proxy.pool.members import Lease
from proxy.pool.outcomes import (
    Abandoned,
    Exhausted,
    ExhaustedReason,
    Failed,
    Outcome,
    Saturated,
    Settled,
    Success,
    Ticket,
    Want,
)
from proxy.pool.pool import Pool
from proxy.pool.retry import Again, RetryBudget, Stop, StopReason, Walk
from proxy.pool.views import MemberView, StateView

__all__ = [
    "Abandoned",
    "Again",
    "Breaker",
    "Breakers",
    "Exhausted",
    "ExhaustedReason",
    "Failed",
    "Failure",
    "FailureClass",
    "Fault",
    "HealthChange",
    "Lease",
    "MemberView",
    "Outcome",
    "Pool",
    "Reason",
    "RetryBudget",
    "Saturated",
    "Settled",
    "State",
    "StateView",
    "Stop",
    "StopReason",
    "Success",
    "Ticket",
    "UpstreamError",
    "Walk",
    "Want",
    "after_commit",
    "classify",
    "classify_event",
    "classify_fault",
    "event_error",
]
