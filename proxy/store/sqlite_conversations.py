"""Conversations in SQLite: one statement a call."""

from collections.abc import Iterable
from sqlite3 import Row
from typing import Final

from proxy.store.conversations import ConversationLine, ConversationRow, ConversationVersion
from proxy.store.sqlite_access import Run

_FORGOTTEN_AT_ONCE: Final = 200
_COLUMNS: Final = (
    "owner, id, dialect, model, project_path, metadata, system, messages, message_count, created_unix_ms, "
    "used_unix_ms"
)
_SAVE: Final = f"""
INSERT INTO conversations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (owner, id) DO UPDATE SET
    dialect = excluded.dialect, system = excluded.system, messages = excluded.messages,
    message_count = excluded.message_count, used_unix_ms = excluded.used_unix_ms
"""  # noqa: S608 - made of constants
_FIND: Final = f"""
SELECT {_COLUMNS} FROM conversations WHERE owner = ? AND id = ? AND used_unix_ms > ?
"""  # noqa: S608 - made of constants
_LINES: Final = """
SELECT id, metadata, message_count, created_unix_ms, used_unix_ms FROM conversations
WHERE owner = ? AND used_unix_ms > ?
"""
_COUNT: Final = "SELECT count(*) FROM conversations WHERE (?1 IS NULL OR owner = ?1) AND used_unix_ms > ?2"
_DELETE: Final = "DELETE FROM conversations WHERE owner = ? AND id = ? RETURNING id"
_FORGET: Final = """
DELETE FROM conversations WHERE rowid IN
    (SELECT rowid FROM conversations WHERE used_unix_ms <= ? LIMIT ?) RETURNING id
"""
_CROP: Final = """
DELETE FROM conversations WHERE rowid IN
    (SELECT rowid FROM conversations WHERE owner = ? ORDER BY used_unix_ms DESC LIMIT -1 OFFSET ?)
"""
_VERSIONS: Final = """
SELECT owner, id, message_count, used_unix_ms FROM conversations
WHERE used_unix_ms > ? ORDER BY used_unix_ms DESC LIMIT ?
"""
_DROP: Final = "DELETE FROM conversations WHERE owner = ? AND id = ? AND message_count <= ?"


class SqliteConversations:
    """See `OwnConversations`."""

    def __init__(self, run: Run) -> None:
        """`run` carries out one statement with its values and gives its rows; raises StoreError."""
        self._run = run

    async def save(self, row: ConversationRow) -> None:
        """See `ConversationStore.save`."""
        await self._run(
            _SAVE,
            row.owner,
            row.id,
            row.dialect,
            row.model,
            row.project_path,
            row.metadata,
            row.system,
            row.messages,
            row.message_count,
            row.created_unix_ms,
            row.used_unix_ms,
        )

    async def find(self, owner: str, id: str, used_after_unix_ms: int) -> ConversationRow | None:  # noqa: A002 - the wire's own word
        """See `ConversationStore.find`."""
        return next(map(_row, await self._run(_FIND, owner, id, used_after_unix_ms)), None)

    async def lines(self, owner: str, used_after_unix_ms: int) -> tuple[ConversationLine, ...]:
        """See `ConversationStore.lines`."""
        return tuple(
            ConversationLine(
                id=row[0],
                metadata=row[1],
                message_count=row[2],
                created_unix_ms=row[3],
                used_unix_ms=row[4],
            )
            for row in await self._run(_LINES, owner, used_after_unix_ms)
        )

    async def count(self, owner: str | None, used_after_unix_ms: int) -> int:
        """See `ConversationStore.count`."""
        (row,) = await self._run(_COUNT, owner, used_after_unix_ms)
        return int(row[0])

    async def delete(self, owner: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """See `ConversationStore.delete`."""
        return _any(await self._run(_DELETE, owner, id))

    async def forget(self, used_before_unix_ms: int) -> bool:
        """See `ConversationStore.forget`."""
        gone = await self._run(_FORGET, used_before_unix_ms, _FORGOTTEN_AT_ONCE)
        return len(tuple(gone)) == _FORGOTTEN_AT_ONCE

    async def crop(self, owner: str, most: int) -> None:
        """See `ConversationStore.crop`."""
        await self._run(_CROP, owner, most)

    async def versions(self, used_after_unix_ms: int, most: int) -> tuple[ConversationVersion, ...]:
        """See `OwnConversations.versions`."""
        found = await self._run(_VERSIONS, used_after_unix_ms, most)
        return tuple(ConversationVersion(row[0], row[1], row[2], row[3]) for row in found)

    async def drop(self, version: ConversationVersion) -> None:
        """See `OwnConversations.drop`."""
        await self._run(_DROP, version.owner, version.id, version.message_count)


def _row(found: Row) -> ConversationRow:
    return ConversationRow(
        owner=found[0],
        id=found[1],
        dialect=found[2],
        model=found[3],
        project_path=found[4],
        metadata=found[5],
        system=found[6],
        messages=found[7],
        message_count=found[8],
        created_unix_ms=found[9],
        used_unix_ms=found[10],
    )


def _any(rows: Iterable[Row]) -> bool:
    return bool(tuple(rows))
