"""What outlives a restart."""

from proxy.store.base import HealthRow, Store, StoreError
from proxy.store.sqlite import SqliteStore

__all__ = ["HealthRow", "SqliteStore", "Store", "StoreError"]
