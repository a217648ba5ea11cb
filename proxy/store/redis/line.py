"""One connection to Redis: what is written to it in one piece is answered in its order, or fails together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import hiredis
from redis.asyncio import Connection
from redis.asyncio.connection import DefaultParser
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from proxy.store.base import NotShared

Word = str | bytes | int | float
_UNFINISHED: Final = object()


class Asked:
    """A command that is to go out, or has.

    Attributes:
        name: of the command.
        packed: as it is sent.
        answer: where its answer goes; None where nobody waits for one.
        whole: the same with the source of its script, for a Redis that does not know that; empty where it has none.
        read: makes of the answer what whoever waits gets, as soon as it has come; is told whether anybody still does.
            None where it is passed on as it is.
    """

    __slots__ = ("answer", "name", "packed", "read", "whole")

    def __init__(
        self,
        words: tuple[Word, ...],
        answer: "asyncio.Future[Any] | None",
        whole: tuple[Word, ...] = (),
        read: Callable[[object, bool], object] | None = None,
    ) -> None:
        self.name = str(words[0])
        self.packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type] # it takes any number of them
        self.answer = answer
        self.whole = whole
        self.read = read

    def succeed(self, answer: object) -> None:
        """There is an answer. Raises what `read` does."""
        if self.answer is None:
            return
        wanted = not self.answer.done()
        found = answer if self.read is None else self.read(answer, wanted)
        if wanted:
            self.answer.set_result(found)

    def fail(self, error: BaseException) -> None:
        """There will be none; of the error only its class is told, as its text may hold what must not be shown."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(NotShared(f"Redis cannot be used: {type(error).__name__}."))


class Owner(Protocol):
    """Whose connection it is."""

    def heard(self, asked: Asked, answer: object) -> None:
        """One answer has come; a refusal of Redis is one too."""
        ...

    def free(self, line: "Line") -> None:
        """All that was asked over it is answered."""
        ...

    def lost(self, line: "Line", unanswered: Sequence[Asked], error: Exception) -> None:
        """It is closed."""
        ...


class Line(asyncio.Protocol):
    """A connection that the library has opened and greeted Redis over, from then on read here.

    The library's own way makes a task's worth of objects and four timers for each answer.
    """

    def __init__(self, connection: Connection, owner: Owner) -> None:
        self._connection = connection
        self._owner = owner
        self._asked: deque[Asked] = deque()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_UNFINISHED,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._transport = _transport_of(connection)
        self._transport.set_protocol(self)

    @property
    def open(self) -> bool:
        """Whether it can be asked."""
        return not self._ended and not self._transport.is_closing()

    def ask(self, asked: Sequence[Asked], due_s: float) -> None:
        """Send commands while nothing else waits here; all have to be answered at `due_s`, by the loop's time."""
        self._asked.extend(asked)
        self._timer = asyncio.get_running_loop().call_at(due_s, self._overdue)
        self._transport.write(b"".join([each.packed for each in asked]))

    def data_received(self, data: bytes) -> None:
        """See the library."""
        waited = self._asked
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _UNFINISHED:
                if not waited:
                    raise InvalidResponse("an answer that nobody asked for")
                if isinstance(answer, RedisError) and not isinstance(answer, ResponseError):
                    raise answer
                self._owner.heard(waited.popleft(), answer)
        except RedisError as error:
            self.close(error)
            return
        if not waited and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._owner.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See the library."""
        self.close(exc or ConnectionResetError("Redis has closed the connection"))

    def close(self, error: Exception) -> None:
        """Close it; what is still unanswered fails with `error`."""
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001 - the public way waits for a reader that reads no more
        unanswered = tuple(self._asked)
        self._asked.clear()
        self._owner.lost(self, unanswered, error)

    def _overdue(self) -> None:
        self.close(TimeoutError())


def _transport_of(connection: Connection) -> asyncio.WriteTransport:
    """What a connection of the library writes to. Raises ConnectionResetError where it is closed again."""
    writer = connection._writer  # noqa: SLF001 - there is no other way to it
    if writer is None:
        raise ConnectionResetError("the connection is gone")
    return writer.transport
