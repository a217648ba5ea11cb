"""The children that are there: as few as will do, kept while they are of use, and never more than are allowed."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.credentials import Credential, Kind
from proxy.log import get_logger
from proxy.model.request import InputMessage
from proxy.pool import UpstreamError
from proxy.tasks import detach
from proxy.upstreams.base import Source, UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.asked import Asked, digest
from proxy.upstreams.claude_code.program import Program
from proxy.upstreams.claude_code.session import Means, Session, Sort
from proxy.upstreams.claude_code.turn import Turn

_log = get_logger("claude_code")
_LOOK_EVERY_S: Final = 5.0
_SETTLING_S: Final = 5.0
_ANSWERING_S: Final = 2.0
_PAUSE_S: Final = 0.5
_REMEMBERED_SORTS: Final = 256
_PAGE_BYTES: Final = 4096


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How many children there are, and for how long.

    Attributes:
        processes: most of them at one time, whatever they do.
        starts: most that start at one time, which is what costs.
        keeps: whether one serves more than one request.
        idle_s: seconds without a question after which one is ended.
        turns: questions after which one is ended.
        memory_max_bytes: resident size above which one is ended.
        waiting_s: longest wait for one while all are busy.
    """

    processes: int
    starts: int
    keeps: bool = True
    idle_s: float = 300.0
    turns: int = 50
    memory_max_bytes: int = 640 * 1024 * 1024
    waiting_s: float = 30.0


