"""What outlives a restart."""

from proxy.store.base import HealthRow, ResponseRow, Responses, Storage, Store, StoreError
from proxy.store.sqlite import SqliteStore

__all__ = ["HealthRow", "ResponseRow", "Responses", "SqliteStore", "Storage", "Store", "StoreError"]
