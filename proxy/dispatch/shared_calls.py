"""Equal questions asked at the same moment: one upstream call, whose answer all who wait for it get.

The call belongs to nobody's connection. It goes on while anybody wants it, and ends when the last one has left. What
it uses is counted once, for whoever is first among those still there.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from proxy.clock import Clock
from proxy.dispatch.attempt import StreamOpened, UnaryOpened
from proxy.dispatch.cache import AnswerCache, KeptAnswer, gathered, id_in, new_id, renamed
from proxy.dispatch.cache_key import CacheKey
from proxy.dispatch.dispatcher import Dispatcher
from proxy.dispatch.hold import Hold
from proxy.dispatch.streams import StreamCut
from proxy.dispatch.trace import HIT, MISS, SUCCESS, Trace
from proxy.errors import ErrorKind, GatewayError
from proxy.exchange import Exchange
from proxy.pool import Abandoned, Failed, Outcome, Success, after_commit
from proxy.tasks import spawn
from proxy.watch import Watch

_BATCH_BYTES: Final = 64 * 1024
_AHEAD_BYTES: Final = 256 * 1024
"""How far an answer that is not kept may run ahead of its slowest reader."""

_SILENCE_S: Final = 60.0


class Seat(Protocol):
    """Where one client takes its answer from; for streams see `proxy.server.respond.Frames`."""

    @property
    def over(self) -> bool:
        """Whether the answer is whole and all of it has been handed out."""
        ...

    async def frames(self, silence_s: float) -> bytes | None:
        """The next frames; None after the whole answer; empty when `silence_s` seconds passed without any.

        Raises StreamCut.
        """
        ...

    async def opened(self) -> None:
        """Return when there is something to send. Raises what the client is to be told instead."""
        ...

    def leave(self) -> Trace:
        """The client has its answer, or wants it no more. Gives the story its request answers for."""
        ...


class KeptSeat:
    """An answer from memory. See `Seat`."""

    def __init__(self, kept: KeptAnswer, exchange: Exchange, trace: Trace) -> None:
        """`trace` is told whose answer it is."""
        self._kept = kept
        self._id = new_id(kept.id, exchange.id)
        self._next = 0
        self._trace = trace
        trace.cache = HIT
        trace.credential, trace.model, trace.dropped = kept.credential, kept.model, kept.dropped
        trace.stop_reason = kept.stop_reason

    @property
    def over(self) -> bool:
        """See `Seat.over`."""
        return self._next >= len(self._kept.pieces)

    async def frames(self, silence_s: float) -> bytes | None:  # noqa: ARG002 - there is never any
        """See `Seat.frames`."""
        if self.over:
            return None
        self._next += 1
        return renamed(self._kept.pieces[self._next - 1], self._kept.id, self._id)

    async def opened(self) -> None:
        """See `Seat.opened`."""

    def leave(self) -> Trace:
        """See `Seat.leave`."""
        return self._trace


class Caller(msgspec.Struct, frozen=True):
    """One of those who ask.

    Attributes:
        exchange: its own call.
        trace: its own story.
        hold: its side of the exchange.
        watch: its time limits.
    """

    exchange: Exchange
    trace: Trace
    hold: Hold
    watch: Watch


class CallSeat:
    """A place at a call that is under way. See `Seat`.

    Attributes:
        caller: whose it is.
        pays: whether what the call uses is counted for this one.
        next: the number of the first piece it has not been handed out.
    """

    def __init__(self, call: "SharedCall", caller: Caller, *, pays: bool) -> None:
        self._call = call
        self._news = asyncio.Event()
        self._id = ""
        self.caller = caller
        self.pays = pays
        self.next = 0

    @property
    def over(self) -> bool:
        """See `Seat.over`."""
        return self._call.whole and self.next >= self._call.pieces

    async def frames(self, silence_s: float) -> bytes | None:
        """See `Seat.frames`."""
        call = self._call
        while not (found := call.from_piece(self.next)):
            if call.ended:
                call.raise_fault()
                return None
            try:
                await self.caller.watch.within(silence_s, self.news())
            except TimeoutError:
                return b""
        self.next += len(found)
        call.handed_out()
        said = b"".join(found)
        if call.exchange is self.caller.exchange:
            return said
        if not self._id:
            self._id = new_id(call.answer_id, self.caller.exchange.id)
        return renamed(said, call.answer_id, self._id)

    async def opened(self) -> None:
        """See `Seat.opened`."""
        call = self._call
        while not call.opened:
            if call.ended:
                call.raise_fault()
            await self.news()

    async def news(self) -> None:
        """Return when something has changed."""
        self._news.clear()
        await self._news.wait()

    def told(self) -> None:
        """Something has changed."""
        self._news.set()

    def leave(self) -> Trace:
        """See `Seat.leave`."""
        return self._call.leave(self)


class SharedCall:
    """One upstream call for all who ask the same. Towards the dispatcher it is the client's side, see `Hold`.

    Attributes:
        exchange: the call of the one who came first, as which it is made.
        answer_id: what the answer is called; empty until it is known.
        opened: whether an upstream has answered.
        ended: whether nothing more will come.
        whole: whether the answer has come to its end.
        pieces: how many there are so far.
    """

    def __init__(
        self, key: CacheKey, first: Caller, *, cache: AnswerCache, dispatcher: Dispatcher, clock: Clock
    ) -> None:
        """To be started by `start`."""
        self._key = key
        self._cache = cache
        self._dispatcher = dispatcher
        self._clock = clock
        self._trace = first.trace
        self._asked_model = first.exchange.model
        self._seats: list[CallSeat] = []
        self._kept: list[bytes] = []
        self._forgotten = 0
        self._claimed_bytes = 0
        self._recording = True
        self._in_flight = False
        self._room = asyncio.Event()
        self._fault: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self.exchange = first.exchange
        self.answer_id = ""
        self.opened = self.ended = self.whole = False
        self.pieces = 0

    def start(self, first: Caller) -> CallSeat:
        """Make the call; from now on others can join. Gives the place of the one who came first."""
        first.trace.cache = MISS
        seat = CallSeat(self, first, pays=True)
        self._seats.append(seat)
        self._cache.calls[self._key] = self
        self._task = spawn(self._run(), name="ask for several clients")
        return seat

    def join(self, caller: Caller) -> CallSeat:
        """A place for one more; it gets all of the answer, also what has come already."""
        caller.trace.cache = HIT
        caller.exchange.body = b""
        seat = CallSeat(self, caller, pays=False)
        self._seats.append(seat)
        self._tell_story(seat)
        if self._in_flight:
            caller.hold.attempt_started()
        return seat

    def leave(self, seat: CallSeat) -> Trace:
        """See `Seat.leave`; the last one ends the call."""
        self._seats.remove(seat)
        self._room.set()
        if not self._seats:
            self._end_unheard()
        elif seat.pays and not self.ended:
            seat.pays, self._seats[0].pays = False, True
            return Trace(cache=seat.caller.trace.cache, first_event_s=self._trace.first_event_s)
        if not seat.pays:
            return seat.caller.trace
        self._trace.cache = seat.caller.trace.cache
        return self._trace

    @property
    def committed(self) -> bool:
        """See `Hold.committed`: whether any of the clients has its headers."""
        return any(seat.caller.hold.committed for seat in self._seats)

    def attempt_started(self) -> None:
        """See `Hold.attempt_started`."""
        self._in_flight = True
        for seat in self._seats:
            self._tell_story(seat)
            seat.caller.hold.attempt_started()

    def attempt_ended(self) -> None:
        """See `Hold.attempt_ended`."""
        self._in_flight = False
        for seat in self._seats:
            seat.caller.hold.attempt_ended()

    def from_piece(self, number: int) -> list[bytes]:
        """The next pieces from one on, of about 64 KiB together; none where they have not come yet."""
        found: list[bytes] = []
        left_bytes = _BATCH_BYTES
        for piece in self._kept[number - self._forgotten :] if number < self.pieces else ():
            if found and len(piece) > left_bytes:
                break
            left_bytes -= len(piece)
            found.append(piece)
        return found

    def handed_out(self) -> None:
        """Somebody has been given something."""
        if not self._recording:
            self._room.set()

    def raise_fault(self) -> None:
        """Raise what ended the call, unless it was the end of the answer."""
        if isinstance(self._fault, StreamCut):
            raise StreamCut(self._fault.failure, self._fault.shown)
        if self._fault is not None:
            raise self._fault

    def _tell_story(self, seat: CallSeat) -> None:
        """Tell one of those who joined what its headers say."""
        told = seat.caller.trace
        if told is not self._trace:
            told.credential, told.model, told.dropped = (
                self._trace.credential,
                self._trace.model,
                self._trace.dropped,
            )

    async def _run(self) -> None:
        watch = Watch()
        try:
            opened = await self._dispatcher.open(self.exchange, self._trace, self, watch)
            self._came(opened)
            if isinstance(opened, StreamOpened):
                await self._read(opened)
            else:
                await self._take_whole(opened)
        except asyncio.CancelledError:
            self._fault = GatewayError(
                503, ErrorKind.OVERLOADED, "server shutting down", code="server_shutdown"
            )
            raise
        except Exception as error:  # noqa: BLE001 - it is raised to everybody who waits
            self._fault = error
        finally:
            watch.close()
            self._finish()

    def _came(self, opened: UnaryOpened | StreamOpened) -> None:
        """An upstream has answered: nothing of the request is needed any more."""
        self._trace.upstream_request_id = opened.source.request_id
        self._trace.first_event_s = self._clock.monotonic_s()
        self.exchange.body = b""
        for seat in self._seats:
            self._tell_story(seat)

    async def _take_whole(self, opened: UnaryOpened) -> None:
        self._dispatcher.end(opened, Success())
        trace = self._trace
        trace.outcome, trace.usage, trace.stop_reason = SUCCESS, opened.usage, opened.stop_reason
        self.opened = self.whole = True
        await self._take(opened.body)
        self._keep(opened)

    async def _read(self, opened: StreamOpened) -> None:
        """Read the answer to its end, or to where it breaks off."""
        outcome: Outcome = Abandoned()
        stream, trace = opened.stream, self._trace
        self.opened = True
        self._tell_all(CallSeat.told)
        try:
            while not self.whole and (piece := await stream.frames(_SILENCE_S)) is not None:
                self.whole = stream.over
                if piece:
                    await self._take(piece)
            self.whole = True
            outcome, trace.outcome = Success(), SUCCESS
        except StreamCut as cut:
            self._fault = cut
            outcome, trace.outcome = Failed(cut.failure), after_commit(cut.failure).cls.value
        finally:
            trace.usage, trace.stop_reason = stream.observed.usage, stream.observed.stop_reason
            self._dispatcher.end(opened, outcome)
        if self.whole:
            self._keep(opened)

    async def _take(self, piece: bytes) -> None:
        """Put a piece where all can read it; wait for the slowest where it is not kept."""
        if not self.pieces:
            self.answer_id = id_in(piece)
        self._kept.append(piece)
        self.pieces += 1
        if self._recording:
            self._record(len(piece))
        self._tell_all(CallSeat.told)
        while not self._recording and not self.whole and self._seats:
            slowest = min(seat.next for seat in self._seats)
            del self._kept[: max(slowest - self._forgotten, 0)]
            self._forgotten = max(slowest, self._forgotten)
            if sum(map(len, self._kept)) <= _AHEAD_BYTES:
                return
            self._room.clear()
            await self._room.wait()

    def _record(self, size_bytes: int) -> None:
        """Count a piece; an answer that has grown too long is not kept, and nobody can join it any more."""
        cache = self._cache
        if self._claimed_bytes + size_bytes <= cache.answer_max_bytes and cache.claim(size_bytes):
            self._claimed_bytes += size_bytes
            return
        self._recording = False
        self._close()
        self._give_back()

    def _keep(self, opened: UnaryOpened | StreamOpened) -> None:
        """Keep the answer, unless it came from who only stands in for somebody else."""
        self._give_back()
        if not self._recording or opened.lease.member.fallback or self.exchange.model != self._asked_model:
            return
        trace = self._trace
        self._cache.keep(
            self._key,
            KeptAnswer(
                gathered(self._kept),
                self.answer_id,
                trace.credential,
                trace.model,
                trace.dropped,
                trace.stop_reason,
            ),
        )

    def _end_unheard(self) -> None:
        """Nobody is left: end the call, if it has not ended, with what it has used so far."""
        if self.ended or self._task is None:
            return
        self._close()
        if self.opened and (observed := self._trace.observed) is not None and self._trace.usage is None:
            self._trace.usage, self._trace.stop_reason = observed.usage, observed.stop_reason
        self._task.cancel()

    def _finish(self) -> None:
        self.ended = True
        self._close()
        self._give_back()
        self._tell_all(CallSeat.told)

    def _close(self) -> None:
        """Let nobody join any more."""
        if self._cache.calls.get(self._key) is self:
            del self._cache.calls[self._key]

    def _give_back(self) -> None:
        self._cache.release(self._claimed_bytes)
        self._claimed_bytes = 0

    def _tell_all(self, tell: Callable[[CallSeat], None]) -> None:
        for seat in self._seats:
            tell(seat)
