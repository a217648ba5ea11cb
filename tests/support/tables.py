"""The tables of a real database, in memory, for tests that need no file."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proxy.store.base import StoreError
from proxy.store.migrations import migrate, shipped_migrations
from proxy.store.sqlite_access import Value
from proxy.store.sqlite_conversations import SqliteConversations
from proxy.store.sqlite_projects import SqliteProjects


@dataclass(slots=True)
class MemoryTables:
    """A database that can be told to fail.

    Attributes:
        problem: raised by every call, if set.
        ran: the statements that were run.
    """

    problem: StoreError | None = None
    ran: list[str] = field(default_factory=list)
    _connection: sqlite3.Connection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def conversations(self) -> SqliteConversations:
        """See `Store.conversations`."""
        return SqliteConversations(self.run)

    @property
    def projects(self) -> SqliteProjects:
        """See `Store.projects`."""
        return SqliteProjects(self.run)

    async def run(self, statement: str, *values: Value) -> Iterable[sqlite3.Row]:
        """Carry out one statement."""
        if self.problem is not None:
            raise self.problem
        self.ran.append(statement)
        return await asyncio.to_thread(self._execute, statement, values)

    def _execute(self, statement: str, values: Sequence[Value]) -> list[sqlite3.Row]:
        with self._lock:
            if self._connection is None:
                self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                migrate(self._connection, Path("memory"), shipped_migrations())
            return self._connection.execute(statement, values).fetchall()


@dataclass(slots=True)
class HasTables:
    """A part of a store: its conversations, projects and sessions.

    Attributes:
        tables: where they are.
    """

    tables: MemoryTables = field(default_factory=MemoryTables)

    @property
    def conversations(self) -> SqliteConversations:
        """See `Store.conversations`."""
        return self.tables.conversations

    @property
    def projects(self) -> SqliteProjects:
        """See `Store.projects`."""
        return self.tables.projects
