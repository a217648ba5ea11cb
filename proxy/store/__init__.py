"""What outlives a restart."""

from proxy.store.base import (
    DeletionLedger,
    HealthRow,
    HeldConversation,
    HeldLedger,
    OwedDeletion,
    ResponseRow,
    Responses,
    Storage,
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
    "ResponseRow",
    "Responses",
    "SqliteStore",
    "Storage",
    "Store",
    "StoreError",
]
