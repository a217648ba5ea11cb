"""Who owns which file or batch, for all processes: what one has written down, the others copy when they are asked."""

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from proxy.log import get_logger
from proxy.store.base import Cut, NotShared, ObjectRow, ObjectStore
from proxy.store.redis.link import PREFIX, RedisLink

_log = get_logger("shared objects")
_FILES: Final = "files"
_FILES_KEY: Final = f"{PREFIX}objects:any-files"
_COUNTED_KEY: Final = f"{PREFIX}objects:usage-counted"
_COUNTED_KEPT_S: Final = 40 * 24 * 3600
"""Longer than results can be had: 29 days, by "Batch processing" in Anthropic's documentation."""

_DELETED: Final = b"deleted"
_KNOWN_MAX: Final = 10_000


class RedisObjects:
    """See `ObjectStore`."""

    def __init__(self, link: RedisLink, own: ObjectStore) -> None:
        self._link = link
        self._own = own
        self._untold: dict[tuple[str, str, str], bytes] = {}
        self._known: dict[tuple[str, str, str], bytes] = {}

    async def save(self, row: ObjectRow) -> None:
        """See `ObjectStore.save`."""
        await self._own.save(row)
        await self._tell(row.client, row.kind, row.id, msgspec.json.encode(row))

    async def find(self, client: str, kind: str, ids: Collection[str]) -> tuple[ObjectRow, ...]:
        """See `ObjectStore.find`."""
        wanted = tuple(ids)
        if wanted:
            try:
                answer = await self._link.call("HMGET", _key(client, kind), *wanted)
            except NotShared as error:
                _log.warning("objects of others not looked for", problem=str(error))
            else:
                found = zip(wanted, msgspec.convert(answer, list[bytes | None]), strict=True)
                await self._copy(client, kind, ((name, value) for name, value in found if value is not None))
        return await self._own.find(client, kind, wanted)

    async def list(self, client: str, kind: str, cut: Cut) -> tuple[ObjectRow, ...] | None:
        """See `ObjectStore.list`."""
        try:
            answer = await self._link.call("HGETALL", _key(client, kind))
        except NotShared as error:
            _log.warning("objects of others not listed", problem=str(error))
        else:
            found = msgspec.convert(answer, dict[bytes, bytes])
            await self._copy(client, kind, ((name.decode(), value) for name, value in found.items()))
        return await self._own.list(client, kind, cut)

    async def forget(self, client: str, kind: str, id: str, now_unix_ms: int) -> None:  # noqa: A002 - the wire's own word
        """See `ObjectStore.forget`."""
        await self._own.forget(client, kind, id, now_unix_ms)
        await self._tell(client, kind, id, _DELETED + b" " + str(now_unix_ms).encode())

    async def count_usage(self, client: str, kind: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """See `ObjectStore.count_usage`; while Redis cannot be used, each database's word is taken for it."""
        if not await self._own.count_usage(client, kind, id):
            return False
        key = f"{_COUNTED_KEY}:{client}:{kind}:{id}"
        try:
            answer = await self._link.call("SET", key, 1, "NX", "EX", _COUNTED_KEPT_S)
        except NotShared as error:
            _log.warning("the others do not hear that a batch is counted", problem=str(error))
            return True
        return answer is not None

    async def any_files(self) -> bool:
        """See `ObjectStore.any_files`."""
        if await self._own.any_files():
            return True
        try:
            return await self._link.call("GET", _FILES_KEY) is not None
        except NotShared:
            return False

    async def tell_waiting(self) -> None:
        """Tell the others what they could not be told. Raises NotShared."""
        for (client, kind, name), value in tuple(self._untold.items()):
            await self._put(client, kind, name, value)

    async def _tell(self, client: str, kind: str, name: str, value: bytes) -> None:
        self._untold[client, kind, name] = value
        try:
            await self._put(client, kind, name, value)
        except NotShared as error:
            _log.warning("the others know nothing of an object", problem=str(error))

    async def _put(self, client: str, kind: str, name: str, value: bytes) -> None:
        await self._link.call("HSET", _key(client, kind), name, value)
        if kind == _FILES:
            await self._link.call("SET", _FILES_KEY, 1)
        if self._untold.get((client, kind, name)) == value:
            del self._untold[client, kind, name]
        self._know((client, kind, name), value)

    async def _copy(self, client: str, kind: str, found: Iterable[tuple[str, bytes]]) -> None:
        """Keep what others have written down; raises StoreError."""
        for name, value in found:
            key = (client, kind, name)
            if key in self._untold or self._known.get(key) == value:
                continue
            if value.startswith(_DELETED):
                await self._own.forget(client, kind, name, int(value.split(b" ")[1]))
            elif (row := _read(value)) is not None:
                await self._own.save(row)
            self._know(key, value)

    def _know(self, key: tuple[str, str, str], value: bytes) -> None:
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[key] = value


def _read(value: bytes) -> ObjectRow | None:
    try:
        return msgspec.json.decode(value, type=ObjectRow)
    except msgspec.DecodeError:
        return None


def _key(client: str, kind: str) -> str:
    return f"{PREFIX}objects:{client}:{kind}"
