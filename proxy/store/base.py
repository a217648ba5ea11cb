"""What a store offers, whatever it is made of."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.store.access import AccessStore


class StoreError(Exception):
    """Something could not be kept or read: full, read-only, locked, damaged, too slow, or not private.

    The text names the path and what to do, never what the file holds. Nothing is acknowledged by it; whether a
    write that ran out of time was carried out after all is not known.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRow:
    """The health of a credential, or of a credential for one limit class or one model, as it is kept.

    Attributes:
        fingerprint: of the credential, under which health follows the key and not the alias.
        limit_class: the limit class, or empty for the credential as a whole.
        model: the model it is about, or empty.
        state: one of the health words.
        reason: why, one of the reason words; empty if there is none.
        cause: the kind of failure behind the reason; empty if there is none.
        since_unix_ms: when it began.
        until_unix_ms: when it ends; None if nobody knows.
        rung: how many steps up its ladder it is.
    """

    fingerprint: str
    limit_class: str = ""
    model: str = ""
    state: str
    reason: str = ""
    cause: str = ""
    since_unix_ms: int
    until_unix_ms: int | None = None
    rung: int = 0


class Store(Protocol):
    """What outlives a restart. Every call ends within 2 seconds, if need be with `StoreError`."""

    @property
    def access(self) -> AccessStore:
        """What is kept about those who may use the server."""
        ...

    async def save_health(self, rows: Sequence[HealthRow]) -> None:
        """Keep all of these rows or none, each in place of an earlier one. When it returns they are on disk."""
        ...

    async def load_health(self) -> tuple[HealthRow, ...]:
        """All rows, ordered by fingerprint, limit class and model."""
        ...

    async def forget_health(self, fingerprints: Collection[str]) -> None:
        """Drop every row of these credentials."""
        ...

    async def close(self) -> None:
        """Give everything back. No other call may follow; a second one does nothing."""
        ...
