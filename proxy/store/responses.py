"""The table of stored responses."""

import sqlite3
from collections.abc import Iterable
from typing import Final, Protocol

from proxy.store.base import ResponseRow

_SAVE: Final = """
INSERT INTO responses
    (id, owner, previous_id, conversation, created_unix_ms, expires_unix_ms, size_bytes, input, response)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LOAD: Final = """
SELECT id, owner, previous_id, conversation, created_unix_ms, expires_unix_ms, input, response
FROM responses WHERE id = ? AND owner = ? AND expires_unix_ms > ?
"""
# sizes are added up on the way, so that no more is read than may be used; a link that leads back ends the walk
_CHAIN: Final = """
WITH RECURSIVE chain (depth, id, previous_id, sum_bytes) AS (
    SELECT 0, id, previous_id, size_bytes FROM responses WHERE id = ?1 AND owner = ?2 AND expires_unix_ms > ?3
    UNION ALL
    SELECT depth + 1, earlier.id, earlier.previous_id, sum_bytes + earlier.size_bytes
    FROM chain JOIN responses AS earlier ON earlier.id = chain.previous_id
    WHERE earlier.owner = ?2 AND earlier.expires_unix_ms > ?3 AND sum_bytes <= ?4 AND depth < ?5
)
"""
_LOAD_CHAIN: Final = f"""{_CHAIN}
SELECT found.id, owner, found.previous_id, conversation, created_unix_ms, expires_unix_ms, input, response
FROM chain JOIN responses AS found USING (id) WHERE sum_bytes <= ?4 ORDER BY depth DESC
"""  # noqa: S608 - made of constants
_PROLONG: Final = f"""{_CHAIN}
UPDATE responses SET expires_unix_ms = max(expires_unix_ms, ?6) WHERE id IN (SELECT id FROM chain)
"""  # noqa: S608 - made of constants
_DELETE: Final = "DELETE FROM responses WHERE id = ? AND owner = ? AND expires_unix_ms > ? RETURNING id"
_FORGET: Final = """
DELETE FROM responses WHERE rowid IN (SELECT rowid FROM responses WHERE expires_unix_ms <= ? LIMIT ?) RETURNING id
"""
_CHAIN_MAX: Final = 10_000
_FORGOTTEN_MAX: Final = 200


class Runs(Protocol):
    """What the table needs of its store."""

    async def _run(self, statement: str, *parameters: str | int | None) -> Iterable[sqlite3.Row]: ...


class ResponseTable:
    """See `Responses`. The part of the store that keeps them."""

    async def save_response(self: Runs, row: ResponseRow) -> None:
        """See `Responses.save_response`."""
        await self._run(
            _SAVE,
            row.id,
            row.owner,
            row.previous_id,
            row.conversation,
            row.created_unix_ms,
            row.expires_unix_ms,
            len(row.input.encode()) + len(row.response.encode()),
            row.input,
            row.response,
        )

    async def load_response(self: Runs, response_id: str, owner: str, now_unix_ms: int) -> ResponseRow | None:
        """See `Responses.load_response`."""
        rows = [_row(found) for found in await self._run(_LOAD, response_id, owner, now_unix_ms)]
        return rows[0] if rows else None

    async def load_chain(
        self: Runs, response_id: str, owner: str, now_unix_ms: int, most_bytes: int
    ) -> tuple[ResponseRow, ...]:
        """See `Responses.load_chain`."""
        found = await self._run(_LOAD_CHAIN, response_id, owner, now_unix_ms, most_bytes, _CHAIN_MAX)
        return tuple(map(_row, found))

    async def prolong_chain(
        self: Runs, response_id: str, owner: str, now_unix_ms: int, until_unix_ms: int
    ) -> None:
        """See `Responses.prolong_chain`."""
        limits = (2**62, _CHAIN_MAX)
        await self._run(_PROLONG, response_id, owner, now_unix_ms, *limits, until_unix_ms)

    async def delete_response(self: Runs, response_id: str, owner: str, now_unix_ms: int) -> bool:
        """See `Responses.delete_response`."""
        return bool(list(await self._run(_DELETE, response_id, owner, now_unix_ms)))

    async def forget_responses(self: Runs, now_unix_ms: int) -> bool:
        """See `Responses.forget_responses`."""
        return len(list(await self._run(_FORGET, now_unix_ms, _FORGOTTEN_MAX))) == _FORGOTTEN_MAX


def _row(found: sqlite3.Row) -> ResponseRow:
    return ResponseRow(
        id=found[0],
        owner=found[1],
        previous_id=found[2],
        conversation=found[3],
        created_unix_ms=found[4],
        expires_unix_ms=found[5],
        input=found[6],
        response=found[7],
    )
