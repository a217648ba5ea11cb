"""The tables of those who may use the server, in the same SQLite file. Each call is a single statement."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from proxy.store.access import AuditRow, ClaimRow, KeyRow, SpendingRow

Value = str | int | None
Run = Callable[..., Awaitable[Iterable[sqlite3.Row]]]

_ADD_KEY: Final = """
INSERT INTO client_keys (name, digest, rules, created_unix_ms) VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING RETURNING name
"""
_LOAD_KEYS: Final = (
    "SELECT name, digest, rules, created_unix_ms, revoked_unix_ms FROM client_keys ORDER BY name"
)
_REVOKE_KEY: Final = """
UPDATE client_keys SET revoked_unix_ms = ? WHERE name = ? AND revoked_unix_ms IS NULL RETURNING name
"""
_ADD_SPENDING: Final = """
INSERT INTO spending (client, period, began_unix_ms, micro_usd) VALUES (?, ?, ?, ?)
ON CONFLICT (client) DO UPDATE SET
    micro_usd = excluded.micro_usd
        + CASE WHEN began_unix_ms = excluded.began_unix_ms AND period = excluded.period THEN micro_usd ELSE 0 END,
    period = excluded.period, began_unix_ms = excluded.began_unix_ms
WHERE began_unix_ms <= excluded.began_unix_ms OR period <> excluded.period
RETURNING micro_usd
"""
_LOAD_SPENDING: Final = "SELECT client, period, began_unix_ms, micro_usd FROM spending ORDER BY client"
_ADD_AUDIT: Final = """
INSERT INTO audit (at_unix_ms, actor, action, target, remote, request_id) VALUES (?, ?, ?, ?, ?, ?)
"""
_LOAD_AUDIT: Final = """
SELECT id, at_unix_ms, actor, action, target, remote, request_id FROM audit
WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2
"""
_FORGET_CLAIMS: Final = "DELETE FROM idempotency WHERE at_unix_ms < ?"
# the update changes nothing; it is there so that the earlier row is returned
_CLAIM: Final = """
INSERT INTO idempotency (owner, key, request, nonce, at_unix_ms, body) VALUES (?, ?, ?, ?, ?, '')
ON CONFLICT (owner, key) DO UPDATE SET owner = owner
RETURNING owner, key, request, nonce, at_unix_ms, status, body
"""
_ANSWER_CLAIM: Final = """
UPDATE idempotency SET status = ?, body = ? WHERE owner = ? AND key = ? AND nonce = ?
"""
_DROP_CLAIM: Final = "DELETE FROM idempotency WHERE owner = ? AND key = ? AND nonce = ?"


class SqliteAccess:
    """See `AccessStore`."""

    def __init__(self, run: Run) -> None:
        """`run` carries out one statement with its values and gives its rows; raises StoreError."""
        self._run = run

    async def add_key(self, row: KeyRow) -> bool:
        """See `AccessStore.add_key`."""
        added = await self._run(_ADD_KEY, row.name, row.digest, row.rules, row.created_unix_ms)
        return bool(tuple(added))

    async def load_keys(self) -> tuple[KeyRow, ...]:
        """See `AccessStore.load_keys`."""
        return tuple(
            KeyRow(name=row[0], digest=row[1], rules=row[2], created_unix_ms=row[3], revoked_unix_ms=row[4])
            for row in await self._run(_LOAD_KEYS)
        )

    async def revoke_key(self, name: str, at_unix_ms: int) -> bool:
        """See `AccessStore.revoke_key`."""
        return bool(tuple(await self._run(_REVOKE_KEY, at_unix_ms, name)))

    async def foreign_writes(self) -> int:
        """See `AccessStore.foreign_writes`."""
        (row,) = await self._run("PRAGMA data_version")
        return int(row[0])

    async def add_spending(self, row: SpendingRow) -> int | None:
        """See `AccessStore.add_spending`."""
        found = await self._run(_ADD_SPENDING, row.client, row.period, row.began_unix_ms, row.micro_usd)
        return next((int(each[0]) for each in found), None)

    async def load_spending(self) -> tuple[SpendingRow, ...]:
        """See `AccessStore.load_spending`."""
        return tuple(
            SpendingRow(client=row[0], period=row[1], began_unix_ms=row[2], micro_usd=row[3])
            for row in await self._run(_LOAD_SPENDING)
        )

    async def add_audit(self, row: AuditRow) -> None:
        """See `AccessStore.add_audit`."""
        await self._run(
            _ADD_AUDIT, row.at_unix_ms, row.actor, row.action, row.target, row.remote, row.request_id
        )

    async def load_audit(self, limit: int, before_id: int | None) -> tuple[AuditRow, ...]:
        """See `AccessStore.load_audit`."""
        return tuple(
            AuditRow(
                id=row[0],
                at_unix_ms=row[1],
                actor=row[2],
                action=row[3],
                target=row[4],
                remote=row[5],
                request_id=row[6],
            )
            for row in await self._run(_LOAD_AUDIT, before_id, limit)
        )

    async def claim(self, row: ClaimRow, *, forget_before_unix_ms: int) -> ClaimRow:
        """See `AccessStore.claim`."""
        await self._run(_FORGET_CLAIMS, forget_before_unix_ms)
        (found,) = await self._run(_CLAIM, row.owner, row.key, row.request, row.nonce, row.at_unix_ms)
        return ClaimRow(
            owner=found[0],
            key=found[1],
            request=found[2],
            nonce=found[3],
            at_unix_ms=found[4],
            status=found[5],
            body=found[6],
        )

    async def answer_claim(self, row: ClaimRow) -> None:
        """See `AccessStore.answer_claim`."""
        await self._run(_ANSWER_CLAIM, row.status, row.body, row.owner, row.key, row.nonce)

    async def drop_claim(self, row: ClaimRow) -> None:
        """See `AccessStore.drop_claim`."""
        await self._run(_DROP_CLAIM, row.owner, row.key, row.nonce)
