"""The one owner of connections to Redis: every call is bounded, and a Redis that fails is left alone for a while.

What is asked in one turn of the event loop goes out together over one connection, in the order in which it was asked.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, Connection, Redis
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
from proxy.tasks import detach

_log = get_logger("redis")
PREFIX: Final = "carousel:1:"
CALL_TIMEOUT_S: Final = 0.1
_FAILURES_BEFORE_OPENING: Final = 3
_CONNECTIONS: Final = 16
_OWN_DELAY_S: Final = 0.05
_PATIENCE_S: Final = 0.002
_ALONE_BYTES: Final = 65_536

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


class _Asked:
    """A command that is to go out, or has.

    Attributes:
        name: of the command.
        packed: as it is sent.
        answer: where its answer goes; None where nobody waits for one.
        whole: the same with the source of its script, for a Redis that does not know that; empty where it has none.
    """

    __slots__ = ("answer", "name", "packed", "whole")

    def __init__(
        self, words: tuple[Word, ...], answer: "asyncio.Future[object] | None", whole: tuple[Word, ...] = ()
    ) -> None:
        self.name = str(words[0])
        self.packed: bytes = pack_command(words)  # type: ignore[arg-type] # it takes any number of them
        self.answer = answer
        self.whole = whole

    def succeed(self, answer: object) -> None:
        """There is an answer."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, problem: str) -> None:
        """There will be none."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(NotShared(f"Redis cannot be used: {problem}."))


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
        self._idle: list[Connection] = []
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._waiting: list[_Asked] = []
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
        return await self.running(script, keys, *arguments)

    def running(self, script: Script, keys: Sequence[str], *arguments: Word) -> "asyncio.Future[object]":
        """The same, for who may stop waiting and wants its answer all the same. Both may raise NotShared."""
        if self.degraded:
            raise NotShared("Redis cannot be used now.")
        words = (len(keys), *keys, *arguments)
        return self._answer(("EVALSHA", script.digest, *words), ("EVAL", script.text, *words))

    def tell(self, *words: Word) -> None:
        """One command whose answer nobody needs. It waits 2 ms for others to go with; what fails is lost."""
        if not self.degraded:
            self._ask(_Asked(words, None), patient=True)

    def tell_script(self, script: Script, keys: Sequence[str], *arguments: Word) -> None:
        """One script whose answer nobody needs, without a wait; what fails is lost."""
        if not self.degraded:
            words = (len(keys), *keys, *arguments)
            whole = ("EVAL", script.text, *words)
            self._ask(_Asked(("EVALSHA", script.digest, *words), None, whole))

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
        self._closed = True
        await self._send_waiting()
        for _ in range(_CONNECTIONS):
            await self._places.acquire()
        while self._idle:
            await self._idle.pop().disconnect()
        await self._pool.disconnect()

    def _answer(self, words: tuple[Word, ...], whole: tuple[Word, ...] = ()) -> "asyncio.Future[object]":
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._ask(_Asked(words, answer, whole))
        return answer

    def _ask(self, asked: _Asked, *, patient: bool = False) -> None:
        if len(asked.packed) > _ALONE_BYTES:
            # the others would wait until it has gone out
            detach(self._send([asked]), name="ask Redis for something large")
            return
        self._waiting.append(asked)
        if not patient:
            self._begin()
        elif not self._begun and self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(_PATIENCE_S, self._begin)

    def _begin(self) -> None:
        """Have what waits sent when this turn of the loop is over."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if not self._begun:
            self._begun = True
            detach(self._send_waiting(), name="ask Redis")

    async def _send_waiting(self) -> None:
        self._begun = False
        waiting, self._waiting = self._waiting, []
        if waiting:
            await self._send(waiting)

    async def _send(self, asked: Sequence[_Asked]) -> None:
        """Ask all of it over one connection. What has no answer in time fails, and the connection with it."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + CALL_TIMEOUT_S
        try:
            async with asyncio.timeout_at(due_s), self._places:
                await self._exchange(asked)
        except (RedisError, OSError, TimeoutError) as error:
            # a process that was kept from running for so long learns nothing about Redis by it
            if loop.time() - due_s < _OWN_DELAY_S:
                self._failed(error)
            for each in asked:
                each.fail(_named(error))
        except BaseException as error:
            for each in asked:
                each.fail(_named(error))
            raise

    async def _exchange(self, asked: Sequence[_Asked]) -> None:
        connection = await self._connected()
        try:
            await connection.send_packed_command(
                b"".join([each.packed for each in asked]), check_health=False
            )
            for each in asked:
                await self._read(connection, each)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)

    async def _connected(self) -> Connection:
        """A connection nobody uses, the one that was used last if that is still open."""
        while self._idle:
            connection = self._idle.pop()
            try:
                # nothing was asked: what can be read is its end
                if not await connection.can_read():
                    return connection
            except RedisError:
                continue
            await connection.disconnect(nowait=True)
        made: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call] # the library's
        await made.connect()  # type: ignore[no-untyped-call] # the library's
        return made

    async def _read(self, connection: Connection, asked: _Asked) -> None:
        """One answer. Raises RedisError or OSError where it is the last one of the connection."""
        try:
            answer: object = await self._redis.parse_response(connection, asked.name)
        except ResponseError as error:
            if isinstance(error, NoScriptError) and asked.whole:
                # it goes out with what comes next
                self._ask(_Asked(asked.whole, asked.answer))
                asked.answer = None
                return
            self._failed(error)
            # its text may hold the address, which may hold the password
            asked.fail(_named(error))
        else:
            self._failures = 0
            asked.succeed(answer)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if (_is_its_state(error) or self._failures >= _FAILURES_BEFORE_OPENING) and not self.degraded:
            self.degraded = True
            _log.error("Redis cannot be used, this process goes on by itself", problem=_named(error))


def _is_its_state(error: Exception) -> bool:
    """Whether an answer is about Redis as a whole, and so would be the same for the next call."""
    return isinstance(error, BusyLoadingError | AuthenticationError) or (
        isinstance(error, ResponseError) and type(error) is not ResponseError
    )


def _named(error: BaseException) -> str:
    """What went wrong, in words that hold nothing of what was asked."""
    return type(error).__name__
