"""What outlives a restart."""

from proxy.store.base import Cut, HealthRow, ObjectRow, ObjectStore, Store, StoreError
from proxy.store.sqlite import SqliteStore

__all__ = ["Cut", "HealthRow", "ObjectRow", "ObjectStore", "SqliteStore", "Store", "StoreError"]
