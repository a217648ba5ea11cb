"""Client keys and repeated orders in Redis, before the tables of this process's own database.

A key is made only where all can be told. One that was revoked anywhere is revoked everywhere, however it came to be
known; the database keeps a copy of every key, so that a start without Redis knows them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from proxy.log import get_logger
from proxy.store.access import AccessStore, AuditRow, ClaimRow, KeyRow, SpendingRow
from proxy.store.base import NotShared, StoreError
from proxy.store.redis.health import CHANNEL
from proxy.store.redis.line import Word
from proxy.store.redis.link import PREFIX, RedisLink, Script

_log = get_logger("shared keys")
KEYS_KEY: Final = f"{PREFIX}keys"
NAMES_KEY: Final = f"{PREFIX}keys:names"
KEYS_COUNTER: Final = f"{PREFIX}keys:changes"
_ALL: Final = (KEYS_KEY, NAMES_KEY, KEYS_COUNTER, CHANNEL)
_CLAIM_KEPT_S: Final = 86_400

# A value is the Unix time of the revocation in ms, or 0, and the row.
_ADD: Final = Script("""
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 or redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], '0 ' .. ARGV[3])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
redis.call('INCR', KEYS[3])
redis.call('PUBLISH', KEYS[4], '')
return 1
""")
_REMOVE: Final = Script("""
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('INCR', KEYS[3])
redis.call('PUBLISH', KEYS[4], '')
""")
_REVOKE: Final = Script("""
local digest = redis.call('HGET', KEYS[2], ARGV[1])
local kept = digest and redis.call('HGET', KEYS[1], digest)
if not kept or string.sub(kept, 1, 2) ~= '0 ' then return 0 end
redis.call('HSET', KEYS[1], digest, ARGV[2] .. string.sub(kept, 2))
redis.call('INCR', KEYS[3])
redis.call('PUBLISH', KEYS[4], '')
return 1
""")
_PUT_BACK: Final = Script("""
local changed = false
for i = 1, #ARGV, 4 do
  local digest, name, revoked, row = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local kept = redis.call('HGET', KEYS[1], digest)
  if not kept or (string.sub(kept, 1, 2) == '0 ' and revoked ~= '0') then
    redis.call('HSET', KEYS[1], digest, revoked .. ' ' .. row)
    redis.call('HSETNX', KEYS[2], name, digest)
    changed = true
  end
end
if changed then
  redis.call('INCR', KEYS[3])
  redis.call('PUBLISH', KEYS[4], '')
