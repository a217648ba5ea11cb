"""What outlives a restart."""

from proxy.store.base import (
    DeletionLedger,
    HealthRow,
    HeldConversation,
    HeldLedger,
    OwedDeletion,
    Store,
    StoreError,
)
from proxy.store.sqlite import SqliteStore

__all__ = [
    "DeletionLedger",
    "HealthRow",
    "HeldConversation",
    "HeldLedger",
    "OwedDeletion",
    "SqliteStore",
    "Store",
    "StoreError",
]
