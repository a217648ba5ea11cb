"""Puts back into a Redis that has lost it what a database holds, a part with each beat, so that no beat is late."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from proxy.store.redis.link import RedisLink

_PARTS_AT_ONCE: Final = 10
_WORD_BYTES: Final = 8

Place = tuple[str, str]
"""An owner and an id, behind which it goes on."""

Part = Callable[[Place], Awaitable[Place | None]]
"""Puts back what follows a place, and returns where that ends; None at the very end."""


class PuttingBack:
    """What is put back once in the life of a Redis.

    Args:
        link: the way to it.
        key: of a random word, which is gone when Redis has lost what it knew.
        part: puts some of it back.
    """

    def __init__(self, link: RedisLink, key: str, part: Part) -> None:
        self._link = link
        self._key = key
        self._part = part
        self._known: object = None
        self._place: Place | None = None

    async def sync(self) -> None:
        """Look whether there is something to be put back. Raises NotShared."""
        await self._link.call("SET", self._key, secrets.token_hex(_WORD_BYTES), "NX")
        found = await self._link.call("GET", self._key)
        if found != self._known:
            self._known, self._place = found, ("", "")

    async def some(self) -> None:
        """Put some of it back. Raises NotShared and StoreError, and goes on from there the next time."""
        for _ in range(_PARTS_AT_ONCE):
            if self._place is None:
                return
            self._place = await self._part(self._place)
