"""Counters of several processes that answer when a test says so."""

import asyncio
from dataclasses import dataclass, field

from proxy.access import Grant, Reservation
from proxy.store.base import NotShared
from proxy.store.shared import BucketCount, Counted, Refusal, Taken, WindowCount


@dataclass(slots=True)
class ToldCounters:
    """See `SharedCounters`.

    Attributes:
        away: whether they cannot be asked.
        waits: whether answers come only by `answer`; else everybody is let in at once.
        asked: what was asked for, oldest first, and where the answer goes.
        settled: how many more tokens than reserved each request took that has ended, by its nonce, oldest first.
    """

    away: bool = False
    waits: bool = False
    asked: list[tuple[Counted, "asyncio.Future[Taken]"]] = field(default_factory=list)
    settled: list[tuple[str, int]] = field(default_factory=list)
    share: int = 2

    def take(self, counted: Counted) -> "asyncio.Future[Taken]":
        """See `SharedCounters.take`."""
        if self.away:
            raise NotShared("away")
        taking: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        self.asked.append((counted, taking))
        if not self.waits:
            taking.set_result(taken(counted))
        return taking

    def answer(self, refusal: Refusal = Refusal.NONE) -> None:
        """Answer what was asked last."""
        counted, taking = self.asked[-1]
        taking.set_result(taken(counted, refusal))

    def fail(self) -> None:
        """Have that end without an answer."""
        self.asked[-1][1].set_exception(NotShared("away"))

    def settle(self, counted: Counted, bucket: int, more_tokens: int) -> None:  # noqa: ARG002 - as they are called
        """See `SharedCounters.settle`."""
        self.settled.append((counted.nonce, more_tokens))

    def spent(self, client: str, period: str, micro_usd: int) -> None:
        """See `SharedCounters.spent`."""


async def granted(leave: Grant | Reservation) -> Grant:
    """Leave, once it is there."""
    return leave if isinstance(leave, Grant) else await leave.confirmed()


def taken(counted: Counted, refusal: Refusal = Refusal.NONE) -> Taken:
    """What came of it: one request was counted of each sort, and no token."""
    windows = tuple(WindowCount(1, 0.0) for _ in counted.requests)
    return Taken(refusal, 0, windows, tuple(BucketCount(0, 0) for _ in counted.tokens), 0, 0.0, 0)
