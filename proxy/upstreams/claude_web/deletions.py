"""Deletions owed to claude.ai: each is written down before its conversation is made, and paid until it is confirmed."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.store.base import DeletionLedger, OwedDeletion, StoreError
from proxy.tasks import spawn

_log = get_logger("deletions")
_FIRST_PAUSE_S: Final = 60.0
_LONGEST_PAUSE_S: Final = 3600.0
_ATTEMPTS: Final = 24
_AT_ONE_TIME: Final = 4

Delete = Callable[[OwedDeletion], Awaitable[bool | None]]
"""Tries a deletion; True when the conversation is known to be gone, None while its session is not configured.

It raises nothing but cancellation.
"""


def pause_s(attempts: int) -> float:
    """Seconds before the next attempt after so many that failed; infinite when there is to be none."""
    if attempts > _ATTEMPTS:
        return math.inf
    return min(_FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 10), _LONGEST_PAUSE_S)


class Deletions:
    """The deletions of one process.

    A conversation that is in use is owed and not tried. Released, it is tried at once, then after 1 min doubling
    to 1 h, 24 times; what is left then is tried again at the next start. What a session left behind that is not
    configured any more waits, untried, until it is.
    """

    def __init__(self, ledger: DeletionLedger, clock: Clock, delete: Delete) -> None:
        self._ledger = ledger
        self._clock = clock
        self._delete = delete
        self._in_use: dict[str, OwedDeletion] = {}
        self._due: dict[str, tuple[float, OwedDeletion]] = {}
        self._ownerless: dict[str, OwedDeletion] = {}
        self._given_up = 0
        self._trying: dict[asyncio.Task[None], OwedDeletion] = {}
        self._places = asyncio.Semaphore(_AT_ONE_TIME)
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Deletions {len(self._in_use)} in use, {len(self._due)} due, {len(self._trying)} trying>"

    async def owe(self, owed: OwedDeletion) -> None:
        """Note a conversation that is about to be made; when this returns it is on disk.

        A store that cannot write is reported and costs no client its answer.
        """
        self._in_use[owed.conversation] = owed
        try:
            await self._ledger.save_deletion(owed)
        except StoreError as error:
            _log.error("owed deletion not saved", problem=str(error))

    async def forgive(self, conversation: str) -> None:
        """Forget a conversation that was certainly not made, so that nothing is asked of the site."""
        if self._in_use.pop(conversation, None) is not None:
            await self._forget(conversation)

    def release(self, conversation: str) -> None:
        """Delete a conversation now that nobody uses it; a second call does nothing."""
        if (owed := self._in_use.pop(conversation, None)) is not None:
            self._try(owed)

    @property
    def owed(self) -> int:
        """How many conversations are still to be deleted, those included that are in use."""
        waiting = len(self._in_use) + len(self._due) + len(self._ownerless)
        return waiting + len(self._trying) + self._given_up

    async def restore(self, before_unix_ms: int | None = None) -> None:
        """Take up what was left behind before a moment; None for all of it. Raises StoreError."""
        left = [
            owed
            for owed in await self._ledger.load_deletions()
            if owed.conversation not in self._in_use
            and (before_unix_ms is None or owed.since_unix_ms < before_unix_ms)
        ]
        if left:
            _log.info("conversations of an earlier run are being deleted", count=len(left))
        for owed in left:
            self._try(owed)

    def welcome(self, fingerprint: str) -> None:
        """Try what the session of this fingerprint left behind, now that it is configured again."""
        for owed in [each for each in self._ownerless.values() if each.fingerprint == fingerprint]:
            del self._ownerless[owed.conversation]
            self._try(owed)

    async def work_for_ever(self) -> None:
        """Try what is due, whenever it is."""
        while True:
            self._changed.clear()
            wait_s = self.try_due()
            try:
                async with asyncio.timeout(None if wait_s == math.inf else wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def try_due(self) -> float:
        """Try what is due now; gives the seconds until something will be, infinite if nothing will."""
        now_s = self._clock.monotonic_s()
        for conversation, (due_s, owed) in list(self._due.items()):
            if due_s <= now_s:
                del self._due[conversation]
                self._try(owed)
        return min((due_s - now_s for due_s, _ in self._due.values()), default=math.inf)

    async def settle(self, *, within_s: float, fingerprint: str | None = None) -> None:
        """Try what is owed once more, at most so long; the rest is tried at the next start.

        With `fingerprint`, only what the session of that one left behind; the rest of that waits for its return.
        """

        def concerned(owed: OwedDeletion) -> bool:
            return fingerprint is None or owed.fingerprint == fingerprint

        under_way = {owed.conversation for owed in self._trying.values()}
        waiting = [owed for _, owed in self._due.values() if concerned(owed)]
        waiting += [owed for owed in self._in_use.values() if concerned(owed)]
        try:
            async with asyncio.timeout(within_s):
                await self._try_all(waiting, concerned)
                failed = [owed for _, owed in self._due.values() if owed.conversation in under_way]
                await self._try_all(failed, concerned)
        except TimeoutError:
            for task in self._tasks(concerned):
                task.cancel()

    async def _try_all(
        self, owing: Iterable[OwedDeletion], concerned: Callable[[OwedDeletion], bool]
    ) -> None:
        """Try these, and wait for all attempts that are under way and `concerned`."""
        for owed in owing:
            self._due.pop(owed.conversation, None)
            self._in_use.pop(owed.conversation, None)
            self._try(owed)
        if tasks := self._tasks(concerned):
            await asyncio.wait(tasks)

    def _tasks(self, concerned: Callable[[OwedDeletion], bool]) -> list[asyncio.Task[None]]:
        return [task for task, owed in self._trying.items() if concerned(owed)]

    def _try(self, owed: OwedDeletion) -> None:
        task = spawn(self._attempt(owed), name="delete a conversation")
        self._trying[task] = owed
        task.add_done_callback(self._tried)

    def _tried(self, task: asyncio.Task[None]) -> None:
        owed = self._trying.pop(task)
        if task.cancelled():
            self._ownerless[owed.conversation] = owed

    async def _attempt(self, owed: OwedDeletion) -> None:
        async with self._places:
            gone = await self._delete(owed)
        if gone:
            await self._forget(owed.conversation)
            return
        if gone is None:
            self._ownerless[owed.conversation] = owed
            return
        failed = replace(owed, attempts=owed.attempts + 1)
        pause = pause_s(failed.attempts)
        if pause == math.inf:
            self._given_up += 1
            _log.error(
                "a conversation could not be deleted, and waits for the next start",
                conversation=failed.conversation,
                attempts=failed.attempts,
            )
        else:
            self._due[owed.conversation] = (self._clock.monotonic_s() + pause, failed)
            self._changed.set()
        try:
            await self._ledger.save_deletion(failed)
        except StoreError as error:
            _log.error("owed deletion not saved", problem=str(error))

    async def _forget(self, conversation: str) -> None:
        try:
            await self._ledger.forget_deletion(conversation)
        except StoreError as error:
            # It is deleted once more at the next start, where a conversation that is gone counts as deleted.
            _log.warning("paid deletion not forgotten", problem=str(error))
