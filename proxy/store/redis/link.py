"""The one owner of connections to Redis: every call is bounded, and a Redis that fails is left alone for a while."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from proxy.log import get_logger
from proxy.secrets import Secret
from proxy.store.base import NotShared

_log = get_logger("redis")
PREFIX: Final = "carousel:1:"
CALL_TIMEOUT_S: Final = 0.1
_FAILURES_BEFORE_OPENING: Final = 3
_CONNECTIONS: Final = 16
_OWN_DELAY_S: Final = 0.05

Word = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script. Redis runs it whole, with nothing in between.

    Attributes:
        text: its source.
        digest: SHA-1 of that, 40 hex characters, by which Redis knows it.
    """

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)


class RedisLink:
    """Calls to one Redis, and whether it can be used.

    After three failures in a row, or one answer that says that Redis is read-only, full or loading, nothing is asked
    any more until `probe` has had an answer: each call fails at once.

    Attributes:
        degraded: whether that is so.
    """

    def __init__(self, url: Secret) -> None:
        """Connects with the first call. Raises ValueError for a URL that cannot be used."""
        pool = BlockingConnectionPool.from_url(
            url.reveal(),
            max_connections=_CONNECTIONS,
            timeout=None,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
            # to tell its version the library looks through the file system with every connection
            driver_info=None,
        )
        self._redis = Redis(connection_pool=pool)
        self._pool = pool
        self._failures = 0
        self.degraded = False

    def __repr__(self) -> str:
        return f"<RedisLink {'degraded' if self.degraded else 'good'}>"

    async def call(self, *words: Word) -> object:
        """One command. Raises NotShared."""
        if self.degraded:
            raise NotShared("Redis cannot be used now.")
        return await self._carried_out(*words)

    async def run(self, script: Script, keys: Sequence[str], *arguments: Word) -> object:
        """One script. Raises NotShared."""
        if self.degraded:
            raise NotShared("Redis cannot be used now.")
        try:
            return await self._carried_out("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except _Unknown:
            return await self._carried_out("EVAL", script.text, len(keys), *keys, *arguments)

    async def probe(self) -> bool:
        """Ask whether Redis works, however it was before; returns whether it does."""
        try:
            # a copy that only reads, or one that is still loading, answers a PING
            await self._carried_out("SET", f"{PREFIX}probe", 1, "PX", 60_000)
        except NotShared:
            return False
        if self.degraded:
            self.degraded = False
            _log.warning("Redis can be used again")
        return True

    def subscription(self) -> PubSub:
        """A connection of its own for messages; its user bounds its calls and closes it."""
        return self._redis.pubsub(ignore_subscribe_messages=True)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.disconnect()

    async def _carried_out(self, *words: Word) -> object:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + CALL_TIMEOUT_S
        try:
            async with asyncio.timeout_at(due_s):
                answer: object = await self._redis.execute_command(*words)  # type: ignore[no-untyped-call] # the library's
        except NoScriptError:
            raise _Unknown from None
        except (RedisError, OSError, TimeoutError) as error:
            # a process that was kept from running for so long learns nothing about Redis by it
            if loop.time() - due_s < _OWN_DELAY_S:
                self._failed(error)
            # its text may hold the address, which may hold the password
            raise NotShared(f"Redis cannot be used: {_named(error)}.") from None
        self._failures = 0
        return answer

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if (_is_its_state(error) or self._failures >= _FAILURES_BEFORE_OPENING) and not self.degraded:
            self.degraded = True
            _log.error("Redis cannot be used, this process goes on by itself", problem=_named(error))


class _Unknown(Exception):
    """Redis does not know a script, as after its restart."""


def _is_its_state(error: Exception) -> bool:
    """Whether an answer is about Redis as a whole, and so would be the same for the next call."""
    return isinstance(error, BusyLoadingError | AuthenticationError) or (
        isinstance(error, ResponseError) and type(error) is not ResponseError
    )


def _named(error: Exception) -> str:
    """What went wrong, in words that hold nothing of what was asked."""
    return type(error).__name__
