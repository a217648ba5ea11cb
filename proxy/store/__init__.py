"""What outlives a restart."""

from proxy.store.base import DeletionLedger, HealthRow, OwedDeletion, Store, StoreError
from proxy.store.sqlite import SqliteStore

__all__ = ["DeletionLedger", "HealthRow", "OwedDeletion", "SqliteStore", "Store", "StoreError"]
