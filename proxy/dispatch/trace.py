"""What one exchange went through, for its headers, its log line and its explanation."""

from dataclasses import dataclass
from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.model.message import Usage

ABANDONED: Final = "abandoned"
SUCCESS: Final = "success"


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One upstream call that did not answer the client.

    Attributes:
        credential: alias.
        outcome: the class of its failure.
        status: the upstream's HTTP status, 0 where there was none.
        began_s: monotonic seconds of its start.
        took_ms: from then to its failure.
    """

    credential: str
    outcome: str
    status: int
    began_s: float
    took_ms: float


class Trace(msgspec.Struct):
    """The story of one exchange.

    Attributes:
        credential: alias of the attempt that answers, or was made last; empty before the first.
        model: the model it asks.
        attempts: upstream calls made, the running one included.
        failed: the attempts that failed, in order.
        began_s: monotonic seconds when the last attempt began.
        outcome: what became of the attempt that answers: ``success``, the class of a failure after its beginning, or
            ``abandoned`` as long as nothing else is known.
        dropped: what could not be carried.
        upstream_request_id: the upstream's own id of the answering call.
        first_event_s: monotonic seconds when the first real event came, or the whole unary answer.
        usage: what the answer used, so far as the upstream told.
        stop_reason: why the answer ended.
        spilled: whether it came from another credential than the conversation's own for want of a free place there, or
            because it has none of its own yet.
    """

    credential: str = ""
    model: str = ""
    attempts: int = 0
    failed: list[FailedAttempt] = []
    began_s: float = 0.0
    outcome: str = ABANDONED
    dropped: tuple[Dropped, ...] = ()
    upstream_request_id: str | None = None
    first_event_s: float | None = None
    usage: Usage | None = None
    stop_reason: str | None = None
    spilled: bool = True
