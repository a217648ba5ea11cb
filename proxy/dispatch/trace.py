"""What one exchange went through, for its headers, its log line and its explanation."""

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from proxy.dialects.common import Dropped, Observed
from proxy.model.message import Usage
from proxy.telemetry.usage import Charge, Settlement

ABANDONED: Final = "abandoned"
SUCCESS: Final = "success"
CLIENT_LEFT: Final = 499
MODEL_MAX: Final = 129
"""Characters that are kept of a model's name: one more than any name has that is shown in a header or counted."""
CacheWord = Literal["hit", "miss", "off"]
"""What the cache of answers did for an exchange (``x-carousel-cache``)."""

HIT: Final = "hit"
MISS: Final = "miss"
OFF: Final = "off"
_UNTOLD: Final = Usage()


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One upstream call that did not answer the client.

    Attributes:
        credential: alias.
        outcome: the class of its failure.
        status: the upstream's HTTP status, 0 where there was none.
        began_s: monotonic seconds of its start.
        took_ms: from then to its failure.
        charge: what it used all the same; None where it told of nothing.
    """

    credential: str
    outcome: str
    status: int
    began_s: float
    took_ms: float
    charge: Charge | None = None


class Trace(msgspec.Struct):
    """The story of one exchange.

    Attributes:
        credential: alias of the attempt that answers, or was made last; empty before the first.
        model: the model it asks, `MODEL_MAX` characters of it.
        attempts: upstream calls made, the running one included.
        failed: the attempts that failed, in order.
        began_s: monotonic seconds when the last attempt began.
        outcome: what became of the attempt that answers: ``success``, the class of a failure after its beginning, or
            ``abandoned`` as long as nothing else is known.
        dropped: what could not be carried.
        upstream_request_id: the upstream's own id of the answering call.
        first_event_s: monotonic seconds when the first real event came, or the whole unary answer.
        usage: what the answer used, so far as the upstream told.
        observed: what has been seen of the stream of the last attempt; None where it is none, or has not begun.
        stop_reason: why the answer ended.
        spilled: whether it came from another credential than the conversation's own for want of a free place there, or
            because it has none of its own yet.
        cache: what the cache of answers did. A hit made no attempt of its own.
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
    observed: Observed | None = None
    stop_reason: str | None = None
    spilled: bool = True
    cache: CacheWord = OFF

    def charged(self) -> Charge | None:
        """What the last attempt has used so far; None where it has told of nothing."""
        observed, usage = self.observed, self.usage
        if usage is None and observed is not None and observed.usage != _UNTOLD:
            usage = observed.usage
        if usage is None:
            return None
        return Charge(self.credential, self.model, usage, observed is not None and not observed.complete)

    def settlement(self, client: str, model: str, *, status: int, free: bool) -> Settlement:
        """The exchange after its end, for the books.

        Args:
            client: name of the client key.
            model: the one asked for; empty where the request could not be read.
            status: of the answer; 499 where the client left before there was one.
            free: whether answers to it cost nothing.
        """
        begun = self.first_event_s is not None
        last = self.charged()
        further = [each.charge for each in self.failed if each.charge is not None]
        if not begun or not self.attempts:
            if last is not None:
                further.append(last)
            answered = None
        elif free:
            answered = Charge(self.credential, self.model, None)
        else:
            answered = last or self._untold()
        left = status == CLIENT_LEFT or (begun and self.outcome == ABANDONED)
        return Settlement(
            client=client,
            model=model,
            answered=answered,
            further=further,
            failed=not left and (not begun or self.outcome != SUCCESS),
            abandoned=left,
            cache_hit=begun and self.cache == HIT,
            cache_miss=self.cache == MISS,
        )

    def _untold(self) -> Charge:
        """An answer that has said nothing of what it used, which is not the same as nothing."""
        observed = self.observed
        return Charge(
            self.credential, self.model, _UNTOLD, partial=observed is not None and not observed.complete
        )
