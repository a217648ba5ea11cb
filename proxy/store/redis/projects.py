"""Projects for all processes: their rows; the folders are on each machine's own disk, below a root of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.store.base import NotShared
from proxy.store.conversations import OwnProjects, Page, ProjectRow
from proxy.store.redis.link import PREFIX, RedisLink, Script
from proxy.store.redis.putting_back import Place, PuttingBack
from proxy.store.redis.sessions import RedisSessions

_log = get_logger("shared projects")
PROJECTS_KEY: Final = f"{PREFIX}projects:generation"
_ROWS: Final = f"{PREFIX}projects:"
_DELETED_KEPT_MS: Final = 90 * 86_400_000
_UNTOLD_MAX: Final = 10_000
_TOLD_AT_ONCE: Final = 200
_PUT_BACK_AT_ONCE: Final = 100
_READ_AT_ONCE: Final = 100

# keys: rows, order, paths, deletion; arguments: id, row, path, updated, most or 0 for what was made already
_PUT: Final = Script("""
if redis.call('EXISTS', KEYS[4]) == 1 then return 'deleted' end
if ARGV[5] ~= '0' then
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return 'refused' end
  if redis.call('HSETNX', KEYS[3], ARGV[3], ARGV[1]) == 0 then return 'refused' end
else
  redis.call('HSETNX', KEYS[3], ARGV[3], ARGV[1])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
