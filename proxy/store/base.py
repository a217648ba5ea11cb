"""What a store offers, whatever it is made of."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.model.tally import Dimension, Tally, TallyRow
from proxy.store.access import AccessStore
from proxy.store.conversations import OwnConversations, OwnProjects


class StoreError(Exception):
    """Something could not be kept or read: full, read-only, locked, damaged, too slow, or not private.

    The text names the path and what to do, never what the file holds. Nothing is acknowledged by it; whether a
    write that ran out of time was carried out after all is not known.
    """


class NotShared(StoreError):
    """Other processes cannot be told or asked now: what was meant for them is not known to have happened."""


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
        way_out: whether it is about the credential's way out, which is told to others and not kept.
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
    way_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRow:
    """A file or a batch: where it lies, and whose it is.

    Attributes:
        client: a digest of the client key it belongs to.
        kind: ``files`` or ``batches``.
        id: the upstream's own.
        fingerprint: of the credential that holds it.
        alias: of that credential, when it was made.
        media_type: of a file's content; empty where it is not known.
        created_unix_ms: when it was made.
        usage_counted: whether what it used, where it is a batch, is among the sums of usage; not saved with the row.
    """

    client: str
    kind: str
    id: str
    fingerprint: str
    alias: str
    media_type: str = ""
    created_unix_ms: int
    usage_counted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which part of a list is wanted.

    Attributes:
        most: how many rows.
        after: id of the object that comes just before them in the list; None for its beginning.
        before: id of the object that comes just after them; None for no such bound. Not both.
    """

    most: int
    after: str | None = None
    before: str | None = None


class ObjectStore(Protocol):
    """Who owns which object of an upstream. Every call ends within 2 seconds, if need be with `StoreError`."""

    async def save(self, row: ObjectRow) -> None:
        """Keep a row, in place of an earlier one. When it returns it is on disk."""
        ...

    async def find(self, client: str, kind: str, ids: Collection[str]) -> tuple[ObjectRow, ...]:
        """Those of a client's objects that have one of these ids, in no order."""
        ...

    async def list(self, client: str, kind: str, cut: Cut) -> tuple[ObjectRow, ...] | None:
        """A client's objects, newest first; None where the one that bounds them was never its own.

        An object that was deleted less than a week ago is in no list, and bounds one all the same.
        """
        ...

    async def forget(self, client: str, kind: str, id: str, now_unix_ms: int) -> None:  # noqa: A002 - the wire's own word
        """The object is no more."""
        ...

    async def count_usage(self, client: str, kind: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """Note that what an object used is counted now. Gives whether it was not before: only one caller is told so."""
        ...

    async def any_files(self) -> bool:
        """Whether any client has a file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedDeletion:
    """A conversation at claude.ai that has to be deleted there.

    Attributes:
        conversation: its uuid, ours.
        fingerprint: of the credential it was made with.
        organization: uuid of the organization it was made in.
        since_unix_ms: when it was about to be made.
        attempts: how often its deletion has failed.
    """

    conversation: str
    fingerprint: str
    organization: str
    since_unix_ms: int
    attempts: int = 0


class DeletionLedger(Protocol):
    """Which deletions are owed. Every call ends within 2 seconds, if need be with `StoreError`."""

    async def save_deletion(self, owed: OwedDeletion) -> None:
        """Keep one, in place of an earlier one of its conversation. When it returns it is on disk."""
        ...

    async def load_deletions(self) -> tuple[OwedDeletion, ...]:
        """All of them, oldest first."""
        ...

    async def forget_deletion(self, conversation: str) -> None:
        """Drop one; nothing happens if there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldConversation:
    """A conversation that stays at claude.ai and can be gone on with.

    Attributes:
        conversation: its uuid, ours.
        fingerprint: of the credential it was made with.
        organization: uuid of the organization it was made in.
        history: digest of what was said in it.
        parent: uuid of its last message.
        used_unix_ms: when that was said.
    """

    conversation: str
    fingerprint: str
    organization: str
    history: str
    parent: str
    used_unix_ms: int


class HeldLedger(Protocol):
    """Which conversations can be gone on with. Every call ends within 2 seconds, if need be with `StoreError`."""

    async def save_held(self, held: HeldConversation) -> None:
        """Keep one, in place of an earlier state of it."""
        ...

    async def load_held(self) -> tuple[HeldConversation, ...]:
        """All of them, those used longest ago first."""
        ...

    async def forget_held(self, conversation: str) -> None:
        """Drop one; nothing happens if there is none."""
        ...


class HealthLedger(Protocol):
    """The health of credentials. Every call ends within 2 seconds, if need be with `StoreError`."""

    async def save_health(self, rows: Sequence[HealthRow]) -> None:
        """Keep all of these rows or none, each in place of an earlier one. When it returns they are on disk."""
        ...

    async def load_health(self) -> tuple[HealthRow, ...]:
        """All rows, ordered by fingerprint, limit class and model."""
        ...

    async def forget_health(self, fingerprints: Collection[str]) -> None:
        """Drop every row of these credentials."""
        ...


class Store(DeletionLedger, HeldLedger, HealthLedger, Protocol):
    """What outlives a restart. Every call ends within 2 seconds, if need be with `StoreError`."""

    @property
    def access(self) -> AccessStore:
        """What is kept about those who may use the server."""
        ...

    @property
    def objects(self) -> ObjectStore:
        """Who owns which object."""
        ...

    @property
    def conversations(self) -> OwnConversations:
        """Histories of conversations."""
        ...

    @property
    def projects(self) -> OwnProjects:
        """Projects and sessions."""
        ...

    async def save_usage(self, rows: Sequence[TallyRow]) -> None:
        """Keep all of these sums or none, each in place of what was kept under its key and writer."""
        ...

    async def load_usage(
        self, by: Dimension, from_unix_ms: int, to_unix_ms: int
    ) -> tuple[tuple[str | int, Tally], ...]:
        """The sums of the hours that begin from the one time on and before the other, apart for one dimension.

        Each with its name, or the beginning of its hour in Unix milliseconds, ordered by that.
        """
        ...

    async def forget_usage(self, before_unix_ms: int) -> None:
        """Drop the sums of all hours that began before."""
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
