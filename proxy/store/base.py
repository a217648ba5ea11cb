"""What a store offers, whatever it is made of."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRow:
    """A response as it is kept.

    Attributes:
        id: its id.
        owner: the name of the client key it was made for; nobody else ever gets it.
        previous_id: the response it goes on from; None at the beginning of a conversation.
        conversation: what ties the turns of its conversation together.
        created_unix_ms: when it was made.
        expires_unix_ms: when it is forgotten.
        input: the items that were new with it, a JSON array.
        response: the response itself, a JSON object.
    """

    id: str
    owner: str
    previous_id: str | None = None
    conversation: str = ""
    created_unix_ms: int
    expires_unix_ms: int
    input: str
    response: str


class Responses(Protocol):
    """Where responses are kept. Every call ends within 2 seconds, if need be with `StoreError`.

    What has expired by `now_unix_ms`, or is another owner's, is as if it were not there.
    """

    async def save_response(self, row: ResponseRow) -> None:
        """Keep it; when this returns it is on disk. Its id must be new."""
        ...

    async def load_response(self, response_id: str, owner: str, now_unix_ms: int) -> ResponseRow | None:
        """The response; None where there is none."""
        ...

    async def load_chain(
        self, response_id: str, owner: str, now_unix_ms: int, most_bytes: int
    ) -> tuple[ResponseRow, ...]:
        """The response and all it goes on from, the earliest first.

        The earliest one has a `previous_id` where a link is missing, or where the rest would not fit into `most_bytes`.
        """
        ...

    async def prolong_chain(self, response_id: str, owner: str, now_unix_ms: int, until_unix_ms: int) -> None:
        """Keep the response, and all it goes on from, until then at least."""
        ...

    async def delete_response(self, response_id: str, owner: str, now_unix_ms: int) -> bool:
        """Forget it at once. Returns whether it was there."""
        ...

    async def forget_responses(self, now_unix_ms: int) -> bool:
        """Delete some of those whose time is over. Returns whether there may be more."""
        ...


class Storage(Store, Responses, Protocol):
    """All of it."""