return 'kept'
""")
_FIND: Final = Script("""
if redis.call('EXISTS', KEYS[4]) == 1 then return { 1, '' } end
return { 0, redis.call('HGET', KEYS[1], ARGV[1]) or '' }
""")
_DELETE: Final = Script("""
local known = redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[2] ~= '' and redis.call('HGET', KEYS[3], ARGV[2]) == ARGV[1] then redis.call('HDEL', KEYS[3], ARGV[2]) end
if known == 1 or ARGV[4] == '1' then redis.call('SET', KEYS[4], 1, 'PX', ARGV[3]) end
return known
""")


class _Found(msgspec.Struct, frozen=True, array_like=True):
    """What Redis knows of a project: whether it was deleted, else its row, if any."""

    deleted: bool
    row: bytes


class RedisProjects(RedisSessions):
    """See `ProjectStore`. Whether or not Redis can be used, what this process's own database has is found."""

    def __init__(self, link: RedisLink, own: OwnProjects, clock: Clock, *, origin: str, root: Path) -> None:
        """`origin` names the database, which other processes may have open too; folders lie below `root`."""
        super().__init__(link, own, clock, origin=origin)
        self._root = root
        # the path of a project that was deleted; None where one was made
        self._untold_projects: dict[Place, str | None] = {}
        self._putting_projects = PuttingBack(link, PROJECTS_KEY, self._projects_put_back)

    async def add_project(self, row: ProjectRow, most: int) -> bool:
        """See `ProjectStore.add_project`; while Redis cannot be used, each database's word is taken for it."""
        if not await self._own.add_project(row, most):
            return False
        try:
            told = await self._put_project(row, most)
        except NotShared as error:
            self._tell_project_later((row.owner, row.id), error, None)
            return True
        if told == b"refused":
            await self._own.delete_project(row.owner, row.id)
        return told != b"refused"

    async def find_project(self, owner: str, id: str) -> ProjectRow | None:  # noqa: A002 - the wire's own word
        """See `ProjectStore.find_project`."""
        own = await self._own.find_project(owner, id)
        try:
            answer = await self._link.run(_FIND, _keys(owner, id), id)
        except NotShared as error:
            _log.warning("projects of others not looked for", problem=str(error))
            return own
        found = msgspec.convert(answer, _Found, strict=False)
        if found.deleted:
            if own is not None:
                await self._own.delete_project(owner, id)
            return None
        return own or self._read(found.row)

    async def projects(self, owner: str, page: Page) -> tuple[tuple[ProjectRow, ...], int]:
        """See `ProjectStore.projects`."""
        keys = _keys(owner, "")
        try:
            total = msgspec.convert(await self._link.call("ZCARD", keys[1]), int)
            answer = await self._link.call("ZREVRANGE", keys[1], page.skip, page.skip + page.most - 1)
            ids = msgspec.convert(answer, list[bytes])
            found: list[bytes | None] = []
            for start in range(0, len(ids), _READ_AT_ONCE):
                part = await self._link.call("HMGET", keys[0], *ids[start : start + _READ_AT_ONCE])
                found += msgspec.convert(part, list[bytes | None])
        except NotShared as error:
            _log.warning("projects of others not listed", problem=str(error))
            return await self._own.projects(owner, page)
        rows = (self._read(value) for value in found if value is not None)
        return tuple(row for row in rows if row is not None), total

    async def delete_project(self, owner: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """See `ProjectStore.delete_project`."""
        row = await self.find_project(owner, id)
        gone = await self._own.delete_project(owner, id)
        path = self._inner(row) if row is not None else ""
        try:
            return await self._delete_project((owner, id), path, known=gone) or gone
        except NotShared as error:
            if gone:
                self._tell_project_later((owner, id), error, path)
            return gone

    async def sync(self) -> None:
        """Look whether Redis has lost projects and sessions. Raises NotShared."""
        await self._putting_projects.sync()
        await self._putting_sessions.sync()

    async def tell_waiting(self) -> None:
        """Tell the others some of what they do not know. Raises NotShared and StoreError."""
        await self._putting_projects.some()
        for name, deleted in tuple(self._untold_projects.items())[:_TOLD_AT_ONCE]:
            if deleted is not None:
                await self._delete_project(name, deleted, known=True)
            elif (row := await self._own.find_project(*name)) is not None:
                await self._put_again(row)
            if self._untold_projects.get(name) == deleted:
                del self._untold_projects[name]
        await self._tell_waiting_sessions()

    def _tell_project_later(self, name: Place, error: NotShared, deleted: str | None) -> None:
        self._untold_projects.pop(name, None)
        if len(self._untold_projects) >= _UNTOLD_MAX:
            del self._untold_projects[next(iter(self._untold_projects))]
        self._untold_projects[name] = deleted
        _log.warning("the others know nothing of a project yet", problem=str(error))

    async def _projects_put_back(self, place: Place) -> Place | None:
        rows = await self._own.projects_after(*place, _PUT_BACK_AT_ONCE)
        for row in rows:
            await self._put_again(row)
        return (rows[-1].owner, rows[-1].id) if rows else None

    async def _put_again(self, row: ProjectRow) -> None:
        """Tell a project that was made already. Raises NotShared and StoreError."""
        if await self._put_project(row, 0) == b"deleted":
            await self._own.delete_project(row.owner, row.id)

    async def _put_project(self, row: ProjectRow, most: int) -> object:
        told = replace(row, path=self._inner(row))
        words = (row.id, msgspec.msgpack.encode(told), told.path, row.updated_unix_ms, most)
        return await self._link.run(_PUT, _keys(row.owner, row.id), *words)

    async def _delete_project(self, name: Place, path: str, *, known: bool) -> bool:
        """Tell a deletion. Returns whether the project was known. Raises NotShared."""
        words = (name[1], path, _DELETED_KEPT_MS, int(known))
        return bool(await self._link.run(_DELETE, _keys(*name), *words))

    def _inner(self, row: ProjectRow) -> str:
        """The path below the root; as it is where it lies elsewhere, which a root that was moved brings about."""
        path = Path(row.path)
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else row.path

    def _read(self, value: bytes) -> ProjectRow | None:
        """A project as it was told, with its path here."""
        try:
            row = msgspec.msgpack.decode(value, type=ProjectRow) if value else None
        except msgspec.DecodeError:
            return None
        return None if row is None else replace(row, path=str(self._root / row.path))


def _keys(owner: str, project: str) -> tuple[str, str, str, str]:
    rows = _ROWS + owner
    return rows, f"{rows}:order", f"{rows}:paths", f"{PREFIX}project-deleted:{owner}:{project}"
