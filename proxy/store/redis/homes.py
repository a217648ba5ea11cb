"""Where conversations belong, in Redis: one key each that is forgotten after an hour without an answer."""

from typing import Final

from proxy.store.base import NotShared
from proxy.store.redis.link import PREFIX, RedisLink

_IDLE_S: Final = 3600


class RedisHomes:
    """See `Homes`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def find(self, conversation: bytes) -> str | None:
        """See `Homes.find`."""
        try:
            found = await self._link.call("GET", _key(conversation))
        except NotShared:
            return None
        return found.decode() if isinstance(found, bytes) else None

    def put(self, conversation: bytes, fingerprint: str) -> None:
        """See `Homes.put`."""
        # where it is lost, whoever goes on with it elsewhere pays for the beginning once more
        self._link.tell("SET", _key(conversation), fingerprint, "EX", _IDLE_S)


def _key(conversation: bytes) -> str:
    return f"{PREFIX}home:{conversation.hex()}"
