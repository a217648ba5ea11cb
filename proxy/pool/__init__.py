"""The pool: which credential a request gets, what failures mean, and whether a request is tried again.

Pure and synchronous: nothing here waits, opens a socket or reads a clock that was not handed in.
"""

from proxy.pool.breaker import Breaker, Breakers
from proxy.pool.choosing import Sorts
from proxy.pool.explain import CredentialOutlook, Outlook, Usability
from proxy.pool.failure import (
    Failure,
    FailureClass,
    Fault,
    UpstreamError,
    about_object,
    after_commit,
    classify,
    classify_event,
    classify_fault,
    event_error,
    limit_reached,
)
from proxy.pool.headroom import LIMIT_HEADERS, LimitHeaders, limit_headers
from proxy.pool.health import BY_CONFIGURATION, HealthChange, Reason, State
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
from proxy.pool.replacing import Difference, Replaced
from proxy.pool.retry import Again, RetryBudget, Stop, StopReason, Walk
from proxy.pool.views import MemberView, StateView

__all__ = [
    "BY_CONFIGURATION",
    "LIMIT_HEADERS",
    "Abandoned",
    "Again",
    "Breaker",
    "Breakers",
    "CredentialOutlook",
    "Difference",
    "Exhausted",
    "ExhaustedReason",
    "Failed",
    "Failure",
    "FailureClass",
    "Fault",
    "HealthChange",
    "Lease",
    "LimitHeaders",
    "MemberView",
    "Outcome",
    "Outlook",
    "Pool",
    "Reason",
    "Replaced",
    "RetryBudget",
    "Saturated",
    "Settled",
    "Sorts",
    "State",
    "StateView",
    "Stop",
    "StopReason",
    "Success",
    "Ticket",
    "UpstreamError",
    "Usability",
    "Walk",
    "Want",
    "about_object",
    "after_commit",
    "classify",
    "classify_event",
    "classify_fault",
    "event_error",
    "limit_headers",
    "limit_reached",
]
