"""Stored responses for all processes: each is in the database of whoever made it, and in Redis for as long as it lives.

A process goes by Redis for one that another made, and copies into its own database what a request goes on from.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.store.base import NotShared, ResponseRow, Responses, StoreError
from proxy.store.redis.link import PREFIX, RedisLink, Script

_log = get_logger("shared responses")
SHARED_MAX_BYTES: Final = 4 * 1024 * 1024
"""A larger response is sent to nobody: it would hold up all that goes over Redis."""

_UNTOLD_MAX: Final = 10_000
_MARGIN_S: Final = 3600
"""How much longer a deletion is known than responses live: a request that was under way may prolong a copy."""

_PUT: Final = Script("""
if redis.call('EXISTS', KEYS[2]) == 1 then return end
redis.call('HSET', KEYS[1], 'row', ARGV[1], 'previous', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
""")
_GET: Final = Script("""
if redis.call('EXISTS', KEYS[2]) == 1 then return { 1, '', 0 } end
local row = ARGV[1] == '1' and redis.call('HGET', KEYS[1], 'row')
return row and { 0, row, redis.call('PTTL', KEYS[1]) } or { 0, '', 0 }
""")
_DELETE: Final = Script("""
if redis.call('EXISTS', KEYS[2]) == 1 then return 'before' end
local known = redis.call('DEL', KEYS[1]) == 1
if known or ARGV[1] == '1' then redis.call('SET', KEYS[2], 1, 'PX', ARGV[2]) end
return known and 'now' or 'unknown'
""")
# the longest history that is worth it; a script holds up everybody
_PROLONG: Final = Script("""
local id = ARGV[1]
for _ = 1, 1000 do
  local key = KEYS[1] .. id
  local left = redis.call('PTTL', key)
  if left < 0 then return end
  if left < tonumber(ARGV[2]) then redis.call('PEXPIRE', key, ARGV[2]) end
  id = redis.call('HGET', key, 'previous')
  if not id or id == '' then return end
end
""")


class _Found(msgspec.Struct, frozen=True, array_like=True):
    """What Redis knows of a response: whether it was deleted, else its row, if any, and how long that lives on."""

    deleted: bool
    row: bytes
    left_ms: int


class RedisResponses:
    """See `Responses`. Whether or not Redis can be used, what this process's own database has is found."""

    def __init__(self, link: RedisLink, own: Responses, clock: Clock, *, ttl_s: int) -> None:
        """`ttl_s` is how long a response lives after it was last made or gone on from."""
        self._link = link
        self._own = own
        self._clock = clock
        self._deletion_ms = (ttl_s + _MARGIN_S) * 1000
        # whether it is a deletion, by owner and id
        self._untold: dict[tuple[str, str], bool] = {}

    async def save_response(self, row: ResponseRow) -> None:
        """See `Responses.save_response`."""
        await self._own.save_response(row)
        try:
            await self._put(row, row.expires_unix_ms - row.created_unix_ms)
        except NotShared as error:
            self._tell_later(row.owner, row.id, error, deleted=False)

    async def load_response(self, response_id: str, owner: str, now_unix_ms: int) -> ResponseRow | None:
        """See `Responses.load_response`."""
        own = await self._own.load_response(response_id, owner, now_unix_ms)
        found = await self._found(response_id, owner, row=own is None)
        if found is None:
            return own
        if found.deleted:
            if own is not None:
                await self._own.delete_response(response_id, owner, now_unix_ms)
            return None
        return own if own is not None else _read(found, now_unix_ms)

    async def load_chain(
        self, response_id: str, owner: str, now_unix_ms: int, most_bytes: int
    ) -> tuple[ResponseRow, ...]:
        """See `Responses.load_chain`."""
        chain = await self._own.load_chain(response_id, owner, now_unix_ms, most_bytes)
        missing = chain[0].previous_id if chain else response_id
        if missing is not None and await self._copied(missing, owner, now_unix_ms, most_bytes):
            chain = await self._own.load_chain(response_id, owner, now_unix_ms, most_bytes)
        gone = await self._deleted(owner, [row.id for row in chain])
        for each in gone:
            await self._own.delete_response(each, owner, now_unix_ms)
        if gone:
            chain = await self._own.load_chain(response_id, owner, now_unix_ms, most_bytes)
        return chain

    async def prolong_chain(self, response_id: str, owner: str, now_unix_ms: int, until_unix_ms: int) -> None:
        """See `Responses.prolong_chain`."""
        await self._own.prolong_chain(response_id, owner, now_unix_ms, until_unix_ms)
        try:
            await self._link.run(_PROLONG, (_row_key(owner, ""),), response_id, until_unix_ms - now_unix_ms)
        except NotShared as error:
            _log.warning("the others forget a response earlier", problem=str(error))

    async def delete_response(self, response_id: str, owner: str, now_unix_ms: int) -> bool:
        """See `Responses.delete_response`."""
        gone = await self._own.delete_response(response_id, owner, now_unix_ms)
        try:
            told = await self._delete(response_id, owner, known=gone)
        except NotShared as error:
            if gone:
                self._tell_later(owner, response_id, error, deleted=True)
            return gone
        return told == b"now" or (gone and told != b"before")

    async def forget_responses(self, now_unix_ms: int) -> bool:
        """See `Responses.forget_responses`; Redis forgets by itself."""
        return await self._own.forget_responses(now_unix_ms)

    async def tell_waiting(self) -> None:
        """Tell the others what they could not be told. Raises NotShared and StoreError."""
        for (owner, response_id), deleted in tuple(self._untold.items()):
            now_ms = self._clock.unix_ms()
            if deleted:
                await self._delete(response_id, owner, known=True)
            elif (row := await self._own.load_response(response_id, owner, now_ms)) is not None:
                await self._put(row, row.expires_unix_ms - now_ms)
            if self._untold.get((owner, response_id)) is deleted:
                del self._untold[owner, response_id]

    def _tell_later(self, owner: str, response_id: str, error: NotShared, *, deleted: bool) -> None:
        self._untold.pop((owner, response_id), None)
        if len(self._untold) >= _UNTOLD_MAX:
            del self._untold[next(iter(self._untold))]
        self._untold[owner, response_id] = deleted
        _log.warning("the others know nothing of a response yet", deleted=deleted, problem=str(error))

    async def _put(self, row: ResponseRow, lives_ms: int) -> None:
        encoded = msgspec.json.encode(row)
        if lives_ms > 0 and len(encoded) <= SHARED_MAX_BYTES:
            await self._link.run(_PUT, _keys(row.owner, row.id), encoded, row.previous_id or "", lives_ms)

    async def _delete(self, response_id: str, owner: str, *, known: bool) -> object:
        return await self._link.run(_DELETE, _keys(owner, response_id), int(known), self._deletion_ms)

    async def _found(self, response_id: str, owner: str, *, row: bool) -> _Found | None:
        """What Redis knows; the row only if it is wanted. None while Redis cannot be used."""
        try:
            answer = await self._link.run(_GET, _keys(owner, response_id), int(row))
        except NotShared as error:
            _log.warning("responses of others not looked for", problem=str(error))
            return None
        return msgspec.convert(answer, _Found, strict=False)

    async def _deleted(self, owner: str, ids: Collection[str]) -> list[str]:
        """Which of these were deleted, by anybody."""
        if not ids:
            return []
        try:
            answer = await self._link.call("MGET", *(_deletion_key(owner, each) for each in ids))
        except NotShared:
            return []
        marks = msgspec.convert(answer, list[bytes | None])
        return [each for each, mark in zip(ids, marks, strict=True) if mark is not None]

    async def _copied(self, response_id: str, owner: str, now_unix_ms: int, most_bytes: int) -> bool:
        """Keep what others made of a response and all before it. Returns whether there was any.

        The walk ends where it has seen `most_bytes`, or where a response is known to nobody.
        """
        copied = False
        wanted: str | None = response_id
        seen_bytes = 0
        while wanted is not None and seen_bytes <= most_bytes:
            row = await self._own.load_response(wanted, owner, now_unix_ms)
            if row is None:
                found = await self._found(wanted, owner, row=True)
                row = _read(found, now_unix_ms) if found is not None else None
                if row is None:
                    break
                await self._keep(row, now_unix_ms)
                copied = True
            seen_bytes += len(row.input) + len(row.response)
            wanted = row.previous_id
        return copied

    async def _keep(self, row: ResponseRow, now_unix_ms: int) -> None:
        try:
            await self._own.save_response(row)
        except StoreError:
            # another request, or another process with this database, may have just done it
            if await self._own.load_response(row.id, row.owner, now_unix_ms) is None:
                raise


def _read(found: _Found, now_unix_ms: int) -> ResponseRow | None:
    if not found.row:
        return None
    try:
        row = msgspec.json.decode(found.row, type=ResponseRow)
    except msgspec.DecodeError:
        return None
    return replace(row, expires_unix_ms=now_unix_ms + max(found.left_ms, 1))


def _keys(owner: str, response_id: str) -> tuple[str, str]:
    return _row_key(owner, response_id), _deletion_key(owner, response_id)


def _row_key(owner: str, response_id: str) -> str:
    return f"{PREFIX}response:{owner}:{response_id}"


def _deletion_key(owner: str, response_id: str) -> str:
    return f"{PREFIX}response-deleted:{owner}:{response_id}"
