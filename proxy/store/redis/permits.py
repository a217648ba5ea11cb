"""Leave for one process at a time: a key of Redis that ends by itself with the process that holds it."""

from typing import Final

from proxy.store.base import NotShared
from proxy.store.redis.link import PREFIX, RedisLink, Script
from proxy.tasks import detach

_LASTS_MS: Final = 30_000
_RENEW: Final = Script("""
for i = 1, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[i + 1] then redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
end
""")
_END: Final = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end")


class RedisPermits:
    """See `TurnPermits`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._kept: dict[str, str] = {}

    async def take(self, name: str, holder: str) -> bool | None:
        """See `Permits.take`."""
        try:
            answer = await self._link.call("SET", _key(name), holder, "NX", "PX", _LASTS_MS)
        except NotShared:
            return None
        return answer is not None

    def keep(self, name: str, holder: str) -> None:
        """See `Permits.keep`."""
        self._kept[name] = holder

    def give_back(self, name: str, holder: str) -> None:
        """See `Permits.give_back`."""
        self._keep_no_more(name, holder)
        detach(self._end(name, holder), name="give a permit back")

    async def end(self, name: str, holder: str) -> None:
        """See `TurnPermits.end`."""
        self._keep_no_more(name, holder)
        await self._end(name, holder)

    async def renew(self) -> None:
        """Have those that are kept last another 30 s. Raises NotShared."""
        if self._kept:
            keys = [_key(name) for name in self._kept]
            await self._link.run(_RENEW, keys, _LASTS_MS, *self._kept.values())

    def _keep_no_more(self, name: str, holder: str) -> None:
        if self._kept.get(name) == holder:
            del self._kept[name]

    async def _end(self, name: str, holder: str) -> None:
        try:
            await self._link.run(_END, (_key(name),), holder)
        except NotShared:
            # it ends by itself
            return


def _key(name: str) -> str:
    return f"{PREFIX}permit:{name}"
