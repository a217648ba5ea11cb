"""Conversations that are remembered: one turn at a time, each for its owner alone.

What nobody has come back to rests in memory only; from the second turn on it is in the store, and deleted some time
after its last use. Beside stored responses, nowhere else do prompts rest. Where other processes serve too, they know
all of it, and the turns of a conversation follow each other over all of them.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from proxy.clock import Clock
from proxy.credentials import Credential, Kind
from proxy.dialects.decoding import printable
from proxy.dispatch.turns import SharedTurns
from proxy.errors import ErrorKind, GatewayError, NotFound
from proxy.log import get_logger
from proxy.settings.conversations import ConversationSettings
from proxy.store.base import StoreError
from proxy.store.conversation_memory import ConversationMemory
from proxy.store.conversations import (
    OWNED_MAX,
    ConversationLine,
    ConversationRow,
    ConversationStore,
    SharedConversations,
)
from proxy.tasks import spawn
from proxy.watch import Watch

_log = get_logger("conversations")
HISTORY_MAX_BYTES: Final = 1024 * 1024
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
        leave: what the other processes gave the turn that is being answered; empty for none.
    """

    __slots__ = ("deleted", "leave", "lock", "turns")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.turns = 0
        self.deleted = False
        self.leave = ""


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
            await self._conversations.answered(self.row.owner, self.row.id, self._queue)

    async def forget(self) -> None:
        """The history has become too large to be remembered: the conversation ends."""
        if self._open and self._named:
            await self._conversations.drop(self.row.owner, self.row.id)

    def close(self) -> None:
        """Let the next turn begin; a second time does nothing."""
        if self._open:
            self._open = False
            self._conversations.unlock(self.row.owner, self.row.id, self._queue)
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
        memory: where the others rest; one of its own where none is given.
        shared: the store of all processes, where other processes serve too; it is asked in the place of `store`.
        turns: how turns follow each other over all processes; None where this one is alone.

    Attributes:
        settings: the same.
        begins: whether a chat that names no conversation may begin one.
    """

    def __init__(
        self,
        store: ConversationStore,
        clock: Clock,
        settings: ConversationSettings,
        *,
        memory: ConversationMemory | None = None,
        shared: SharedConversations | None = None,
        turns: SharedTurns | None = None,
    ) -> None:
        self._store = shared or store
        self._clock = clock
        self._shared = shared
        self._turns = turns
        self._memory = ConversationMemory() if memory is None else memory
        self._queues: dict[_Name, _Queue] = {}
        self.settings = settings
        self.begins = settings.mode == "on"

    def __repr__(self) -> str:
        resting = f"{len(self._memory)}, {self._memory.size_bytes} bytes"
        return f"<Conversations [In memory: {resting} | Busy: {len(self._queues)}]>"

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
            if queue.lock.locked() or self._turns is not None:
                await watch.within(within_s, self._lock(owner, name, queue))
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
            self.unlock(owner, name, queue)
            self.leave(owner, name, queue)
            raise
        queue.deleted = False
        return Turn(self, queue, row, named=True)

    async def first_turn(self, owner: str) -> Turn:
        """The first turn of a new conversation, which is remembered only if it ends well."""
        row = self._new(owner)
        queue = self._enter(owner, row.id)
        try:
            # nobody else knows its name yet
            await self._lock(owner, row.id, queue)
        except BaseException:
            self.leave(owner, row.id, queue)
            raise
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
        if self._shared is None and (row := self._memory.find(owner, name, self._oldest_ms())) is not None:
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
        for row in self._resting():
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
        mine = [row for row in self._resting() if owner is None or row.owner == owner]
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
        try:
            await self._store.delete(owner, name)
        except StoreError as error:
            raise _unusable(error) from None
        finally:
            self._memory.drop(owner, name)

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
        resting = self._memory.find(row.owner, row.id, 0) is not None
        if named and await self._saved(grown, first=resting):
            self._memory.drop(row.owner, row.id)
            return
        self._memory.put(grown)
        if self._shared is not None:
            await self._shared.lend(grown)

    async def drop(self, owner: str, name: str) -> None:
        """Forget a conversation; where the store cannot, it stays as it was before."""
        try:
            await self._store.delete(owner, name)
        except StoreError as error:
            _log.error("conversation not deleted", problem=str(error))
        finally:
            self._memory.drop(owner, name)

    async def answered(self, owner: str, name: str, queue: _Queue) -> None:
        """A turn is remembered, which its client is about to hear: the other processes may begin the next one."""
        if self._turns is not None and queue.leave:
            leave, queue.leave = queue.leave, ""
            await self._turns.end(owner, name, leave)

    def unlock(self, owner: str, name: str, queue: _Queue) -> None:
        """Let the next turn begin."""
        if self._turns is not None and queue.leave:
            self._turns.give_back(owner, name, queue.leave)
            queue.leave = ""
        queue.lock.release()

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
        self._memory.forget(oldest_ms)
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

    def _resting(self) -> Iterable[ConversationRow]:
        """What rests in memory and nowhere else; the store of all processes knows it already."""
        return self._memory if self._shared is None else ()

    async def _lock(self, owner: str, name: str, queue: _Queue) -> None:
        """Wait for the turn before, here and in all other processes."""
        await queue.lock.acquire()
        if self._turns is not None:
            try:
                queue.leave = await self._turns.take(owner, name)
            except BaseException:
                queue.lock.release()
                raise

    def _enter(self, owner: str, name: str) -> _Queue:
        queue = self._queues.setdefault((owner, name), _Queue())
        queue.turns += 1
        return queue

    def _oldest_ms(self) -> int:
        """What was not used after this is forgotten, Unix milliseconds."""
        return self._clock.unix_ms() - self.settings.timeout_s * 1000


def no_conversation(name: str) -> NotFound:
    """What a client is told whose conversation is not there, or not there any more, or another's."""
    return NotFound(
        f"Conversation with id '{printable(name)}' not found; it may have been idle for too long, or have grown too "
        "large.",
        param="conversation_id",
        code="conversation_not_found",
    )


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