end
return redis.call('HVALS', KEYS[1])
""")
_CLAIM: Final = Script("""
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return ARGV[1]
""")
_ANSWER: Final = Script("""
local kept = redis.call('GET', KEYS[1])
if kept and cjson.decode(kept).nonce ~= ARGV[1] then return end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
""")


class RedisAccess:
    """See `AccessStore`. Spending and the book of orders are each database's own."""

    def __init__(self, link: RedisLink, own: AccessStore) -> None:
        self._link = link
        self._own = own
        self._writes = 0
        self._missed = False
        self._missed_count = 0

    async def add_key(self, row: KeyRow) -> bool:
        """See `AccessStore.add_key`."""
        words = (row.digest, row.name)
        if not await self._link.run(_ADD, _ALL, *words, _row(row)):
            return False
        try:
            added = await self._own.add_key(row)
        except StoreError:
            await self._taken_back(words)
            raise
        if not added:
            await self._taken_back(words)
        return added

    async def load_keys(self) -> tuple[KeyRow, ...]:
        """See `AccessStore.load_keys`."""
        own = await self._own.load_keys()
        try:
            answer = await self._link.run(_PUT_BACK, _ALL, *(word for row in own for word in _words(row)))
        except NotShared:
            self._missed = True
            return own
        shared = {row.digest: row for row in map(_read, msgspec.convert(answer, list[bytes]))}
        await self._copy(shared.values(), {row.digest: row for row in own})
        found = {**{row.digest: row for row in own}, **shared}
        return tuple(sorted(found.values(), key=lambda row: (row.name, row.digest)))

    async def revoke_key(self, name: str, at_unix_ms: int) -> bool:
        """See `AccessStore.revoke_key`."""
        own = await self._own.revoke_key(name, at_unix_ms)
        return bool(await self._link.run(_REVOKE, _ALL, name, at_unix_ms)) or own

    async def foreign_writes(self) -> int:
        """See `AccessStore.foreign_writes`."""
        own = await self._own.foreign_writes()
        try:
            counted = await self._link.call("GET", KEYS_COUNTER)
        except NotShared:
            pass
        else:
            self._writes = int(counted) if isinstance(counted, bytes) else 0
            if self._missed:
                # what could not be read when it had changed is to be read now, though nothing has changed since
                self._missed, self._missed_count = False, self._missed_count + 1
        return (self._missed_count << 64) + (own << 32) + (self._writes & 0xFFFFFFFF)

    async def add_spending(self, row: SpendingRow) -> int | None:
        """See `AccessStore.add_spending`."""
        return await self._own.add_spending(row)

    async def load_spending(self) -> tuple[SpendingRow, ...]:
        """See `AccessStore.load_spending`."""
        return await self._own.load_spending()

    async def add_audit(self, row: AuditRow) -> None:
        """See `AccessStore.add_audit`."""
        await self._own.add_audit(row)

    async def load_audit(self, limit: int, before_id: int | None) -> Sequence[AuditRow]:
        """See `AccessStore.load_audit`."""
        return await self._own.load_audit(limit, before_id)

    async def claim(self, row: ClaimRow, *, forget_before_unix_ms: int) -> ClaimRow:
        """See `AccessStore.claim`."""
        own = await self._own.claim(row, forget_before_unix_ms=forget_before_unix_ms)
        if own.nonce != row.nonce:
            return own
        try:
            answer = await self._link.run(_CLAIM, (_claim_key(row),), msgspec.json.encode(row), _CLAIM_KEPT_S)
        except NotShared:
            return own
        first = msgspec.json.decode(msgspec.convert(answer, bytes), type=ClaimRow)
        if first.nonce != row.nonce:
            await self._own.drop_claim(row)
        return first

    async def answer_claim(self, row: ClaimRow) -> None:
        """See `AccessStore.answer_claim`."""
        await self._own.answer_claim(row)
        await self._settle_claim(row, msgspec.json.encode(row))

    async def drop_claim(self, row: ClaimRow) -> None:
        """See `AccessStore.drop_claim`."""
        await self._own.drop_claim(row)
        await self._settle_claim(row, b"")

    async def _settle_claim(self, row: ClaimRow, kept: bytes) -> None:
        try:
            await self._link.run(_ANSWER, (_claim_key(row),), row.nonce, kept, _CLAIM_KEPT_S)
        except NotShared as error:
            _log.warning("the others know nothing of an order's end", problem=str(error))

    async def _taken_back(self, words: Sequence[Word]) -> None:
        try:
            await self._link.run(_REMOVE, _ALL, *words)
        except NotShared as error:
            # nobody has the key, so it opens nothing
            _log.warning("a key that was not made stays known to the others", problem=str(error))

    async def _copy(self, shared: Iterable[KeyRow], own: dict[str, KeyRow]) -> None:
        """Keep what others have made or revoked, for a start without Redis. A store that cannot is reported."""
        try:
            for row in shared:
                before = own.get(row.digest)
                if before is None:
                    await self._own.add_key(row)
                if row.revoked_unix_ms is not None and (before is None or before.revoked_unix_ms is None):
                    await self._own.revoke_key(row.name, row.revoked_unix_ms)
        except StoreError as error:
            _log.error("keys of others not kept", problem=str(error))


def _claim_key(row: ClaimRow) -> str:
    return f"{PREFIX}order:{row.owner}:{row.key}"


def _row(row: KeyRow) -> bytes:
    return msgspec.json.encode(replace(row, revoked_unix_ms=None))


def _words(row: KeyRow) -> tuple[Word, ...]:
    return row.digest, row.name, row.revoked_unix_ms or 0, _row(row)


def _read(value: bytes) -> KeyRow:
    revoked, row = value.split(b" ", 1)
    return replace(msgspec.json.decode(row, type=KeyRow), revoked_unix_ms=int(revoked) or None)
