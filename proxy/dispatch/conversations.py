"""Conversations that are remembered: one turn at a time, each for its owner alone.

What nobody has come back to rests in memory only, where one process serves; from the second turn on it is in the
store, and deleted some time after its last use. Beside stored responses, nowhere else do prompts rest.
"""

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from proxy.clock import Clock
from proxy.credentials import Credential, Kind
from proxy.dialects.decoding import printable
from proxy.errors import ErrorKind, GatewayError, NotFound
from proxy.log import get_logger
from proxy.settings.conversations import ConversationSettings
from proxy.store.base import StoreError
from proxy.store.conversations import ConversationLine, ConversationRow, ConversationStore
from proxy.tasks import spawn
from proxy.watch import Watch

_log = get_logger("conversations")
HISTORY_MAX_BYTES: Final = 1024 * 1024
MEMORY_MAX_BYTES: Final = 64 * 1024 * 1024
OWNED_MAX: Final = 1000
_OVERHEAD_BYTES: Final = 1000
_SWEEP_S: Final = 60.0
_ID_BYTES: Final = 16
_ID: Final = re.compile(r"conv_[0-9a-f]{32}")

_Name = tuple[str, str]


class _Queue:
    """Who is about to say something in a conversation.

    Attributes:
        lock: held by the turn that is being answered.
        turns: how many there are, the waiting ones included.
        deleted: whether the conversation was deleted meanwhile.
    """

    __slots__ = ("deleted", "lock", "turns")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.turns = 0
        self.deleted = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """The history of a conversation after a turn, as it is kept.

    Attributes:
        dialect: in whose words.
        system: a JSON array of instructions.
        messages: a JSON array of messages.
        count: how many messages the turn added.
    """

    dialect: str
    system: str
    messages: str
    count: int


class Turn:
    """The next turn of a conversation; nobody else says anything in it until this one is closed.

    Attributes:
        row: the conversation as it was before.
    """

    __slots__ = ("_conversations", "_named", "_open", "_queue", "row")

    def __init__(
        self, conversations: "Conversations", queue: _Queue, row: ConversationRow, *, named: bool
    ) -> None:
        self._conversations = conversations
        self._queue = queue
        self._named = named
        self._open = True
        self.row = row

    async def keep(self, spoken: Spoken) -> None:
        """The turn ended well: remember it. A store that cannot costs nobody the answer; memory stands in for it."""
        if self._open and not self._queue.deleted:
            await self._conversations.kept(self.row, spoken, named=self._named)

    async def forget(self) -> None:
        """The history has become too large to be remembered: the conversation ends."""
        if self._open and self._named:
            await self._conversations.drop(self.row.owner, self.row.id)

    def close(self) -> None:
        """Let the next turn begin; a second time does nothing."""
        if self._open:
            self._open = False
            self._queue.lock.release()
            self._conversations.leave(self.row.owner, self.row.id, self._queue)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


