"""Conversations that stay at claude.ai, by what was said in them, so that only what is new has to be sent.

One is handed out once: whoever goes on with it gives it back as it then is. Where that fails, nobody knows what the
site has of it, and the next request begins a new one.
"""

from collections import OrderedDict

from proxy.log import get_logger
from proxy.store.base import HeldConversation, HeldLedger, StoreError

HELD_MAX = 1000
_log = get_logger("holding")


class Held:
    """At most `HELD_MAX` conversations, those used longest ago left out first; they also survive a restart."""

    def __init__(self, ledger: HeldLedger) -> None:
        self._ledger = ledger
        self._by_history: OrderedDict[tuple[str, str], HeldConversation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_history)

    def __repr__(self) -> str:
        return f"<Held {len(self)} conversations>"

    async def restore(self, before_unix_ms: int | None = None) -> None:
        """Take up what was known before a moment; None for all of it. Raises StoreError."""
        for held in await self._ledger.load_held():
            if before_unix_ms is not None and held.used_unix_ms >= before_unix_ms:
                continue
            self._by_history[held.fingerprint, held.history] = held
        await self._shrink()

    async def take(self, fingerprint: str, history: str) -> HeldConversation | None:
        """The conversation of this session in which exactly this was said, if there is one; it is forgotten here."""
        held = self._by_history.pop((fingerprint, history), None)
        if held is not None:
            await self._forget(held)
        return held

    async def keep(self, held: HeldConversation) -> None:
        """Remember a conversation as it is now."""
        key = (held.fingerprint, held.history)
        replaced = self._by_history.pop(key, None)
        self._by_history[key] = held
        if replaced is not None:
            await self._forget(replaced)
        try:
            await self._ledger.save_held(held)
        except StoreError as error:
            _log.warning("kept conversation not saved", problem=str(error))
        await self._shrink()

    async def _shrink(self) -> None:
        while len(self._by_history) > HELD_MAX:
            _, oldest = self._by_history.popitem(last=False)
            await self._forget(oldest)

    async def _forget(self, held: HeldConversation) -> None:
        try:
            await self._ledger.forget_held(held.conversation)
        except StoreError as error:
            # gone on with after the next start from a message that is not the last, it is refused and begun anew
            _log.warning("kept conversation not forgotten", problem=str(error))
