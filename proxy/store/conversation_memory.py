"""Conversations nobody has come back to: kept in memory alone, those used longest ago forgotten first."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from proxy.store.conversations import ConversationRow

MEMORY_MAX_BYTES: Final = 64 * 1024 * 1024
_OVERHEAD_BYTES: Final = 1000


class ConversationMemory:
    """Those of one process.

    Attributes:
        size_bytes: about what they take.
    """

    def __init__(self, max_bytes: int = MEMORY_MAX_BYTES) -> None:
        """`max_bytes` is what they may take together."""
        self._max_bytes = max_bytes
        self._rows: OrderedDict[tuple[str, str], ConversationRow] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ConversationRow]:
        """All of them, those used longest ago first; what changes meanwhile is not seen."""
        return iter(tuple(self._rows.values()))

    def find(self, owner: str, name: str, used_after_unix_ms: int) -> ConversationRow | None:
        """The conversation; None where there is none that was used after that time."""
        row = self._rows.get((owner, name))
        return row if row is not None and row.used_unix_ms > used_after_unix_ms else None

    def put(self, row: ConversationRow) -> None:
        """Keep it in place of an earlier state of it."""
        self.drop(row.owner, row.id)
        self._rows[row.owner, row.id] = row
        self.size_bytes += size_bytes(row)
        while self.size_bytes > self._max_bytes:
            oldest = next(iter(self._rows.values()))
            self.drop(oldest.owner, oldest.id)

    def drop(self, owner: str, name: str) -> bool:
        """Forget it. Returns whether it was there."""
        row = self._rows.pop((owner, name), None)
        if row is None:
            return False
        self.size_bytes -= size_bytes(row)
        return True

    def forget(self, used_before_unix_ms: int) -> None:
        """Forget all that were not used since."""
        for row in self:
            if row.used_unix_ms <= used_before_unix_ms:
                self.drop(row.owner, row.id)


def size_bytes(row: ConversationRow) -> int:
    """About what a conversation takes in memory."""
    # the text of a history is JSON, nearly all of it one byte a character
    return _OVERHEAD_BYTES + len(row.system) + len(row.messages) + len(row.metadata)
