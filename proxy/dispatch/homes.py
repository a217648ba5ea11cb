"""Where conversations belong, as all processes know it: asked for where this one does not know."""

import hashlib
from collections.abc import Hashable
from typing import Final

import msgspec

from proxy.dispatch.journal import Journal
from proxy.exchange import Conversation
from proxy.pool import Pool
from proxy.store.shared import Homes

_NAME_BYTES: Final = 16


class SharedHomes:
    """Looks for the credential of a conversation that was begun elsewhere, and tells the others of one's own."""

    def __init__(self, homes: Homes, pool: Pool, journal: Journal, key: bytes) -> None:
        """`key` makes the names under which conversations are kept, so that nobody can tell what they were."""
        self._homes = homes
        self._pool = pool
        self._journal = journal
        self._key = hashlib.sha256(key).digest()
        pool.affinity.tell = self._tell

    async def home(self, conversation: Conversation) -> str | None:
        """The alias of the credential a conversation belongs to; None where nobody knows, or it is not asked for it."""
        affinity = self._pool.affinity
        if conversation in affinity:
            return None
        fingerprint = await self._homes.find(self._named(conversation))
        known = self._journal.fingerprints.items()
        alias = next((name for name, print_ in known if print_ == fingerprint), None)
        if alias is None:
            return None
        affinity.bind(conversation, alias)
        return affinity.preferred(conversation)

    def _tell(self, conversation: Hashable, alias: str) -> None:
        if (fingerprint := self._journal.fingerprints.get(alias)) is not None:
            self._homes.put(self._named(conversation), fingerprint)

    def _named(self, conversation: Hashable) -> bytes:
        text = msgspec.msgpack.encode(conversation)
        return hashlib.blake2b(text, digest_size=_NAME_BYTES, key=self._key).digest()
