"""What processes that serve together tell each other, whatever it goes by.

None of it is ever waited for longer than a tenth of a second, and every process can go on without it.
"""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from proxy.store.base import HealthRow


class SharedHealth(Protocol):
    """The health of credentials, as all of them know it."""

    @property
    def rows(self) -> Sequence[HealthRow]:
        """What is known to be so by all, as far as this process has heard."""
        ...

    def put(self, row: HealthRow) -> None:
        """Tell the others of a change, soon."""
        ...

    async def flush(self) -> None:
        """Have told the others of every change when this returns. Raises StoreError."""
        ...

    async def sync(self) -> None:
        """Have taken over all the others have told when this returns. Raises StoreError."""
        ...


class Permits(Protocol):
    """Leave for one process at a time."""

    async def take(self, name: str, holder: str) -> bool | None:
        """Whether leave was given; None where nobody can tell. It ends by itself after 30 s unless it is kept."""
        ...

    def keep(self, name: str, holder: str) -> None:
        """Have it last until it is given back, as long as this process lives."""
        ...

    def give_back(self, name: str, holder: str) -> None:
        """End it soon, if it still is this holder's."""
        ...


class TurnPermits(Permits, Protocol):
    """The same for what is to be free when somebody hears of its end."""

    async def end(self, name: str, holder: str) -> None:
        """End it now, if it still is this holder's; where nobody can be told it ends by itself."""
        ...


class Homes(Protocol):
    """Which credential conversations belong to, by the credential's fingerprint."""

    async def find(self, conversation: bytes) -> str | None:
        """The fingerprint of the credential that answered last; None where nobody knows."""
        ...

    def put(self, conversation: bytes, fingerprint: str) -> None:
        """Tell the others soon who has answered."""
        ...


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is to be counted against, by all processes together.

    Attributes:
        nonce: names the request.
        client: the name of its client key.
        requests: names and numbers of the limits of requests a minute.
        tokens: names and numbers of the limits of tokens a minute.
        asked_tokens: how many tokens it will probably take.
        concurrency: requests at the same time; None where that is not limited.
        budget_micro_usd: what may be spent in the period; None where that is not limited.
        period: names the period, with its beginning.
        reserved_micro_usd: what it will probably cost.
    """

    nonce: str
    client: str
    requests: tuple[tuple[str, int], ...]
    tokens: tuple[tuple[str, int], ...]
    asked_tokens: int
    concurrency: int | None
    budget_micro_usd: int | None
    period: str
    reserved_micro_usd: int

    @property
    def held(self) -> bool:
        """Whether something of it is held until it ends."""
        return self.concurrency is not None or self.budget_micro_usd is not None


class Refusal(StrEnum):
    """Which limit is in the way of a request, if any."""

    NONE = "none"
    CONCURRENCY = "concurrency"
    RESERVED = "reserved"
    BUDGET = "budget"
    TOO_LARGE = "too_large"
    TOKENS = "tokens"
    REQUESTS = "requests"


class WindowCount(msgspec.Struct, frozen=True, array_like=True):
    """How many requests there were in the last minute, and how many seconds ago the oldest of them was."""

    count: int
    oldest_s: float


class BucketCount(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of the present minute and of the one before it."""

    current: int
    previous: int

    def used(self, fraction: float) -> float:
        """Those of the last minute, not below zero, where this part of the present one has passed."""
        return max(self.current + self.previous * (1 - fraction), 0)


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """What came of a request's reservation; with a refusal nothing was reserved.

    Attributes:
        refusal: what is in its way.
        position: of the limit that is, among those of its sort, from 0.
        requests: how the limits of requests stand, in the order asked.
        tokens: how the limits of tokens stand, in the order asked.
        bucket: the number of the present minute.
        fraction: which part of it has passed, 0 to 1.
        left_micro_usd: what is left of the budget; 0 where there is none.
    """

    refusal: Refusal
    position: int
    requests: tuple[WindowCount, ...]
    tokens: tuple[BucketCount, ...]
    bucket: int
    fraction: float
    left_micro_usd: int


class SharedCounters(Protocol):
    """What all processes together have let in."""

    @property
    def share(self) -> int:
        """By how many processes a limit is to be divided while nobody can tell what the others let in."""
        ...

    def take(self, counted: Counted) -> "asyncio.Future[Taken]":
        """Begin to reserve for a request from all limits, or from none.

        Raises StoreError, and has it raised by what is returned. That may be cancelled: what is reserved all the same
        is given back.
        """
        ...

    def settle(self, counted: Counted, bucket: int, more_tokens: int) -> None:
        """A request has ended: it took so many more tokens than were reserved, or fewer."""
        ...

    def spent(self, client: str, period: str, micro_usd: int) -> None:
        """What this process's database knows a client to have spent in a period."""
        ...
