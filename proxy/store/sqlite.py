"""The store in one SQLite file.

One connection lives in a thread of its own. Each call is a single statement in autocommit mode, so that it is
committed whole or not at all and a call that is given up leaves no open transaction behind.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

import aiosqlite
import msgspec

from proxy.model.tally import Dimension, Tally, TallyRow
from proxy.store import usage
from proxy.store.base import HealthRow, HeldConversation, OwedDeletion, StoreError
from proxy.store.files import check_private, ensure_private_dir, make_private
from proxy.store.migrations import migrate, shipped_migrations
from proxy.store.objects import SqliteObjects
from proxy.store.responses import ResponseTable
from proxy.store.sqlite_access import SqliteAccess, Value
from proxy.store.sqlite_conversations import SqliteConversations
from proxy.store.sqlite_projects import SqliteProjects
from proxy.tasks import spawn

CALL_TIMEOUT_S: Final = 2.0
_OPEN_TIMEOUT_S: Final = 30.0
_COMPANIONS: Final = ("-wal", "-shm", "-journal")

_SAVE: Final = """
INSERT INTO health
    (fingerprint, limit_class, model, state, reason, cause, since_unix_ms, until_unix_ms, rung)
SELECT value->>'fingerprint', value->>'limit_class', value->>'model', value->>'state', value->>'reason',
       value->>'cause', value->>'since_unix_ms', value->>'until_unix_ms', value->>'rung'
FROM json_each(?) WHERE true
ON CONFLICT (fingerprint, limit_class, model) DO UPDATE SET
    state = excluded.state, reason = excluded.reason, cause = excluded.cause,
    since_unix_ms = excluded.since_unix_ms, until_unix_ms = excluded.until_unix_ms, rung = excluded.rung
"""
_LOAD: Final = """
SELECT fingerprint, limit_class, model, state, reason, cause, since_unix_ms, until_unix_ms, rung
FROM health ORDER BY fingerprint, limit_class, model
"""
_FORGET: Final = "DELETE FROM health WHERE fingerprint IN (SELECT value FROM json_each(?))"
_SAVE_DELETION: Final = """
INSERT INTO owed_deletions (conversation, fingerprint, organization, since_unix_ms, attempts)
SELECT value->>'conversation', value->>'fingerprint', value->>'organization', value->>'since_unix_ms',
       value->>'attempts'
FROM json_each(?) WHERE true
ON CONFLICT (conversation) DO UPDATE SET attempts = excluded.attempts
"""
_LOAD_DELETIONS: Final = """
SELECT conversation, fingerprint, organization, since_unix_ms, attempts
FROM owed_deletions ORDER BY since_unix_ms, conversation
"""
_FORGET_DELETION: Final = "DELETE FROM owed_deletions WHERE conversation = ?"
_SAVE_HELD: Final = """
INSERT INTO held_conversations (conversation, fingerprint, organization, history, parent, used_unix_ms)
SELECT value->>'conversation', value->>'fingerprint', value->>'organization', value->>'history', value->>'parent',
       value->>'used_unix_ms'
FROM json_each(?) WHERE true
ON CONFLICT (conversation) DO UPDATE SET
    history = excluded.history, parent = excluded.parent, used_unix_ms = excluded.used_unix_ms
