"""A store of what need not outlive a request: it writes nothing down."""

from collections.abc import Collection, Sequence

from proxy.store.base import HealthRow, HeldConversation, OwedDeletion


class PassingStore:
    """Health, owed deletions and kept conversations of one request.

    Attributes:
        owed: the deletions that are owed, by conversation.
    """

    def __init__(self) -> None:
        self.owed: dict[str, OwedDeletion] = {}

    async def save_deletion(self, owed: OwedDeletion) -> None:
        """See `DeletionLedger.save_deletion`."""
        self.owed[owed.conversation] = owed

    async def load_deletions(self) -> tuple[OwedDeletion, ...]:
        """See `DeletionLedger.load_deletions`."""
        return tuple(self.owed.values())

    async def forget_deletion(self, conversation: str) -> None:
        """See `DeletionLedger.forget_deletion`."""
        self.owed.pop(conversation, None)

    async def save_held(self, held: HeldConversation) -> None:
        """Nothing is gone on with."""

    async def load_held(self) -> tuple[HeldConversation, ...]:
        """See `HeldLedger.load_held`."""
        return ()

    async def forget_held(self, conversation: str) -> None:
        """There is nothing to forget."""

    async def save_health(self, rows: Sequence[HealthRow]) -> None:
        """Whoever made the store looks at the pool itself."""

    async def load_health(self) -> tuple[HealthRow, ...]:
        """See `HealthLedger.load_health`."""
        return ()

    async def forget_health(self, fingerprints: Collection[str]) -> None:
        """There is nothing to forget."""
