"""What is kept about those who may use the server: their keys, what they spent, and what was ordered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A client key.

    Attributes:
        name: of the client; never used again, because what a client owns hangs on it.
        digest: SHA-256 of the key, 64 hex characters; the key itself is kept nowhere.
        rules: what it may, as JSON.
        created_unix_ms: when it was made.
        revoked_unix_ms: when it was revoked; None while it is good.
    """

    name: str
    digest: str
    rules: str
    created_unix_ms: int
    revoked_unix_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingRow:
    """What a client has spent in one period.

    Attributes:
        client: its name.
        period: the sort of period.
        began_unix_ms: when the period began.
        micro_usd: millionths of a US dollar.
    """

    client: str
    period: str
    began_unix_ms: int
    micro_usd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One order of an administrator.

    Attributes:
        at_unix_ms: when it was given.
        actor: who gave it: ``admin key`` or ``command line``.
        action: what was ordered, such as ``keys.revoke``.
        target: the alias or name it was about; empty where it was about everything.
        remote: the address it came from; empty for the command line.
        request_id: of the request; empty for the command line.
        id: its place in the order of all; 0 before it was written.
    """

    at_unix_ms: int
    actor: str
    action: str
    target: str
    remote: str = ""
    request_id: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow:
    """An order that may be sent twice, and what it was answered with.

    Attributes:
        owner: whose it is: the name of a client, or of the administrator.
        key: digest of the key the caller gave it, 64 hex characters.
        request: digest of what was ordered.
        nonce: random; tells who claimed it first.
        at_unix_ms: when.
        status: HTTP status of the answer; None while it is being carried out.
        body: the answer.
    """

    owner: str
    key: str
    request: str
    nonce: str
    at_unix_ms: int
    status: int | None = None
    body: str = ""


class AccessStore(Protocol):
    """What is kept about those who may use the server.

    Every call ends within 2 seconds, if need be with `StoreError`.
    """

    async def add_key(self, row: KeyRow) -> bool:
        """Keep a new client key. False if its name or its digest was ever used."""
        ...

    async def load_keys(self) -> tuple[KeyRow, ...]:
        """All client keys, revoked ones included, ordered by name."""
        ...

    async def revoke_key(self, name: str, at_unix_ms: int) -> bool:
        """Revoke a key. False if there is none of this name that is good."""
        ...

    async def foreign_writes(self) -> int:
        """A number that changes when another process has written."""
        ...

    async def add_spending(self, row: SpendingRow) -> int | None:
        """Add to what a client spent in this period, or begin a new one. Returns the sum; None in an earlier period."""
        ...

    async def load_spending(self) -> tuple[SpendingRow, ...]:
        """What each client spent in the last period it spent anything."""
        ...

    async def add_audit(self, row: AuditRow) -> None:
        """Keep an order for ever. When it returns it is on disk."""
        ...

    async def load_audit(self, limit: int, before_id: int | None) -> Sequence[AuditRow]:
        """The last orders, newest first; with `before_id` only those given before that one."""
        ...

    async def claim(self, row: ClaimRow, *, forget_before_unix_ms: int) -> ClaimRow:
        """Claim an order, unless it was claimed before: then the earlier claim is returned, else this one."""
        ...

    async def answer_claim(self, row: ClaimRow) -> None:
        """Keep the answer of a claimed order."""
        ...

    async def drop_claim(self, row: ClaimRow) -> None:
        """Give a claim up: nothing was done."""
        ...
