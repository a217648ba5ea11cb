"""Who owns which object of an upstream, in SQLite: one statement a call."""

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final

import msgspec

from proxy.store.base import Cut, ObjectRow

# A list may be walked through while what it shows is deleted, so bounds outlive their objects for a while.
_BOUND_KEPT_MS: Final = 7 * 24 * 3600 * 1000

_SAVE: Final = """
INSERT INTO objects (client, kind, id, fingerprint, alias, media_type, created_unix_ms)
VALUES (?, ?, ?, ?, ?, ?, CAST(? AS INTEGER))
ON CONFLICT (client, kind, id) DO UPDATE SET
    fingerprint = excluded.fingerprint, alias = excluded.alias, media_type = excluded.media_type,
    created_unix_ms = excluded.created_unix_ms, deleted_unix_ms = NULL
"""
_FIND: Final = """
SELECT client, kind, id, fingerprint, alias, media_type, created_unix_ms, usage_counted FROM objects
WHERE client = ? AND kind = ? AND id IN (SELECT value FROM json_each(?)) AND deleted_unix_ms IS NULL
"""
_FIRST: Final = """
SELECT client, kind, id, fingerprint, alias, media_type, created_unix_ms, usage_counted FROM objects
WHERE client = ? AND kind = ? AND deleted_unix_ms IS NULL
ORDER BY created_unix_ms DESC, id DESC LIMIT CAST(? AS INTEGER)
"""
_AFTER: Final = """
SELECT client, kind, id, fingerprint, alias, media_type, created_unix_ms, usage_counted FROM objects
WHERE client = ?1 AND kind = ?2 AND deleted_unix_ms IS NULL AND (created_unix_ms, id) <
    (SELECT created_unix_ms, id FROM objects WHERE client = ?1 AND kind = ?2 AND id = ?3)
ORDER BY created_unix_ms DESC, id DESC LIMIT CAST(?4 AS INTEGER)
"""
_BEFORE: Final = """
SELECT client, kind, id, fingerprint, alias, media_type, created_unix_ms, usage_counted FROM objects
WHERE client = ?1 AND kind = ?2 AND deleted_unix_ms IS NULL AND (created_unix_ms, id) >
    (SELECT created_unix_ms, id FROM objects WHERE client = ?1 AND kind = ?2 AND id = ?3)
ORDER BY created_unix_ms, id LIMIT CAST(?4 AS INTEGER)
"""
_BOUND: Final = "SELECT 1 FROM objects WHERE client = ? AND kind = ? AND id = ?"
_FORGET: Final = """
UPDATE objects SET deleted_unix_ms = CAST(? AS INTEGER) WHERE client = ? AND kind = ? AND id = ?
"""
_COUNT: Final = """
UPDATE objects SET usage_counted = 1 WHERE client = ? AND kind = ? AND id = ? AND usage_counted = 0 RETURNING 1
"""
_CLEAR: Final = "DELETE FROM objects WHERE deleted_unix_ms < CAST(? AS INTEGER)"
_ANY_FILES: Final = "SELECT 1 FROM objects WHERE kind = 'files' AND deleted_unix_ms IS NULL LIMIT 1"

Run = Callable[..., Awaitable[Iterable[sqlite3.Row]]]


class SqliteObjects:
    """See `ObjectStore`."""

    def __init__(self, run: Run) -> None:
        """`run` carries out a statement with its parameters, all of them text."""
        self._run = run

    async def save(self, row: ObjectRow) -> None:
        """See `ObjectStore.save`."""
        await self._run(
            _SAVE,
            row.client,
            row.kind,
            row.id,
            row.fingerprint,
            row.alias,
            row.media_type,
            str(row.created_unix_ms),
        )

    async def find(self, client: str, kind: str, ids: Collection[str]) -> tuple[ObjectRow, ...]:
        """See `ObjectStore.find`."""
        return _rows(await self._run(_FIND, client, kind, msgspec.json.encode(tuple(ids)).decode()))

    async def list(self, client: str, kind: str, cut: Cut) -> tuple[ObjectRow, ...] | None:
        """See `ObjectStore.list`."""
        bound = cut.after if cut.after is not None else cut.before
        if bound is None:
            return _rows(await self._run(_FIRST, client, kind, str(cut.most)))
        statement = _AFTER if cut.after is not None else _BEFORE
        found = _rows(await self._run(statement, client, kind, bound, str(cut.most)))
        if not found and not tuple(await self._run(_BOUND, client, kind, bound)):
            return None
        return found if cut.after is not None else found[::-1]

    async def forget(self, client: str, kind: str, id: str, now_unix_ms: int) -> None:  # noqa: A002 - the wire's own word
        """See `ObjectStore.forget`."""
        await self._run(_FORGET, str(now_unix_ms), client, kind, id)
        await self._run(_CLEAR, str(now_unix_ms - _BOUND_KEPT_MS))

    async def count_usage(self, client: str, kind: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """See `ObjectStore.count_usage`."""
        return bool(tuple(await self._run(_COUNT, client, kind, id)))

    async def any_files(self) -> bool:
        """See `ObjectStore.any_files`."""
        return bool(tuple(await self._run(_ANY_FILES)))


def _rows(found: Iterable[sqlite3.Row]) -> tuple[ObjectRow, ...]:
    return tuple(
        ObjectRow(
            client=row[0],
            kind=row[1],
            id=row[2],
            fingerprint=row[3],
            alias=row[4],
            media_type=row[5],
            created_unix_ms=row[6],
            usage_counted=bool(row[7]),
        )
        for row in found
    )
