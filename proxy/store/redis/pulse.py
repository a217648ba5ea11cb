"""Once a second each process says that it lives, and looks whether others have said anything.

A message wakes it earlier; that a message may be lost costs no more than that second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec
from redis.exceptions import RedisError

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.store.base import NotShared, StoreError
from proxy.store.redis.health import CHANNEL
from proxy.store.redis.link import PREFIX, RedisLink, Script

_log = get_logger("pulse")
REPLICAS_KEY: Final = f"{PREFIX}replicas"
_BEAT_EVERY_S: Final = 1.0
_PROBE_EVERY_S: Final = 2.0
_ALL_EVERY_S: Final = 30.0
_SUBSCRIBE_TIMEOUT_S: Final = 1.0

BEAT: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 5000)
local found = { tostring(redis.call('ZCARD', KEYS[1])) }
for i = 2, #KEYS do found[i] = redis.call('GET', KEYS[i]) or '0' end
return found
""")

Sync = Callable[[], Awaitable[None]]
"""Takes over what others have said and puts back what is missing; raises NotShared."""


class Pulse:
    """The heartbeat of one process.

    Attributes:
        replicas: how many of them lived when it was last looked, at least 1.
    """

    def __init__(
        self,
        link: RedisLink,
        clock: Clock,
        followed: Mapping[str, Sync],
        *,
        put_back: Sequence[Sync],
        tell: Sequence[Sync],
        renew: Sync,
        name: str,
    ) -> None:
        """`name` names the process among all.

        `followed` has what is to be done when a counter has changed, by the counter's key; that and `put_back` are done
        every half minute too, and when Redis has come back. `renew` is done with every beat, and at its end `tell`:
        what could not be told before.
        """
        self.replicas = 1
        self._link = link
        self._clock = clock
        self._followed = followed
        self._put_back = put_back
        self._tell = tell
        self._renew = renew
        self._name = name
        self._seen: dict[str, str] = {}
        self._all_at_s = 0.0
        self._woken = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Pulse {self._name} of {self.replicas}>"

    async def beat(self) -> None:
        """Say once that this process lives, and take over what is new. A Redis that cannot be used is let be."""
        self._woken.clear()
        was_degraded = self._link.degraded
        try:
            if was_degraded and not await self._link.probe():
                return
            answer = await self._link.run(BEAT, (REPLICAS_KEY, *self._followed), self._name)
            count, *counters = (each.decode() for each in msgspec.convert(answer, list[bytes]))
            self.replicas = max(int(count), 1)
            await self._renew()
            await self._follow(dict(zip(self._followed, counters, strict=True)), everything=was_degraded)
        except StoreError as error:
            _log.info("no beat", problem=str(error))

    async def end(self) -> None:
        """Say that this process lives no more. A Redis that cannot be used finds out by itself."""
        try:
            await self._link.call("ZREM", REPLICAS_KEY, self._name)
        except NotShared:
            return

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            try:
                await self.beat()
            except Exception as error:  # noqa: BLE001 - a mistake here must not be the last beat
                _log.error("a beat failed", error=type(error).__name__)
            try:
                async with asyncio.timeout(_PROBE_EVERY_S if self._link.degraded else _BEAT_EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def listen(self) -> None:
        """Be woken by what others say, for ever."""
        while True:
            if not self._link.degraded:
                try:
                    await self._listen_once()
                except (RedisError, OSError, TimeoutError) as error:
                    _log.info("not subscribed", problem=type(error).__name__)
            await asyncio.sleep(_BEAT_EVERY_S)

    async def _listen_once(self) -> None:
        messages = self._link.subscription()
        try:
            async with asyncio.timeout(_SUBSCRIBE_TIMEOUT_S):
                await messages.subscribe(CHANNEL)
            while True:
                if await messages.get_message(timeout=None) is not None:
                    self._woken.set()
        finally:
            await messages.aclose()  # type: ignore[no-untyped-call] # the library's

    async def _follow(self, counters: Mapping[str, str], *, everything: bool) -> None:
        now_s = self._clock.monotonic_s()
        everything = everything or now_s >= self._all_at_s
        for key, sync in self._followed.items():
            if everything or counters[key] != self._seen.get(key):
                await sync()
                self._seen[key] = counters[key]
        if everything:
            for put in self._put_back:
                await put()
            self._all_at_s = now_s + _ALL_EVERY_S
        for tell in self._tell:
            await tell()
