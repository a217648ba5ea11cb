"""The tables of those who may use the server, in a database in memory."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from proxy.store.base import StoreError
from proxy.store.migrations import migrate, shipped_migrations
from proxy.store.sqlite_access import SqliteAccess, Value


class MemoryAccess(SqliteAccess):
    """The real statements, on a database that is gone with the test.

    Attributes:
        problem: raised by every call, if set.
        foreign: what `foreign_writes` tells, to be counted up by a test that writes as another process.
    """

    def __init__(self) -> None:
        super().__init__(self._carry_out)
        self.problem: StoreError | None = None
        self.foreign = 0
        self._one_at_a_time = threading.Lock()
        self._database: sqlite3.Connection | None = None

    async def foreign_writes(self) -> int:
        """See `AccessStore.foreign_writes`."""
        await self._carry_out("SELECT 1")
        return self.foreign

    async def _carry_out(self, statement: str, *values: Value) -> Iterable[sqlite3.Row]:
        if self.problem is not None:
            raise self.problem
        return await asyncio.to_thread(self._executed, statement, values)

    def _executed(self, statement: str, values: tuple[Value, ...]) -> list[sqlite3.Row]:
        with self._one_at_a_time:
            if self._database is None:
                self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                migrate(self._database, Path("memory"), shipped_migrations())
            return self._database.execute(statement, values).fetchall()
