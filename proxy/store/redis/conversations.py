"""Conversations for all processes: each state is in the database of whoever made it, and in Redis while it lives.

Redis is asked first: of what it has and what this process has, the newer counts, and a deletion before both. What rests
in one process's memory alone is lent to the others, as much as fits into the memory of one.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import msgspec

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.store.base import NotShared, StoreError
from proxy.store.conversation_memory import MEMORY_MAX_BYTES, ConversationMemory, size_bytes
from proxy.store.conversations import (
    OWNED_MAX,
    ConversationLine,
    ConversationRow,
    ConversationVersion,
    OwnConversations,
)
from proxy.store.redis import conversation_scripts as scripts
from proxy.store.redis.link import PREFIX, RedisLink

_log = get_logger("shared conversations")
CONVERSATIONS_KEY: Final = f"{PREFIX}conversations:generation"
"""Is gone when Redis has lost what it knew."""

_ROW: Final = f"{PREFIX}conversation:"
_DELETED: Final = f"{PREFIX}conversation-deleted:"
_INDEX: Final = f"{PREFIX}conversations:"
_LENT: Final = f"{PREFIX}conversations-lent"
_LENT_SIZES: Final = f"{PREFIX}conversations-lent:bytes"
_MARGIN_S: Final = 3600
"""How much longer a deletion is known than conversations live: a turn that was under way may take so long."""

_NOTED_MAX: Final = 10_000
_COMPARED_MAX: Final = 20_000
_COMPARED_AT_ONCE: Final = 200
_LINES_AT_ONCE: Final = 50
_TOLD_AT_ONCE: Final = 200
_TOLD_AT_ONCE_BYTES: Final = 8 * 1024 * 1024

_Name = tuple[str, str]
_Value = TypeVar("_Value")


class _Found(msgspec.Struct, frozen=True, array_like=True):
    """What Redis knows of a conversation: whether it was deleted, else a newer state, if any, and how long it lives."""

    deleted: bool
    row: bytes
    left_ms: int


class _Listed(msgspec.Struct, frozen=True, array_like=True):
    """What Redis has of an owner: the ids, and for how many milliseconds each lives on."""

    ids: list[bytes]
    left_ms: list[int]


@dataclass(frozen=True, slots=True)
class _Own:
    """What this process has of a conversation, and whether that rests in its memory alone."""

    row: ConversationRow
    lent: bool


class RedisConversations:
    """See `SharedConversations`. Whether or not Redis can be used, what this process has itself is found."""

    def __init__(
        self,
        link: RedisLink,
        own: OwnConversations,
        memory: ConversationMemory,
        clock: Clock,
        *,
        timeout_s: int,
        lent_max_bytes: int = MEMORY_MAX_BYTES,
    ) -> None:
        """`timeout_s` is how long a conversation lives after its last use, `lent_max_bytes` what all lend together."""
        self._link = link
        self._own = own
        self._memory = memory
        self._clock = clock
        self._timeout_ms = timeout_s * 1000
        self._deletion_ms = (timeout_s + _MARGIN_S) * 1000
        self._lent_max_bytes = lent_max_bytes
        # whether it is a deletion
        self._untold: OrderedDict[_Name, bool] = OrderedDict()
        # until when it has to be known, Unix milliseconds
        self._deletions: OrderedDict[_Name, int] = OrderedDict()

    async def save(self, row: ConversationRow) -> None:
        """See `ConversationStore.save`."""
        await self._own.save(row)
        await self._tell(_Own(row, lent=False))

    async def lend(self, row: ConversationRow) -> None:
        """See `SharedConversations.lend`."""
        await self._tell(_Own(row, lent=True))

    async def find(self, owner: str, id: str, used_after_unix_ms: int) -> ConversationRow | None:  # noqa: A002 - the wire's own word
        """See `ConversationStore.find`."""
        row = self._memory.find(owner, id, used_after_unix_ms)
        if row is None:
            row = await self._own.find(owner, id, used_after_unix_ms)
        found = await self._found((owner, id), row)
        if found is None:
            return row
        if found.deleted:
            await self._forget((owner, id))
            return None
        return self._read(found) or row

    async def lines(self, owner: str, used_after_unix_ms: int) -> tuple[ConversationLine, ...]:
        """See `ConversationStore.lines`."""
        lines = {line.id: line for line in await self._own.lines(owner, used_after_unix_ms)}
        for row in self._memory:
            if row.owner == owner and row.used_unix_ms > used_after_unix_ms:
                lines[row.id] = _line(row)
        try:
            shared = await self._shared_lines(owner)
            deleted = await self._deleted(owner, lines.keys() - shared.keys())
        except NotShared as error:
            _log.warning("conversations of others not listed", problem=str(error))
            return tuple(lines.values())
        for name in deleted:
            del lines[name]
            await self._forget((owner, name))
        for line in shared.values():
            known = lines.get(line.id)
            if known is None or known.message_count <= line.message_count:
                lines[line.id] = line
        return tuple(lines.values())

    async def count(self, owner: str | None, used_after_unix_ms: int) -> int:
        """See `ConversationStore.count`; of all owners together, those this process has."""
        if owner is not None:
            try:
                answer = await self._link.run(scripts.COUNT, (_INDEX + owner,))
            except NotShared:
                pass
            else:
                return msgspec.convert(answer, int)
        resting = sum(
            row.used_unix_ms > used_after_unix_ms for row in self._memory if owner in {None, row.owner}
        )
        return resting + await self._own.count(owner, used_after_unix_ms)

    async def delete(self, owner: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """See `ConversationStore.delete`."""
        name = (owner, id)
        gone = await self._own.delete(owner, id)
        gone = self._memory.drop(owner, id) or gone
        _note(self._deletions, name, self._clock.unix_ms() + self._deletion_ms)
        try:
            return await self._delete(name) or gone
        except NotShared as error:
            self._tell_later(name, error, deleted=True)
            return gone

    async def forget(self, used_before_unix_ms: int) -> bool:
        """See `ConversationStore.forget`; Redis forgets by itself."""
        return await self._own.forget(used_before_unix_ms)

    async def crop(self, owner: str, most: int) -> None:
        """See `ConversationStore.crop`."""
        await self._own.crop(owner, most)
        try:
            await self._link.run(scripts.CROP, (_INDEX + owner, _LENT, _LENT_SIZES), most, _ROW, f"{owner}:")
        except NotShared:
            # it is done with the next one
            return

    async def sync(self) -> None:
        """Have Redis know what it is missing, and forget here what is older than what it knows.

        Raises NotShared; a database that cannot be used is reported.
        """
        await self._link.call("SET", CONVERSATIONS_KEY, self._clock.unix_ms(), "NX")
        await self._tell_deletions()
        try:
            after_ms = self._clock.unix_ms() - self._timeout_ms
            own = [(each, 0) for each in await self._own.versions(after_ms, _COMPARED_MAX)]
            # what was used last is first to find room
            lent = [(_version(row), size_bytes(row)) for row in reversed(tuple(self._memory))]
            for versions in (own, lent):
                for start in range(0, len(versions), _COMPARED_AT_ONCE):
                    await self._compare(versions[start : start + _COMPARED_AT_ONCE])
        except NotShared:
            raise
        except StoreError as error:
            _log.error("conversations not compared with those of others", problem=str(error))

    async def tell_waiting(self) -> None:
        """Tell the others some of what they could not be told. Raises NotShared and StoreError."""
        left_bytes = _TOLD_AT_ONCE_BYTES
        for name, deleted in tuple(self._untold.items())[:_TOLD_AT_ONCE]:
            if deleted:
                await self._delete(name)
            elif (own := await self._mine(name)) is not None:
                await self._settle(own, await self._put(own, again=True))
                left_bytes -= size_bytes(own.row)
            if self._untold.get(name) is deleted:
                del self._untold[name]
            if left_bytes <= 0:
                return

    async def _mine(self, name: _Name) -> _Own | None:
        """What this process has, if it still lives."""
        after_ms = self._clock.unix_ms() - self._timeout_ms
        if (row := self._memory.find(*name, after_ms)) is not None:
            return _Own(row, lent=True)
        row = await self._own.find(*name, after_ms)
        return None if row is None else _Own(row, lent=False)

    async def _tell(self, own: _Own) -> None:
        try:
            told = await self._put(own, again=False)
        except NotShared as error:
            self._tell_later((own.row.owner, own.row.id), error, deleted=False)
        else:
            await self._settle(own, told)

    def _tell_later(self, name: _Name, error: NotShared, *, deleted: bool) -> None:
        _note(self._untold, name, deleted)
        _log.warning("the others know nothing of a conversation yet", deleted=deleted, problem=str(error))

    async def _put(self, own: _Own, *, again: bool) -> object:
        """Tell a state; what came of it. One that is told `again` gives way to none that is as new and earlier."""
        row = own.row
        lives_ms = row.used_unix_ms + self._timeout_ms - self._clock.unix_ms()
        if lives_ms <= 0:
            return b"kept"
        member = f"{row.owner}:{row.id}"
        return await self._link.run(
            scripts.PUT,
            (_ROW + member, _DELETED + member, _INDEX + row.owner, _LENT, _LENT_SIZES),
            *(msgspec.msgpack.encode(row), msgspec.msgpack.encode(_line(row))),
            *(row.message_count, row.used_unix_ms, min(lives_ms, self._timeout_ms), row.id, member),
            *(size_bytes(row) if own.lent else 0, self._lent_max_bytes, self._timeout_ms, _ROW, int(again)),
        )

    async def _settle(self, own: _Own, told: object) -> None:
        """Do what came of telling a state."""
        name = own.row.owner, own.row.id
        if told == b"deleted":
            await self._forget(name)
        elif told == b"newer":
            _log.warning("a turn is not remembered: another process has gone on meanwhile")
            self._memory.drop(*name)
            if not own.lent:
                await self._take_over(name)

    async def _delete(self, name: _Name) -> bool:
        """Tell a deletion. Returns whether the conversation was known. Raises NotShared."""
        owner, conversation = name
        member = f"{owner}:{conversation}"
        keys = (_ROW + member, _DELETED + member, _INDEX + owner, _LENT, _LENT_SIZES)
        return bool(await self._link.run(scripts.DELETE, keys, self._deletion_ms, conversation, member))

    async def _tell_deletions(self) -> None:
        """Have Redis know again which conversations were deleted here. Raises NotShared."""
        now_ms = self._clock.unix_ms()
        for name in [name for name, until_ms in self._deletions.items() if until_ms <= now_ms]:
            del self._deletions[name]
        names = list(self._deletions)
        for start in range(0, len(names), _COMPARED_AT_ONCE):
            some = names[start : start + _COMPARED_AT_ONCE]
            known = await self._known_deletions(some)
            for name, mark in zip(some, known, strict=True):
                if not mark:
                    await self._delete(name)

    async def _known_deletions(self, names: Sequence[_Name]) -> list[bool]:
        """Which of these Redis knows to be deleted. Raises NotShared."""
        answer = await self._link.call("MGET", *(f"{_DELETED}{owner}:{each}" for owner, each in names))
        return [mark is not None for mark in msgspec.convert(answer, list[bytes | None])]

    async def _deleted(self, owner: str, names: Collection[str]) -> list[str]:
        """Which of these were deleted, by anybody. Raises NotShared."""
        wanted = list(names)
        if not wanted:
            return []
        known = await self._known_deletions([(owner, each) for each in wanted])
        return [each for each, mark in zip(wanted, known, strict=True) if mark]

    async def _compare(self, versions: Sequence[tuple[ConversationVersion, int]]) -> None:
        """Look what Redis knows of these, with the sizes of what is lent, and do what follows. Raises StoreError."""
        words = (
            word
            for each, lent_bytes in versions
            for word in (each.owner, each.id, each.message_count, each.used_unix_ms, lent_bytes)
        )
        keys = (_ROW, _DELETED, _INDEX, _LENT_SIZES)
        answer = await self._link.run(scripts.COMPARE, keys, OWNED_MAX, self._lent_max_bytes, *words)
        for (version, _), told in zip(versions, msgspec.convert(answer, list[bytes]), strict=True):
            name = version.owner, version.id
            if told == b"missing":
                _note(self._untold, name, False)
            elif told == b"deleted":
                await self._forget(name)
            elif told == b"newer":
                # whoever made the newer one has it; this one would go on without it while Redis is away
                self._memory.drop(*name)
                await self._own.drop(version)

    async def _forget(self, name: _Name) -> None:
        """Delete here what others have deleted. A database that cannot is reported."""
        self._memory.drop(*name)
        try:
            await self._own.delete(*name)
        except StoreError as error:
            _log.error("a conversation that others deleted is still kept", problem=str(error))

    async def _take_over(self, name: _Name) -> None:
        """Keep what others made of a conversation. A database that cannot is reported."""
        found = await self._found(name, None)
        if found is None or (newest := self._read(found)) is None:
            return
        try:
            await self._own.save(newest)
        except StoreError as error:
            _log.error("a conversation that others went on with is not kept", problem=str(error))

    async def _found(self, name: _Name, own: ConversationRow | None) -> _Found | None:
        """What Redis knows, the row only where it is newer than our own. None while Redis cannot be used."""
        member = f"{name[0]}:{name[1]}"
        count, used_ms = (-1, 0) if own is None else (own.message_count, own.used_unix_ms)
        try:
            answer = await self._link.run(scripts.GET, (_ROW + member, _DELETED + member), count, used_ms)
        except NotShared as error:
            _log.warning("conversations of others not looked for", problem=str(error))
            return None
        return msgspec.convert(answer, _Found, strict=False)

    def _read(self, found: _Found) -> ConversationRow | None:
        """A state as it was told, by this process's clock."""
        if not found.row:
            return None
        try:
            row = msgspec.msgpack.decode(found.row, type=ConversationRow)
        except msgspec.DecodeError:
            return None
        return replace(row, used_unix_ms=self._used_ms(found.left_ms))

    def _used_ms(self, left_ms: int) -> int:
        """When something was last used that lives on for so long; Unix milliseconds."""
        return self._clock.unix_ms() - self._timeout_ms + max(left_ms, 1)

    async def _shared_lines(self, owner: str) -> dict[str, ConversationLine]:
        """What Redis has of an owner. Raises NotShared."""
        answer = await self._link.run(scripts.LIST, (_INDEX + owner,))
        listed = msgspec.convert(answer, _Listed)
        lines: dict[str, ConversationLine] = {}
        for start in range(0, len(listed.ids), _LINES_AT_ONCE):
            part = slice(start, start + _LINES_AT_ONCE)
            answer = await self._link.run(scripts.LINES, (f"{_ROW}{owner}:",), *listed.ids[part])
            for value, left_ms in zip(
                msgspec.convert(answer, list[bytes]), listed.left_ms[part], strict=True
            ):
                if (line := _read_line(value)) is not None:
                    lines[line.id] = replace(line, used_unix_ms=self._used_ms(left_ms))
        return lines


def _note(notes: OrderedDict[_Name, _Value], name: _Name, value: _Value) -> None:
    """Note the latest word, and forget the earliest where there are too many."""
    notes.pop(name, None)
    if len(notes) >= _NOTED_MAX:
        notes.popitem(last=False)
    notes[name] = value


def _version(row: ConversationRow) -> ConversationVersion:
    return ConversationVersion(row.owner, row.id, row.message_count, row.used_unix_ms)


def _line(row: ConversationRow) -> ConversationLine:
    return ConversationLine(
        id=row.id,
        metadata=row.metadata,
        message_count=row.message_count,
        created_unix_ms=row.created_unix_ms,
        used_unix_ms=row.used_unix_ms,
    )


def _read_line(value: bytes) -> ConversationLine | None:
    try:
        return msgspec.msgpack.decode(value, type=ConversationLine)
    except msgspec.DecodeError:
        return None
