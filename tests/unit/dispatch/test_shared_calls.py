"""Several who ask the same share one upstream call; none of them depends on another's connection."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from proxy.clock import SystemClock
from proxy.dispatch.cache import AnswerCache
from proxy.dispatch.cache_key import CacheKey
from proxy.dispatch.shared_calls import Caller, CallSeat, KeptSeat, SharedCall
from proxy.dispatch.streams import StreamCut
from proxy.dispatch.trace import HIT, MISS, SUCCESS, Trace
from proxy.errors import GatewayError
from proxy.pool import FailureClass, Fault
from proxy.settings import CacheSettings
from proxy.tasks import spawn
from proxy.watch import Watch
from tests.unit.dispatch.asking import Client
from tests.unit.dispatch.building import (
    HELLO,
    MESSAGE,
    OPEN,
    START,
    WHOLE,
    Answer,
    Bench,
    Chunk,
    ScriptedReply,
    bench,
    body,
    credential,
    exchange,
    refused,
    streamed,
    whole,
)

_KEY = CacheKey("one", b"question")
_MIB = 1024 * 1024


@dataclass(slots=True)
class PacedReply(ScriptedReply):
    """An answer whose next piece comes when it is let go."""

    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def read(self) -> bytes:
        """See `ByteReply.read`."""
        await self.gate.acquire()
        return await ScriptedReply.read(self)

    def let_go(self, pieces: int = 1) -> None:
        """Let so many pieces come."""
        for _ in range(pieces):
            self.gate.release()


class Room:
    """A dispatcher with a cache, and clients that ask it the same question.

    Attributes:
        house: the dispatcher and what is behind it.
        cache: where answers are kept.
    """

    def __init__(self, *answers: Answer, size: int = 64 * _MIB, stream: bool = True, **more: object) -> None:
        self.house: Bench = bench(*answers, **more)  # type: ignore[arg-type]  # numbers of a policy
        settings = CacheSettings(enabled=True, max_bytes=size)
        self.cache = AnswerCache(settings, SystemClock())
        self._stream = stream
        self._watches: list[Watch] = []
        self._number = 0

    def sit(self, *, client: Client | None = None) -> CallSeat | KeptSeat:
        """A further client, with an id of its own."""
        self._number += 1
        watch = Watch()
        self._watches.append(watch)
        call = exchange(body(stream=self._stream), id=f"req_{self._number:024x}")
        caller = Caller(call, Trace(), client or Client(), watch)
        if (kept := self.cache.find(_KEY)) is not None:
            return KeptSeat(kept, call, caller.trace)
        if (running := self.cache.calls.get(_KEY)) is not None:
            return running.join(caller)
        made = SharedCall(
            _KEY, caller, cache=self.cache, dispatcher=self.house.dispatcher, clock=self.house.clock
        )
        return made.start(caller)

    def close(self) -> None:
        """Watch no more."""
        for watch in self._watches:
            watch.close()


async def _read(seat: CallSeat | KeptSeat) -> bytes:
    """All a client gets."""
    await seat.opened()
    said = b""
    while not seat.over and (piece := await seat.frames(math.inf)) is not None:
        said += piece
    return said


async def _turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _paced(*chunks: Chunk) -> PacedReply:
    return PacedReply(list(chunks))


def _named(pieces: Sequence[bytes], number: int) -> bytes:
    """The answer as the client of this number reads it."""
    name = b"msg_1" if number == 1 else b"msg_%024x" % number
    return b"".join(pieces).replace(b'"msg_1"', b'"%b"' % name)


async def test_one_call_answers_all_who_ask_at_the_same_moment_or_later() -> None:
    """Protects the bill: one call, one cost, and an id of its own for each answer."""
    reply = _paced(*WHOLE)
    room = Room(reply)
    seats = [room.sit(), room.sit()]
    await _turns()
    reply.let_go(3)
    await _turns()
    seats.append(room.sit())
    reply.let_go(5)
    assert [await _read(seat) for seat in seats] == [_named(WHOLE, number) for number in (1, 2, 3)]
    traces = [seat.leave() for seat in seats]
    late = room.sit()
    assert await _read(late) == _named(WHOLE, 4)
    traces.append(late.leave())
    assert [trace.cache for trace in traces] == [MISS, HIT, HIT, HIT]
    assert [trace.attempts for trace in traces] == [1, 0, 0, 0]
    assert [trace.usage is not None for trace in traces] == [True, False, False, False]
    assert {trace.credential for trace in traces} == {"api-1"}
    assert len(room.house.upstream.calls) == 1
    assert (room.house.pool.in_flight, room.cache.calls, reply.closed) == (0, {}, 1)
    room.close()


async def test_a_whole_answer_is_shared_too() -> None:
    """Protects clients that read no streams."""
    room = Room(whole(), stream=False)
    seats = [room.sit() for _ in range(3)]
    assert [await _read(seat) for seat in seats] == [_named([MESSAGE], number) for number in (1, 2, 3)]
    assert sum(trace.attempts for trace in [seat.leave() for seat in seats]) == 1
    assert await _read(room.sit()) == _named([MESSAGE], 4)
    assert room.house.pool.in_flight == 0
    room.close()


async def test_a_first_one_that_leaves_cuts_nobody_and_its_heir_pays() -> None:
    """Protects those who joined, and the books: what is used is counted once, whoever is still there."""
    reply = _paced(*WHOLE)
    room = Room(reply)
    first, second, third = (room.sit() for _ in range(3))
    await _turns()
    reply.let_go(2)
    await _turns()
    left = first.leave()
    assert (left.attempts, left.usage, left.cache) == (0, None, MISS)
    reply.let_go(6)
    assert await _read(second) == _named(WHOLE, 2)
    assert await _read(third) == _named(WHOLE, 3)
    unpaid, paid = third.leave(), second.leave()
    assert (paid.attempts, paid.outcome, paid.cache) == (1, SUCCESS, HIT)
    assert paid.usage is not None
    assert (paid.usage.output_tokens, unpaid.attempts, unpaid.usage) == (7, 0, None)
    assert room.cache.find(_KEY) is not None
    room.close()


async def test_the_last_one_to_leave_ends_the_call_and_pays_for_what_came() -> None:
    """Protects the bill from answers that nobody reads."""
    reply = _paced(*WHOLE)
    room = Room(reply, _paced())
    seats = [room.sit() for _ in range(2)]
    await _turns()
    reply.let_go(1)
    await _turns()
    seats[1].leave()
    assert room.house.pool.in_flight == 1
    paid = seats[0].leave()
    assert room.cache.calls == {}
    assert paid.usage is not None
    assert (paid.attempts, paid.usage.input_tokens, paid.usage.output_tokens) == (1, 3, 1)
    await _turns()
    assert (room.house.pool.in_flight, reply.closed, room.cache.size_bytes) == (0, 1, 0)
    again = room.sit()
    await _turns()
    assert len(room.house.upstream.calls) == 2
    again.leave()
    await _turns()
    room.close()


async def test_a_fault_before_the_beginning_is_told_to_all_and_not_kept() -> None:
    """Protects the next one who asks from a fault that may be over."""
    room = Room(refused(400, message="max_tokens: no"), streamed(*WHOLE))
    seats = [room.sit() for _ in range(3)]
    for seat in seats:
        with pytest.raises(GatewayError, match="max_tokens: no"):
            await _read(seat)
    assert [seat.leave().attempts for seat in seats] == [1, 0, 0]
    assert room.cache.entries() == 0
    assert await _read(room.sit()) == _named(WHOLE, 1)
    room.close()


async def test_a_fault_in_the_middle_ends_all_as_faults_do_and_is_not_kept() -> None:
    """Protects clients from half an answer that looks whole, now and later."""
    room = Room(streamed(START, OPEN, HELLO, Fault.RESET), streamed(*WHOLE))
    seats = [room.sit() for _ in range(2)]
    for number, seat in enumerate(seats, 1):
        await seat.opened()
        assert await seat.frames(math.inf) == _named([START, OPEN, HELLO], number)
        with pytest.raises(StreamCut) as caught:
            await seat.frames(math.inf)
        assert caught.value.failure.cls is FailureClass.SERVER
        assert not seat.over
    first = seats[0].leave()
    assert first.outcome != SUCCESS
    assert first.usage is not None
    assert room.cache.entries() == 0
    room.house.clock.advance(100)
    assert await _read(room.sit()) == _named(WHOLE, 1)
    room.close()


async def test_nothing_is_tried_again_once_any_client_has_its_headers() -> None:
    """Protects a client that has its headers from an answer of somebody they do not name."""
    room = Room(Fault.RESET, streamed(*WHOLE))
    seats = [room.sit(), room.sit(client=Client(commit_at=1))]
    for seat in seats:
        with pytest.raises(GatewayError):
            await _read(seat)
    assert len(room.house.upstream.calls) == 1
    room.close()


async def test_all_are_told_of_attempts_also_who_joins_during_one() -> None:
    """Protects clients that wait long: their headers may go out while an attempt is under way, and name it."""
    reply = _paced(*WHOLE)
    room = Room(Fault.RESET, reply)
    clients = [Client(), Client()]
    seats = [room.sit(client=clients[0])]
    await _turns()
    seats.append(room.sit(client=clients[1]))
    reply.let_go(8)
    for seat in seats:
        await _read(seat)
    assert clients[0].moments == ["started", "ended", "started"]
    assert clients[1].moments[-1] == "started"
    joined = seats[1].leave()
    assert joined.credential == "api-2"
    room.close()


async def test_a_silent_call_gives_its_clients_time_for_a_keep_alive() -> None:
    """Protects streams from being taken for dead while the model thinks."""
    reply = _paced(*WHOLE)
    room = Room(reply)
    seats = [room.sit(), room.sit()]
    await _turns()
    reply.let_go(1)
    for seat in seats:
        await seat.opened()
        assert await seat.frames(0.0)
        assert await seat.frames(0.0) == b""
    reply.let_go(6)
    assert (await _read(seats[0])).endswith(WHOLE[-1])
    for seat in seats:
        seat.leave()
    room.close()


async def test_an_answer_that_grows_too_long_is_shared_but_not_kept_and_waits_for_its_slowest_reader() -> (
    None
):
    """Protects memory: what is not kept is forgotten as soon as all have it."""
    much = b": " + b"x" * 50_000 + b"\n\n"
    pieces = [START, OPEN, *[much] * 30, *WHOLE[2:]]
    room = Room(streamed(*pieces), streamed(*WHOLE), size=_MIB)
    quick, slow = room.sit(), room.sit()
    await quick.opened()
    said = b""
    while piece := await quick.frames(0.0):
        said += piece
    call = room.house.upstream
    assert len(said) < 30 * len(much)
    assert room.cache.calls == {}
    assert room.cache.size_bytes <= _MIB // 8
    other = room.sit()
    await _turns()
    assert len(call.calls) == 2
    rest, everything = await asyncio.gather(_read(quick), _read(slow))
    assert said + rest == _named(pieces, 1)
    assert everything == _named(pieces, 2)
    for seat in (quick, slow):
        seat.leave()
    assert await _read(other)
    assert [each.size_bytes < 10_000 for each in [room.cache.find(_KEY)] if each is not None] == [True]
    room.close()


async def test_a_slow_reader_that_leaves_holds_nobody_up() -> None:
    """Protects the others from a client that has gone."""
    much = b": " + b"x" * 50_000 + b"\n\n"
    pieces = [START, OPEN, *[much] * 30, *WHOLE[2:]]
    room = Room(streamed(*pieces), size=_MIB)
    quick, slow = room.sit(), room.sit()
    reading = spawn(_read(quick), name="a quick reader")
    await _turns(100)
    assert not reading.done()
    slow.leave()
    assert await reading == _named(pieces, 1)
    quick.leave()
    room.close()


async def test_the_answer_of_a_stand_in_is_not_kept() -> None:
    """Protects clients from another provider's answer after their own is back."""
    members = [credential("other", fallback=True)]
    room = Room(streamed(*WHOLE), streamed(*WHOLE), credentials=members)
    assert await _read(room.sit()) == _named(WHOLE, 1)
    assert room.cache.entries() == 0
    await _read(room.sit())
    assert len(room.house.upstream.calls) == 2
    room.close()


async def test_the_answer_of_another_model_is_not_kept() -> None:
    """Protects clients from a lesser model's answer after their own model is back."""
    room = Room(
        *[refused(404, message="model: none")] * 3,
        streamed(*WHOLE),
        fallbacks=(("claude-sonnet-5-5", "claude-haiku-5-5"),),
    )
    assert await _read(room.sit()) == _named(WHOLE, 1)
    assert room.cache.entries() == 0
    room.close()