class Sessions:
    """All children of all credentials of this kind."""

    def __init__(self, means: Means, limits: Limits, clock: Clock) -> None:
        self._means = means
        self._limits = limits
        self._clock = clock
        self._all: set[Session] = set()
        self._idle: list[Session] = []
        self._places = asyncio.Semaphore(limits.processes)
        self._starts = asyncio.Semaphore(limits.starts)
        self._ahead = asyncio.Lock()
        self._waiting = 0
        self._begun: dict[int, int] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many there are."""
        return len(self._all)

    async def ask(self, sort: Sort, asked: Asked, turn: Turn, program: Program) -> Session:
        """Put a request to a child that knows its history already, or to a new one.

        The child is the caller's until it is given back. Raises UpstreamFault, and UpstreamRefused while all are
        busy.
        """
        if sort.apart:
            return await self._asked_anew(sort, asked, turn, program)
        if (found := await self._taken(sort, asked)) is not None:
            try:
                await found.ask(asked, turn)
            except UpstreamFault:
                self._end(found)
            except BaseException:
                self._end(found)
                raise
            else:
                self._prepare_next(found, sort, asked, turn, program)
                return found
        session = await self._asked_anew(sort, asked, turn, program)
        self._prepare_next(session, sort, asked, turn, program)
        return session

    def give_back(self, session: Session, turn: Turn, held: bytes | None, *, waits: bool = False) -> None:
        """Take one back after its turn.

        Args:
            session: that one.
            turn: what it was asked.
            held: the digest of what it knows now, None if that is not certain.
            waits: whether it has called a tool of the client's, and waits for the result.
        """
        limits = self._limits
        if (
            held is None
            or self._closed
            or self._waiting
            or not limits.keeps
            or not session.reusable
            or session.turns >= limits.turns
        ):
            self._end(session)
            return
        session.held, session.waits = held, waits
        self._keep(session)
        detach(self._settle(session, turn), name="let Claude Code settle")

    async def look(self) -> None:
        """End those that nobody has asked for long, and forget those that ended by themselves."""
        due_s = self._clock.monotonic_s() - self._limits.idle_s
        for session in tuple(self._idle):
            if session.used_s <= due_s or (session.settled.is_set() and not session.alive):
                self._idle.remove(session)
                self._end(session)

    async def run(self) -> None:
        """Look every five seconds, for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self.look()

    async def forget(self, credential: Credential) -> None:
        """End those of a credential that are not in use."""
        for session in tuple(self._idle):
            if session.sort.credential.name == credential.name:
                self._idle.remove(session)
                self._end(session)

    async def close(self) -> None:
        """End all."""
        self._closed = True
        self._idle.clear()
        await asyncio.gather(*(self._ended(session) for session in tuple(self._all)))

    async def _taken(self, sort: Sort, asked: Asked) -> Session | None:
        held = digest(asked.history)
        for session in tuple(self._idle):
            fits = session.sort.serves(sort) if held else session.sort == sort
            if fits and session.held == held and session.owner in {"", asked.owner}:
                self._idle.remove(session)
                if await self._settled(session):
                    session.settled.clear()
                    return session
                self._end(session)
        return None

    async def _settled(self, session: Session) -> bool:
        """Wait until one that was taken can be asked. One that still starts has less time to go than a new one."""
        try:
            async with asyncio.timeout(_SETTLING_S if session.turns else None):
                await session.settled.wait()
        except TimeoutError:
            return False
        except BaseException:
            self._end(session)
            raise
        return session.alive

    async def _asked_anew(self, sort: Sort, asked: Asked, turn: Turn, program: Program) -> Session:
        if not asked.resumes:
            session = await self._made(sort, program, asked.history)
            try:
                await session.ask(asked, turn)
            except BaseException:
                self._end(session)
                raise
            return session
        question = InputMessage("user", list(asked.question))
        session = await self._made(sort, program, (*asked.history, question), turn)
        session.owner = asked.owner
        return session

    async def _made(
        self,
        sort: Sort,
        program: Program,
        history: tuple[InputMessage, ...] = (),
        begun: Turn | None = None,
    ) -> Session:
        await self._place()
        session = Session(sort, self._means)
        self._all.add(session)
        try:
            async with self._starts:
                await session.start(program, history, begun)
        except BaseException:
            self._end(session)
            raise
        return session

    async def _place(self) -> None:
        """Wait for a place, one of those that idle giving way."""
        if self._places.locked() and self._idle:
            oldest = min(self._idle, key=lambda session: session.used_s)
            self._idle.remove(oldest)
            self._end(oldest)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.waiting_s):
                await self._places.acquire()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._waiting -= 1

    def _keep(self, session: Session) -> None:
        session.used_s = self._clock.monotonic_s()
        self._idle.append(session)

    async def _settle(self, session: Session, turn: Turn) -> None:
        """Have a child that was given back ready for the next question, or end it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLING_S):
                await turn.over.wait()
        fit = turn.over.is_set() and turn.waits is session.waits and session.alive
        if fit:
            session.settled.set()
            fit = await asyncio.to_thread(_resident_bytes, session.pid) <= self._limits.memory_max_bytes
        if not fit and session in self._idle:
            self._idle.remove(session)
            self._end(session)

    def _prepare_next(self, session: Session, sort: Sort, asked: Asked, turn: Turn, program: Program) -> None:
        """Have a fresh child ready where conversations of one sort begin again and again."""
        if asked.history or not self._limits.keeps or sort.carried is not None:
            return
        name = hash(sort)
        begun = self._begun[name] = self._begun.pop(name, 0) + 1
        while len(self._begun) > _REMEMBERED_SORTS:
            del self._begun[next(iter(self._begun))]
        if begun > 1 and not self._has_spare(sort):
            detach(self._spare(session, sort, turn, program), name="start Claude Code ahead")

    def _has_spare(self, sort: Sort) -> bool:
        return any(not session.held and session.sort == sort for session in self._idle)

    async def _spare(self, asked: Session, sort: Sort, turn: Turn, program: Program) -> None:
        """Start a child nobody has asked for yet, without taking the processor from an answer under way."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWERING_S):
                await turn.over.wait()
        # a client that is a program asks its next question at once
        await asyncio.sleep(_PAUSE_S)
        async with self._ahead:
            if not self._has_spare(sort) and await self._make_room(asked):
                await self._start_spare(sort, program)

    async def _make_room(self, asked: Session) -> bool:
        """Whether there is a place nobody waits for, if need be that of whoever idles longest but for `asked`."""
        if self._places.locked() and not self._closed:
            idle = [session for session in self._idle if session is not asked]
            if not idle:
                return False
            oldest = min(idle, key=lambda session: session.used_s)
            self._idle.remove(oldest)
            await self._ended(oldest)
        return not (self._closed or self._waiting or self._places.locked())

    async def _start_spare(self, sort: Sort, program: Program) -> None:
        """Start one that can be taken at once, by whoever waits until it has started."""
        await self._places.acquire()
        session = Session(sort, self._means)
        self._all.add(session)
        self._keep(session)
        try:
            async with self._starts:
                await session.start(program)
        except UpstreamFault as problem:
            _log.info("Claude Code not started ahead", credential=sort.credential.name, problem=str(problem))
        finally:
            session.settled.set()
            if session in self._idle and (self._closed or self._waiting or not session.alive):
                self._idle.remove(session)
                self._end(session)

    def _end(self, session: Session) -> None:
        detach(self._ended(session), name="end Claude Code")

    async def _ended(self, session: Session) -> None:
        if session not in self._all:
            return
        try:
            await session.close(at_once=True)
        finally:
            if session in self._all:
                self._all.discard(session)
                self._places.release()


def _busy() -> UpstreamRefused:
    error = UpstreamError(
        status=529,
        type="overloaded_error",
        message="All Claude Code processes are busy.",
        code=None,
        headers={},
        kind=Kind.CLAUDE_CODE,
    )
    return UpstreamRefused(error, Source())


def _resident_bytes(guard: int | None) -> int:
    """The memory of the programs a guard looks after; 0 where that cannot be told."""
    try:
        children = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
        return sum(_resident_pages(child) for child in children) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def _resident_pages(process: str) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1])
