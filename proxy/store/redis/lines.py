"""The connections of one process to Redis: a batch of commands takes one for itself, and waits where all are taken."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from redis.asyncio import Connection
from redis.exceptions import RedisError

from proxy.store.redis.line import Asked, Line
from proxy.tasks import detach


class Listener(Protocol):
    """Who is told what came of the commands."""

    def heard(self, asked: Asked, answer: object) -> None:
        """One answer has come; a refusal of Redis is one too."""
        ...

    def failed(self, asked: Sequence[Asked], error: BaseException, due_s: float) -> None:
        """Their connection failed, or could not be made, or they were not answered at `due_s`."""
        ...


class _Batch(NamedTuple):
    """Commands that go out together, and by when they have to be answered."""

    asked: Sequence[Asked]
    due_s: float


class Lines:
    """As many connections as are needed, up to a bound; the one that was used last is used first."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], listener: Listener, most: int) -> None:
        """`connect` opens a connection and greets Redis over it; raises RedisError and OSError."""
        self._connect = connect
        self._listener = listener
        self._most = most
        self._made = 0
        self._idle: list[Line] = []
        self._asking: dict[Line, _Batch] = {}
        self._backlog: deque[_Batch] = deque()
        self._under_way = 0
        self._all_answered = asyncio.Event()

    def send(self, asked: Sequence[Asked], due_s: float) -> None:
        """Ask all of it over one connection. What is not answered at `due_s` fails, and the connection with it."""
        self._under_way += 1
        batch = _Batch(asked, due_s)
        while self._idle:
            line = self._idle.pop()
            if line.open:
                self._ask(line, batch)
                return
        if self._made < self._most:
            self._made += 1
            detach(self._ask_over_another(batch), name="connect to Redis")
            return
        # each of the others has to be answered sooner, so that this one is taken up before it is due
        self._backlog.append(batch)

    @property
    def quiet(self) -> bool:
        """Whether no answer is waited for."""
        return not self._under_way

    async def close(self) -> None:
        """Wait until all is answered that was asked, and close every connection."""
        while self._under_way:
            self._all_answered.clear()
            await self._all_answered.wait()
        for line in tuple(self._idle):
            line.close(ConnectionResetError())

    def heard(self, asked: Asked, answer: object) -> None:
        """See `Owner`."""
        self._listener.heard(asked, answer)

    def free(self, line: Line) -> None:
        """See `Owner`."""
        del self._asking[line]
        self._ended()
        if self._backlog:
            self._ask(line, self._backlog.popleft())
        else:
            self._idle.append(line)

    def lost(self, line: Line, unanswered: Sequence[Asked], error: Exception) -> None:
        """See `Owner`."""
        self._made -= 1
        batch = self._asking.pop(line, None)
        if batch is None:
            if line in self._idle:
                self._idle.remove(line)
            return
        self._listener.failed(unanswered, error, batch.due_s)
        self._ended()
        self._go_on()

    def _ask(self, line: Line, batch: _Batch) -> None:
        self._asking[line] = batch
        line.ask(batch.asked, batch.due_s)

    async def _ask_over_another(self, batch: _Batch) -> None:
        """Ask over a connection that is yet to be made."""
        try:
            async with asyncio.timeout_at(batch.due_s):
                line = Line(await self._connect(), self)
        except BaseException as error:
            self._made -= 1
            self._listener.failed(batch.asked, error, batch.due_s)
            self._ended()
            self._go_on()
            if not isinstance(error, RedisError | OSError | TimeoutError):
                raise
        else:
            self._ask(line, batch)

    def _go_on(self) -> None:
        """A connection fewer there is: make another for who waits for one."""
        if self._backlog:
            self._made += 1
            detach(self._ask_over_another(self._backlog.popleft()), name="connect to Redis")

    def _ended(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._all_answered.set()
