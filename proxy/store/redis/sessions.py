"""Sessions for all processes: what each database has counted, added up.

A session is a hash with one row for each database that counted something in it, so that telling a row twice changes
nothing. What was counted before a deletion is forgotten by all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.store.base import NotShared
from proxy.store.conversations import OwnProjects, Page, SessionRow, SessionSums
from proxy.store.redis.link import PREFIX, RedisLink, Script
from proxy.store.redis.putting_back import Place, PuttingBack

_log = get_logger("shared sessions")
SESSIONS_KEY: Final = f"{PREFIX}sessions:generation"
LISTED_MAX: Final = 10_000
"""How many sessions of an owner are listed and summed up; those used last."""

_ROW: Final = f"{PREFIX}session:"
_DELETED: Final = f"{PREFIX}session-deleted:"
_INDEX: Final = f"{PREFIX}sessions:"
_KEPT_MS: Final = 90 * 86_400_000
_UNTOLD_MAX: Final = 10_000
_TOLD_AT_ONCE: Final = 200
_READ_AT_ONCE: Final = 10
_SUMMED_AT_ONCE: Final = 200
_PUT_BACK_AT_ONCE: Final = 100

# keys: session, deletion, prefix of the owner's indexes
# arguments: origin, row, messages, created, updated, id, lives, listed most, project, instructions
_PUT: Final = Script("""
local deleted = redis.call('GET', KEYS[2])
if deleted and tonumber(ARGV[4]) <= tonumber(deleted) then return 'deleted' end
local kept = redis.call('HGET', KEYS[1], 'messages:' .. ARGV[1])
if kept and tonumber(kept) > tonumber(ARGV[3]) then return 'kept' end
redis.call('HSET', KEYS[1], 'row:' .. ARGV[1], ARGV[2], 'messages:' .. ARGV[1], ARGV[3])
if ARGV[10] ~= '' then redis.call('HSETNX', KEYS[1], 'instructions', ARGV[10]) end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
local indexes = { KEYS[3] }
local project = redis.call('HGET', KEYS[1], 'project')
if ARGV[9] ~= '' and project ~= ARGV[9] then
  if project then redis.call('ZREM', KEYS[3] .. ':' .. project, ARGV[6]) end
  redis.call('HSET', KEYS[1], 'project', ARGV[9])
  project = ARGV[9]
end
if project then indexes[2] = KEYS[3] .. ':' .. project end
for _, index in ipairs(indexes) do
  local before = redis.call('ZSCORE', index, ARGV[6])
  if not before or tonumber(before) < tonumber(ARGV[5]) then redis.call('ZADD', index, ARGV[5], ARGV[6]) end
  redis.call('ZREMRANGEBYSCORE', index, '-inf', ARGV[5] - ARGV[7])
  redis.call('ZREMRANGEBYRANK', index, 0, -1 - ARGV[8])
  redis.call('PEXPIRE', index, ARGV[7])