"""
_LOAD_HELD: Final = """
SELECT conversation, fingerprint, organization, history, parent, used_unix_ms
FROM held_conversations ORDER BY used_unix_ms, conversation
"""
_FORGET_HELD: Final = "DELETE FROM held_conversations WHERE conversation = ?"

_JOURNAL: Final = "PRAGMA journal_mode = WAL"
_JOURNAL_TRIES: Final = 40
_CONTENDED: Final = ("SQLITE_BUSY", "SQLITE_IOERR_DELETE_NOENT")
"""How SQLite says that another process does the same; the second, that it was quicker to remove the old journal."""

_JOURNAL_PAUSE_S: Final = 0.05
_REASONS: Final = (
    ("SQLITE_FULL", "the disk is full"),
    ("SQLITE_READONLY", "it cannot be written to"),
    ("SQLITE_CANTOPEN", "it cannot be opened"),
    ("SQLITE_BUSY", "another process has locked it"),
    ("SQLITE_LOCKED", "another process has locked it"),
    ("SQLITE_CORRUPT", "it is damaged"),
    ("SQLITE_NOTADB", "it is no SQLite database"),
    ("SQLITE_IOERR", "the disk reports an error"),
)


class SqliteStore(ResponseTable):
    """See `Storage`."""

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        """Open the database, made or brought up to date if need be.

        Args:
            path: its file, absolute. A missing folder is made, for our own user only.

        Raises:
            StoreError: a file is not private, the database is newer than the program, or it cannot be used.
        """
        # At DEBUG the library logs every statement with its values.
        logging.getLogger("aiosqlite").setLevel(logging.WARNING)
        opening = _Opening(path)
        pending = aiosqlite.Connection(opening.connect, iter_chunk_size=64)
        # A disk that hangs, or a store nobody closed, must not keep the program from ending. What was
        # acknowledged is on disk by then, and the rest may be lost at any time.
        pending._thread.daemon = True  # noqa: SLF001 - the library has no option for it
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT_S):
                connection = await pending
        except TimeoutError:
            raise StoreError(f"{path} could not be opened in {_OPEN_TIMEOUT_S:g} s.") from None
        if opening.failure is not None:
            await connection.close()
            raise opening.failure
        return cls(connection, path)

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._closed = False
        self.objects: Final = SqliteObjects(self._run)
        self.conversations: Final = SqliteConversations(self._run)
        self.projects: Final = SqliteProjects(self._run)

    @property
    def access(self) -> SqliteAccess:
        """See `Store.access`."""
        return SqliteAccess(self._run)

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path}{' closed' if self._closed else ''}>"

    async def save_health(self, rows: Sequence[HealthRow]) -> None:
        """See `Store.save_health`."""
        if rows:
            await self._run(_SAVE, msgspec.json.encode(rows).decode())

    async def load_health(self) -> tuple[HealthRow, ...]:
        """See `Store.load_health`."""
        return tuple(
            HealthRow(
                fingerprint=row[0],
                limit_class=row[1],
                model=row[2],
                state=row[3],
                reason=row[4],
                cause=row[5],
                since_unix_ms=row[6],
                until_unix_ms=row[7],
                rung=row[8],
            )
            for row in await self._run(_LOAD)
        )

    async def forget_health(self, fingerprints: Collection[str]) -> None:
        """See `Store.forget_health`."""
        if fingerprints:
            await self._run(_FORGET, msgspec.json.encode(tuple(fingerprints)).decode())

    async def save_usage(self, rows: Sequence[TallyRow]) -> None:
        """See `Store.save_usage`."""
        if rows:
            await self._run(usage.SAVE, usage.spelled(rows))

    async def load_usage(
        self, by: Dimension, from_unix_ms: int, to_unix_ms: int
    ) -> tuple[tuple[str | int, Tally], ...]:
        """See `Store.load_usage`."""
        found = await self._run(usage.LOAD[by], from_unix_ms, to_unix_ms)
        return tuple((row[0], Tally(*row[1:])) for row in found)

    async def forget_usage(self, before_unix_ms: int) -> None:
        """See `Store.forget_usage`."""
        await self._run(usage.FORGET, before_unix_ms)

    async def save_deletion(self, owed: OwedDeletion) -> None:
        """See `DeletionLedger.save_deletion`."""
        await self._run(_SAVE_DELETION, msgspec.json.encode((owed,)).decode())

    async def load_deletions(self) -> tuple[OwedDeletion, ...]:
        """See `DeletionLedger.load_deletions`."""
        return tuple(
            OwedDeletion(
                conversation=row[0],
                fingerprint=row[1],
                organization=row[2],
                since_unix_ms=row[3],
                attempts=row[4],
            )
            for row in await self._run(_LOAD_DELETIONS)
        )

    async def forget_deletion(self, conversation: str) -> None:
        """See `DeletionLedger.forget_deletion`."""
        await self._run(_FORGET_DELETION, conversation)

    async def save_held(self, held: HeldConversation) -> None:
        """See `HeldLedger.save_held`."""
        await self._run(_SAVE_HELD, msgspec.json.encode((held,)).decode())

    async def load_held(self) -> tuple[HeldConversation, ...]:
        """See `HeldLedger.load_held`."""
        return tuple(
            HeldConversation(
                conversation=row[0],
                fingerprint=row[1],
                organization=row[2],
                history=row[3],
                parent=row[4],
                used_unix_ms=row[5],
            )
            for row in await self._run(_LOAD_HELD)
        )

    async def forget_held(self, conversation: str) -> None:
        """See `HeldLedger.forget_held`."""
        await self._run(_FORGET_HELD, conversation)

    async def close(self) -> None:
        """See `Store.close`."""
        if self._closed:
            return
        self._closed = True
        # Closing waits for calls that were given up, so it is left to itself when the time is over.
        await asyncio.wait({spawn(self._connection.close(), name="close store")}, timeout=CALL_TIMEOUT_S)

    async def _run(self, statement: str, *parameters: Value) -> Iterable[sqlite3.Row]:
        if self._closed:
            raise StoreError(f"{self._path} has been closed.")
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await self._connection.execute_fetchall(statement, parameters)
        except TimeoutError:
            raise StoreError(f"{self._path} did not answer in {CALL_TIMEOUT_S:g} s.") from None
        except sqlite3.Error as error:
            raise _explained(error, self._path) from None


class _Opening:
    """Opens the database in the connection's thread.

    The library offers no way to wait for the thread of an opening that raised, and such a thread reports to a loop
    that may be gone by then. So nothing is raised there: an empty database is opened in the real one's place.

    Attributes:
        failure: why the database could not be opened; None if it could.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.failure: StoreError | None = None

    def connect(self) -> sqlite3.Connection:
        """The connection, or an empty one after a failure."""
        try:
            return _connect(self._path)
        except sqlite3.Error as error:
            self.failure = _explained(error, self._path)
        except StoreError as error:
            self.failure = error
        return sqlite3.connect(":memory:")


