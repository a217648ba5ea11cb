"""What outlives a restart."""

from proxy.store.base import (
    Cut,
    DeletionLedger,
    HealthRow,
    HeldConversation,
    HeldLedger,
    NotShared,
    ObjectRow,
    ObjectStore,
    OwedDeletion,
    ResponseRow,
    Responses,
    Storage,
    Store,
    StoreError,
)
from proxy.store.sqlite import SqliteStore

__all__ = [
    "Cut",
    "DeletionLedger",
    "HealthRow",
    "HeldConversation",
    "HeldLedger",
    "NotShared",
    "ObjectRow",
    "ObjectStore",
    "OwedDeletion",
    "ResponseRow",
    "Responses",
    "SqliteStore",
    "Storage",
    "Store",
    "StoreError",
]