end
return 'kept'
""")
_FIND: Final = Script("""
local rows = {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 4) == 'row:' and fields[i] ~= 'row:' .. ARGV[1] then rows[#rows + 1] = fields[i + 1] end
end
return { tonumber(redis.call('GET', KEYS[2]) or '0'), redis.call('HGET', KEYS[1], 'instructions') or '', rows }
""")
# keys: prefix of the owner's sessions; arguments: whether instructions are wanted, ids
_READ: Final = Script("""
local found = {}
for i = 2, #ARGV do
  local rows = {}
  local fields = redis.call('HGETALL', KEYS[1] .. ARGV[i])
  for j = 1, #fields, 2 do
    if string.sub(fields[j], 1, 4) == 'row:' then rows[#rows + 1] = fields[j + 1] end
  end
  local words = ARGV[1] == '1' and redis.call('HGET', KEYS[1] .. ARGV[i], 'instructions') or ''
  found[i - 1] = { 0, words, rows }
end
return found
""")
_DELETE: Final = Script("""
local project = redis.call('HGET', KEYS[1], 'project')
if project then redis.call('ZREM', KEYS[3] .. ':' .. project, ARGV[1]) end
redis.call('ZREM', KEYS[3], ARGV[1])
local known = redis.call('DEL', KEYS[1])
if known == 1 or ARGV[4] == '1' then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return known
""")


class _Found(msgspec.Struct, frozen=True, array_like=True):
    """What Redis knows of a session: until when it was deleted, its instructions, and what was counted."""

    deleted_unix_ms: int
    instructions: bytes
    rows: list[bytes]


class RedisSessions:
    """The sessions of `ProjectStore`. Without Redis each process knows what its own database has counted."""

    def __init__(self, link: RedisLink, own: OwnProjects, clock: Clock, *, origin: str) -> None:
        """`origin` names the database, which other processes may have open too."""
        self._link = link
        self._own = own
        self._clock = clock
        self._origin = origin
        # when it was deleted, Unix milliseconds; 0 where something was counted
        self._untold_sessions: dict[Place, int] = {}
        self._putting_sessions = PuttingBack(link, SESSIONS_KEY, self._sessions_put_back)

    async def add_session(self, row: SessionRow) -> None:
        """See `ProjectStore.add_session`."""
        found = await self._found(row.owner, row.id)
        if found is not None and found.deleted_unix_ms:
            await self._surviving(row.owner, row.id, found)
        await self._own.add_session(row)
        if (counted := await self._own.find_session(row.owner, row.id)) is not None:
            try:
                await self._put_session(counted)
            except NotShared as error:
                self._tell_session_later((row.owner, row.id), error, 0)

    async def find_session(self, owner: str, id: str) -> SessionRow | None:  # noqa: A002 - the wire's own word
        """See `ProjectStore.find_session`."""
        found = await self._found(owner, id)
        if found is None:
            return await self._own.find_session(owner, id)
        return _together(await self._surviving(owner, id, found), found)

    async def sessions(
        self, owner: str, page: Page, project_id: str | None
    ) -> tuple[tuple[SessionRow, ...], int]:
        """See `ProjectStore.sessions`; at most `LISTED_MAX` of them."""
        index = _INDEX + owner + (f":{project_id}" if project_id is not None else "")
        try:
            total = msgspec.convert(await self._link.call("ZCARD", index), int)
            ids = await self._listed(index, page.skip, page.skip + page.most - 1)
            return await self._read_sessions(owner, ids, _READ_AT_ONCE, instructions=True), total
        except NotShared as error:
            _log.warning("sessions of others not listed", problem=str(error))
            return await self._own.sessions(owner, page, project_id)

    async def session_sums(self, owner: str, active_after_unix_ms: int) -> SessionSums:
        """See `ProjectStore.session_sums`; of those that are listed."""
        try:
            ids = await self._listed(_INDEX + owner, 0, -1)
            rows = await self._read_sessions(owner, ids, _SUMMED_AT_ONCE, instructions=False)
        except NotShared as error:
            _log.warning("sessions of others not summed up", problem=str(error))
            return await self._own.session_sums(owner, active_after_unix_ms)
        models: dict[str, int] = {}
        for row in sorted(rows, key=lambda each: each.model or ""):
            if row.model:
                models[row.model] = models.get(row.model, 0) + 1
        return SessionSums(
            sessions=len(rows),
            active=sum(row.updated_unix_ms > active_after_unix_ms for row in rows),
            messages=sum(row.messages for row in rows),
            tokens=sum(row.tokens for row in rows),
            micro_usd=sum(row.micro_usd for row in rows),
            models=models,
        )

    async def delete_session(self, owner: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """See `ProjectStore.delete_session`."""
        gone, now_ms = await self._own.delete_session(owner, id), self._clock.unix_ms()
        try:
            return await self._delete_session((owner, id), now_ms, known=gone) or gone
        except NotShared as error:
            if gone:
                self._tell_session_later((owner, id), error, now_ms)
            return gone

    async def forget_sessions(self, used_before_unix_ms: int) -> bool:
        """See `ProjectStore.forget_sessions`; Redis forgets by itself."""
        return await self._own.forget_sessions(used_before_unix_ms)

    async def _tell_waiting_sessions(self) -> None:
        """Tell the others some of what they could not be told. Raises NotShared and StoreError."""
        await self._putting_sessions.some()
        for name, deleted_ms in tuple(self._untold_sessions.items())[:_TOLD_AT_ONCE]:
            if deleted_ms:
                await self._delete_session(name, deleted_ms, known=True)
            elif (row := await self._own.find_session(*name)) is not None:
                await self._put_session(row)
            if self._untold_sessions.get(name) == deleted_ms:
                del self._untold_sessions[name]

    async def _sessions_put_back(self, place: Place) -> Place | None:
        rows = await self._own.sessions_after(*place, _PUT_BACK_AT_ONCE)
        for row in rows:
            await self._put_session(row)
        return (rows[-1].owner, rows[-1].id) if rows else None

    async def _put_session(self, row: SessionRow) -> None:
        """Tell what this database has counted. Raises NotShared."""
        lives_ms = row.updated_unix_ms + _KEPT_MS - self._clock.unix_ms()
        if lives_ms <= 0:
            return
        told = await self._link.run(
            _PUT,
            _keys(row.owner, row.id),
            *(self._origin, msgspec.msgpack.encode(replace(row, system_prompt=None)), row.messages),
            *(row.created_unix_ms, row.updated_unix_ms, row.id, _KEPT_MS, LISTED_MAX),
            *(row.project_id or "", row.system_prompt or ""),
        )
        if told == b"deleted":
            await self._own.delete_session(row.owner, row.id)

    async def _delete_session(self, name: Place, at_unix_ms: int, *, known: bool) -> bool:
        """Tell a deletion. Returns whether anybody had counted something. Raises NotShared."""
        return bool(await self._link.run(_DELETE, _keys(*name), name[1], at_unix_ms, _KEPT_MS, int(known)))

    def _tell_session_later(self, name: Place, error: NotShared, deleted_unix_ms: int) -> None:
        self._untold_sessions.pop(name, None)
        if len(self._untold_sessions) >= _UNTOLD_MAX:
            del self._untold_sessions[next(iter(self._untold_sessions))]
        self._untold_sessions[name] = deleted_unix_ms
        _log.warning("the others know nothing of a session yet", problem=str(error))

    async def _surviving(self, owner: str, id: str, found: _Found) -> SessionRow | None:  # noqa: A002 - the wire's own word
        """What this database has counted since the session was last deleted; the rest is deleted here too."""
        row = await self._own.find_session(owner, id)
        if row is None or row.created_unix_ms > found.deleted_unix_ms:
            return row
        await self._own.delete_session(owner, id)
        return None

    async def _found(self, owner: str, id: str) -> _Found | None:  # noqa: A002 - the wire's own word
        """What Redis knows from other databases. None while it cannot be used."""
        try:
            answer = await self._link.run(_FIND, _keys(owner, id), self._origin)
        except NotShared as error:
            _log.warning("sessions of others not looked for", problem=str(error))
            return None
        return msgspec.convert(answer, _Found)

    async def _listed(self, index: str, first: int, last: int) -> list[bytes]:
        """Ids of an index, those used last first. Raises NotShared."""
        return msgspec.convert(await self._link.call("ZREVRANGE", index, first, last), list[bytes])

    async def _read_sessions(
        self, owner: str, ids: Sequence[bytes], at_once: int, *, instructions: bool
    ) -> tuple[SessionRow, ...]:
        """Sessions as all databases together have counted them. Raises NotShared."""
        rows: list[SessionRow] = []
        for start in range(0, len(ids), at_once):
            part = ids[start : start + at_once]
            answer = await self._link.run(_READ, (f"{_ROW}{owner}:",), int(instructions), *part)
            found = msgspec.convert(answer, list[_Found])
            rows += [row for row in (_together(None, each) for each in found) if row is not None]
        return tuple(rows)


def _together(own: SessionRow | None, found: _Found) -> SessionRow | None:
    """What all databases have counted in a session; None where none has."""
    rows = [*_read(found.rows), *([own] if own is not None else [])]
    if not rows:
        return None
    rows.sort(key=lambda row: row.created_unix_ms)
    latest = sorted(rows, key=lambda row: row.updated_unix_ms, reverse=True)
    instructions = own.system_prompt if own is not None else None
    return replace(
        rows[0],
        project_id=next((row.project_id for row in latest if row.project_id is not None), None),
        title=next((row.title for row in rows if row.title is not None), None),
        model=next((row.model for row in latest if row.model is not None), None),
        system_prompt=found.instructions.decode() or instructions,
        messages=sum(row.messages for row in rows),
        tokens=sum(row.tokens for row in rows),
        micro_usd=sum(row.micro_usd for row in rows),
        updated_unix_ms=latest[0].updated_unix_ms,
    )


def _read(values: Iterable[bytes]) -> list[SessionRow]:
    rows: list[SessionRow] = []
    for value in values:
        try:
            rows.append(msgspec.msgpack.decode(value, type=SessionRow))
        except msgspec.DecodeError:
            continue
    return rows


def _keys(owner: str, session: str) -> tuple[str, str, str]:
    return f"{_ROW}{owner}:{session}", f"{_DELETED}{owner}:{session}", _INDEX + owner