def _connect(database: Path) -> sqlite3.Connection:
    if not database.parent.exists():
        ensure_private_dir(database.parent)
    if not check_private(database):
        make_private(database)
    for companion in _COMPANIONS:
        check_private(database.with_name(database.name + companion))
    connection = sqlite3.connect(
        f"{database.as_uri()}?mode=rw", uri=True, timeout=CALL_TIMEOUT_S, isolation_level=None
    )
    try:
        _prepare(connection, database)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, database: Path) -> None:
    if _journal_mode(connection) != "wal":
        raise StoreError(f"{database} lies on a file system without shared memory; move it to a local one.")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA trusted_schema = OFF")
    migrate(connection, database, shipped_migrations())


def _journal_mode(connection: sqlite3.Connection) -> str:
    """Have the journal written ahead, and return the mode there is then.

    Where several processes do so in the same moment, SQLite refuses all but one at once instead of letting them wait.
    """
    for _ in range(_JOURNAL_TRIES):
        began_s = time.perf_counter()
        try:
            return str(connection.execute(_JOURNAL).fetchone()[0])
        except sqlite3.OperationalError as error:
            waited = time.perf_counter() - began_s > CALL_TIMEOUT_S / 2
            if waited or not error.sqlite_errorname.startswith(_CONTENDED):
                raise
        time.sleep(_JOURNAL_PAUSE_S)
    return str(connection.execute(_JOURNAL).fetchone()[0])


def _explained(error: sqlite3.Error, path: Path) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    reason = next((reason for prefix, reason in _REASONS if name.startswith(prefix)), "it cannot be used")
    return StoreError(f"{path}: {reason}.")