class Conversations:
    """The conversations of all clients.

    Args:
        store: where those rest that were named again.
        clock: the time.
        settings: what is remembered, and how long.
        memory_max_bytes: what those may take together that rest in memory; those used longest ago are forgotten first.
        several: whether other processes serve from the same store: then its first turn already rests there, for the
            next may come to another process.

    Attributes:
        settings: the same.
        size_bytes: about what rests in memory takes.
        begins: whether a chat that names no conversation may begin one.
    """

    def __init__(
        self,
        store: ConversationStore,
        clock: Clock,
        settings: ConversationSettings,
        *,
        memory_max_bytes: int = MEMORY_MAX_BYTES,
        several: bool = False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._several = several
        self._memory_max_bytes = memory_max_bytes
        self._memory: OrderedDict[_Name, ConversationRow] = OrderedDict()
        self._queues: dict[_Name, _Queue] = {}
        self.settings = settings
        self.size_bytes = 0
        self.begins = settings.mode == "on"

    def __repr__(self) -> str:
        return f"<Conversations [In memory: {len(self._memory)}, {self.size_bytes} bytes | Busy: {len(self._queues)}]>"

    def follow(self, credentials: Iterable[Credential]) -> None:
        """These are the credentials now: answers of Claude Code begin conversations unless that is turned off."""
        code = any(credential.kind is Kind.CLAUDE_CODE for credential in credentials)
        self.begins = self.settings.mode == "on" or (code and self.settings.mode == "auto")

    async def next_turn(self, owner: str, name: str, watch: Watch, *, within_s: float) -> Turn:
        """The next turn of the conversation of this name; waits for the one before it to end.

        Raises NotFound where the owner has no such conversation, and GatewayError: 409 where the turn before has not
        ended within `within_s` seconds, 503 where the store cannot be read.
        """
        if _ID.fullmatch(name) is None:
            raise no_conversation(name)
        queue = self._enter(owner, name)
        try:
            if queue.lock.locked():
                await watch.within(within_s, queue.lock.acquire())
            else:
                await queue.lock.acquire()
        except TimeoutError:
            self.leave(owner, name, queue)
            raise _busy() from None
        except BaseException:
            self.leave(owner, name, queue)
            raise
        try:
            row = await self.found(owner, name)
        except BaseException:
            queue.lock.release()
            self.leave(owner, name, queue)
            raise
        queue.deleted = False
        return Turn(self, queue, row, named=True)

    async def first_turn(self, owner: str) -> Turn:
        """The first turn of a new conversation, which is remembered only if it ends well."""
        row = self._new(owner)
        queue = self._enter(owner, row.id)
        await queue.lock.acquire()
        return Turn(self, queue, row, named=False)

    async def create(self, owner: str, *, model: str, project_path: str, metadata: str) -> ConversationRow:
        """A new conversation without a turn; on disk when this returns. Raises GatewayError 503."""
        row = replace(self._new(owner), model=model, project_path=project_path, metadata=metadata)
        try:
            await self._store.save(row)
            await self._store.crop(owner, OWNED_MAX)
        except StoreError as error:
            raise _unusable(error) from None
        return row

    async def found(self, owner: str, name: str) -> ConversationRow:
        """A conversation as it is now. Raises NotFound, also where it is another's, and GatewayError 503."""
        row = self._memory.get((owner, name))
        if row is not None and row.used_unix_ms > self._oldest_ms():
            return row
        if _ID.fullmatch(name) is None:
            raise no_conversation(name)
        try:
            row = await self._store.find(owner, name, self._oldest_ms())
        except StoreError as error:
            raise _unusable(error) from None
        if row is None:
            raise no_conversation(name)
        return row

    async def listed(self, owner: str) -> list[ConversationLine]:
        """An owner's conversations, those used last first. Raises GatewayError 503."""
        oldest_ms = self._oldest_ms()
        try:
            lines = {line.id: line for line in await self._store.lines(owner, oldest_ms)}
        except StoreError as error:
            raise _unusable(error) from None
        for row in self._memory.values():
            if row.owner == owner and row.used_unix_ms > oldest_ms:
                lines[row.id] = ConversationLine(
                    id=row.id,
                    metadata=row.metadata,
                    message_count=row.message_count,
                    created_unix_ms=row.created_unix_ms,
                    used_unix_ms=row.used_unix_ms,
                )
        return sorted(lines.values(), key=lambda line: (line.used_unix_ms, line.id), reverse=True)

    async def count(self, owner: str | None) -> int:
        """How many an owner has, or all have; only those in memory where the store cannot be read."""
        oldest_ms = self._oldest_ms()
        mine = [row for row in self._memory.values() if owner is None or row.owner == owner]
        resting = sum(row.used_unix_ms > oldest_ms for row in mine)
        try:
            return resting + await self._store.count(owner, oldest_ms)
        except StoreError as error:
            _log.error("conversations not counted", problem=str(error))
            return resting

    async def delete(self, owner: str, name: str) -> None:
        """Forget a conversation; a turn that is being answered is not remembered.

        Raises NotFound, also where it is another's, and GatewayError 503.
        """
        await self.found(owner, name)
        if (queue := self._queues.get((owner, name))) is not None:
            queue.deleted = True
        self._forget((owner, name))
        try:
            await self._store.delete(owner, name)
        except StoreError as error:
            raise _unusable(error) from None

    async def kept(self, row: ConversationRow, spoken: Spoken, *, named: bool) -> None:
        """What `Turn.keep` does."""
        now_ms = self._clock.unix_ms()
        grown = replace(
            row,
            dialect=spoken.dialect,
            system=spoken.system,
            messages=spoken.messages,
            message_count=row.message_count + spoken.count,
            used_unix_ms=now_ms,
        )
        resting = (row.owner, row.id) in self._memory
        if (named or self._several) and await self._saved(grown, first=resting or not named):
            self._forget((row.owner, row.id))
        else:
            self._remember(grown)

    async def drop(self, owner: str, name: str) -> None:
        """Forget a conversation; where the store cannot, it stays as it was before."""
        self._forget((owner, name))
        try:
            await self._store.delete(owner, name)
        except StoreError as error:
            _log.error("conversation not deleted", problem=str(error))

    def leave(self, owner: str, name: str, queue: _Queue) -> None:
        """A turn is over, or was waited for in vain."""
        queue.turns -= 1
        if not queue.turns:
            del self._queues[owner, name]

    async def run(self) -> AsyncIterator[None]:
        """Delete those whose time is over, now and then, while the server runs."""
        sweeping = spawn(self._sweep_for_ever(), name="forget old conversations")
        yield
        sweeping.cancel()

    async def sweep(self) -> None:
        """Delete those whose time is over, some at a time, so that nobody waits long for the store."""
        oldest_ms = self._oldest_ms()
        for name in [name for name, row in self._memory.items() if row.used_unix_ms <= oldest_ms]:
            self._forget(name)
        try:
            while await self._store.forget(oldest_ms):
                pass
        except StoreError as error:
            _log.error("old conversations not deleted", problem=str(error))

    async def _sweep_for_ever(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(_SWEEP_S)

    async def _saved(self, row: ConversationRow, *, first: bool) -> bool:
        try:
            await self._store.save(row)
            if first:
                await self._store.crop(row.owner, OWNED_MAX)
        except StoreError as error:
            _log.error("conversation not written down", problem=str(error))
            return False
        return True

    def _new(self, owner: str) -> ConversationRow:
        now_ms = self._clock.unix_ms()
        name = f"conv_{secrets.token_hex(_ID_BYTES)}"
        return ConversationRow(owner=owner, id=name, created_unix_ms=now_ms, used_unix_ms=now_ms)

    def _enter(self, owner: str, name: str) -> _Queue:
        queue = self._queues.setdefault((owner, name), _Queue())
        queue.turns += 1
        return queue

    def _oldest_ms(self) -> int:
        """What was not used after this is forgotten, Unix milliseconds."""
        return self._clock.unix_ms() - self.settings.timeout_s * 1000

    def _remember(self, row: ConversationRow) -> None:
        name = row.owner, row.id
        self._forget(name)
        self._memory[name] = row
        self.size_bytes += _size_bytes(row)
        while self.size_bytes > self._memory_max_bytes:
            self._forget(next(iter(self._memory)))

    def _forget(self, name: _Name) -> None:
        row = self._memory.pop(name, None)
        if row is not None:
            self.size_bytes -= _size_bytes(row)


def no_conversation(name: str) -> NotFound:
    """What a client is told whose conversation is not there, or not there any more, or another's."""
    return NotFound(
        f"Conversation with id '{printable(name)}' not found; it may have been idle for too long, or have grown too "
        "large.",
        param="conversation_id",
        code="conversation_not_found",
    )


def _size_bytes(row: ConversationRow) -> int:
    # the text of a history is JSON, nearly all of it one byte a character
    return _OVERHEAD_BYTES + len(row.system) + len(row.messages) + len(row.metadata)


def _busy() -> GatewayError:
    return GatewayError(
        409,
        ErrorKind.INVALID_REQUEST,
        "The turn before in this conversation is still being answered.",
        param="conversation_id",
        code="conversation_busy",
        retry_after_s=1.0,
        should_retry=True,
    )


def _unusable(error: StoreError) -> GatewayError:
    _log.error("conversations cannot be kept or read", problem=str(error))
    return GatewayError(
        503,
        ErrorKind.API,
        "Conversations cannot be kept or read at the moment.",
        code="not_kept",
        retry_after_s=5.0,
    )
