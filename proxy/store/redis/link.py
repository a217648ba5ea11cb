"""The one owner of connections to Redis: every call is bounded, and a Redis that fails is left alone for a while.

What is asked in one turn of the event loop goes out together over one connection, in the order in which it was asked;
what `running` asks goes out at once, with all that was asked before it, where no answer is waited for.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoScriptError, ResponseError

from proxy.log import get_logger
from proxy.secrets import Secret
from proxy.store.base import NotShared
from proxy.store.redis.line import Asked, Word
from proxy.store.redis.lines import Lines

_T = TypeVar("_T")
_log = get_logger("redis")
PREFIX: Final = "carousel:1:"
CALL_TIMEOUT_S: Final = 0.1
_FAILURES_BEFORE_OPENING: Final = 3
_CONNECTIONS: Final = 16
_OWN_DELAY_S: Final = 0.05
_PATIENCE_S: Final = 0.002
_ALONE_BYTES: Final = 65_536


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
    any more until `probe` has had an answer: each call fails at once. Commands that fail with their connection are one
    failure.

    Attributes:
        degraded: whether that is so.
    """

    def __init__(self, url: Secret) -> None:
        """Connects with the first call. Raises ValueError for a URL that cannot be used."""
        self._pool = BlockingConnectionPool.from_url(
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
        self._redis = Redis(connection_pool=self._pool)
        self._callbacks = self._redis.response_callbacks
        self._lines = Lines(self._connected, self, _CONNECTIONS)
        self._waiting: list[Asked] = []
        self._begun = False
        self._closed = False
        self._patience: asyncio.TimerHandle | None = None
        self._failures = 0
        self.degraded = False

    def __repr__(self) -> str:
        return f"<RedisLink {'degraded' if self.degraded else 'good'}>"

    async def call(self, *words: Word) -> object:
        """One command. Raises NotShared."""
        if self.degraded:
            raise NotShared("Redis cannot be used now.")
        return await self._answer(words)

    async def run(self, script: Script, keys: Sequence[str], *arguments: Word) -> object:
        """One script. Raises NotShared."""
        if self.degraded:
            raise NotShared("Redis cannot be used now.")
        words = (len(keys), *keys, *arguments)
        return await self._answer(("EVALSHA", script.digest, *words), ("EVAL", script.text, *words))

    def running(
        self, script: Script, keys: Sequence[str], *arguments: Word, read: Callable[[object, bool], _T]
    ) -> "asyncio.Future[_T]":
        """The same, asked without waiting for the answer. Raises NotShared, and has it raised by what is returned.

        `read` makes of the answer what is to be returned as soon as it has come, for a future that was cancelled
        meanwhile too; it is told whether that is not so.
        """
        if self.degraded:
            raise NotShared("Redis cannot be used now.")
        answer: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        words = (len(keys), *keys, *arguments)
        self._ask(Asked(("EVALSHA", script.digest, *words), answer, ("EVAL", script.text, *words), read))
        if self._lines.quiet:
            self._send_waiting()
        return answer

    def tell(self, *words: Word) -> None:
        """One command whose answer nobody needs. It waits 2 ms for others to go with; what fails is lost."""
        if not self.degraded:
            self._ask(Asked(words, None), patient=True)

    def tell_script(self, script: Script, keys: Sequence[str], *arguments: Word) -> None:
        """One script whose answer nobody needs, without a wait; what fails is lost."""
        if not self.degraded:
            words = (len(keys), *keys, *arguments)
            whole = ("EVAL", script.text, *words)
            self._ask(Asked(("EVALSHA", script.digest, *words), None, whole))

    async def probe(self) -> bool:
        """Ask whether Redis works, however it was before; returns whether it does."""
        try:
            # a copy that only reads, or one that is still loading, answers a PING
            await self._answer(("SET", f"{PREFIX}probe", 1, "PX", 60_000))
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
        """Send what still waits, and close every connection; safe to call twice. What is asked afterwards fails."""
        if self._closed:
            return
        self._send_waiting()
        self._closed = True
        await self._lines.close()
        await self._pool.disconnect()

    def heard(self, asked: Asked, answer: object) -> None:
        """See `Listener`."""
        if isinstance(answer, ResponseError):
            if isinstance(answer, NoScriptError) and asked.whole:
                # it goes out with what comes next
                self._ask(Asked(asked.whole, asked.answer, read=asked.read))
                return
            self._failed(answer)
            asked.fail(answer)
            return
        self._failures = 0
        callback = self._callbacks.get(asked.name)
        try:
            asked.succeed(answer if callback is None else callback(answer))
        except Exception as error:  # noqa: BLE001 - the library's, of an answer it does not expect
            asked.fail(error)

    def failed(self, asked: Sequence[Asked], error: BaseException, due_s: float) -> None:
        """See `Listener`."""
        # a process that was kept from running for so long learns nothing about Redis by it
        if isinstance(error, Exception) and asyncio.get_running_loop().time() - due_s < _OWN_DELAY_S:
            self._failed(error)
        for each in asked:
            each.fail(error)

    def _answer(
        self,
        words: tuple[Word, ...],
        whole: tuple[Word, ...] = (),
    ) -> "asyncio.Future[object]":
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._ask(Asked(words, answer, whole))
        return answer

    def _ask(self, asked: Asked, *, patient: bool = False) -> None:
        if len(asked.packed) > _ALONE_BYTES:
            # the others would wait until it has gone out
            self._send([asked])
            return
        self._waiting.append(asked)
        if not patient:
            self._begin()
        elif not self._begun and self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(_PATIENCE_S, self._begin)

    def _begin(self) -> None:
        """Have what waits sent when this turn of the loop is over."""
        if not self._begun:
            self._begun = True
            asyncio.get_running_loop().call_soon(self._send_waiting)

    def _send_waiting(self) -> None:
        self._begun = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._send(waiting)

    def _send(self, asked: Sequence[Asked]) -> None:
        if self._closed:
            for each in asked:
                each.fail(ConnectionResetError())
        else:
            self._lines.send(asked, asyncio.get_running_loop().time() + CALL_TIMEOUT_S)

    async def _connected(self) -> Connection:
        made: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call] # the library's
        try:
            await made.connect()  # type: ignore[no-untyped-call] # the library's
        except BaseException:
            await made.disconnect(nowait=True)
            raise
        return made

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if (_is_its_state(error) or self._failures >= _FAILURES_BEFORE_OPENING) and not self.degraded:
            self.degraded = True
            _log.error("Redis cannot be used, this process goes on by itself", problem=type(error).__name__)


def _is_its_state(error: Exception) -> bool:
    """Whether an answer is about Redis as a whole, and so would be the same for the next call."""
    return isinstance(error, BusyLoadingError | AuthenticationError) or (
        isinstance(error, ResponseError) and type(error) is not ResponseError
    )
