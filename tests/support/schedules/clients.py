"""Clients that ask the real dispatcher while a plan goes on, and what each of them was told."""

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from proxy.credentials import Kind
from proxy.dispatch.attempt import StreamOpened, UnaryOpened
from proxy.dispatch.dispatcher import Dispatcher, Tools
from proxy.dispatch.journal import Journal
from proxy.dispatch.places import Places
from proxy.dispatch.streams import StreamCut
from proxy.dispatch.thinking import ThinkingMemory
from proxy.dispatch.trace import Trace
from proxy.errors import GatewayError
from proxy.exchange import Exchange
from proxy.model.aliases import AliasRules
from proxy.model.names import ModelNames
from proxy.pool import Abandoned, Failed, MemberView, Outcome, Pool, Success
from proxy.tasks import spawn
from proxy.watch import Watch
from tests.support.schedules.plan import Asked, Plan
from tests.support.schedules.upstream import Call, End, PlannedUpstream, answer_text
from tests.support.simulated_time import SimulatedClock, run_simulated
from tests.unit.dispatch.building import (
    ANTHROPIC,
    CATALOG,
    CHAT,
    NO_DEFAULTS,
    MemoryStore,
    body,
    exchange,
)

_QUEUE: Final = re.compile(r"Queue: (\d+)")
_TEXT_DELTA: Final = re.compile(rb'"text":"([^"]*)"')
_CONTENT_DELTA: Final = re.compile(rb'"content":"([^"]*)"')


@dataclass(slots=True, eq=False)
class Told:
    """What became of one request.

    Attributes:
        asked: the request.
        began_s: monotonic seconds when it came.
        ended_s: when its client had all it got.
        error: what the client was told instead of an answer, or in the middle of one.
        cut: whether that was in the middle of an answer.
        answer: the text of a whole answer; None for none.
        committed_s: when a streaming client got its headers; None if it never did.
        left: whether the client left.
        views: all credentials at the moment of the error.
        waiting: requests in the queue at that moment.
        panic: whether credentials were in use at that moment only because too many had failed.
    """

    asked: Asked
    began_s: float
    ended_s: float = float("inf")
    error: GatewayError | None = None
    cut: bool = False
    answer: str | None = None
    committed_s: float | None = None
    left: bool = False
    views: Sequence[MemberView] = ()
    waiting: int = 0
    panic: bool = False


@dataclass(slots=True)
class Happened:
    """What one plan brought about."""

    plan: Plan
    start_s: float
    calls: list[Call] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    in_flight: int = 0


class _Listener:
    """A client's side, see `proxy.dispatch.dispatcher.Hold`: headers go out with the first event or after a time."""

    def __init__(self, told: Told, clock: SimulatedClock, watch: Watch, hold_back_s: float) -> None:
        self._told = told
        self._clock = clock
        self._in_flight = False
        self._due = False
        if told.asked.stream:
            watch.alarm(hold_back_s, self._over)

    @property
    def committed(self) -> bool:
        """Whether the client has its headers."""
        return self._told.committed_s is not None

    def attempt_started(self) -> None:
        """See `Hold.attempt_started`."""
        self._in_flight = True
        if self._due:
            self.commit()

    def attempt_ended(self) -> None:
        """See `Hold.attempt_ended`."""
        self._in_flight = False

    def commit(self) -> None:
        """The headers go out."""
        self._due = False
        if self._told.committed_s is None:
            self._told.committed_s = self._clock.now_s

    def _over(self) -> None:
        self._due = True
        if self._in_flight:
            self.commit()


class _Minute:
    """One plan while it runs."""

    def __init__(self, plan: Plan, clock: SimulatedClock) -> None:
        rng = random.Random(plan.seed)
        members = [account.credential for account in plan.accounts]
        self.plan = plan
        self.clock = clock
        self.happened = Happened(plan, clock.now_s)
        self.upstream = PlannedUpstream(plan, clock, rng, clock.now_s, self.happened.calls)
        self.pool = Pool(members, policy=plan.policy, clock=clock, rng=rng)
        journal = Journal(MemoryStore(), clock, {one.name: one.name for one in members})
        self.places = Places(self.pool, plan.policy, journal)
        self.dispatcher = Dispatcher(
            Tools(
                pool=self.pool,
                places=self.places,
                journal=journal,
                upstreams={Kind.ANTHROPIC: self.upstream},
                catalog=CATALOG,
                names=ModelNames(CATALOG, AliasRules(), clock),
                policy=plan.policy,
                clock=clock,
                rng=rng,
                defaults=NO_DEFAULTS,
                memory=ThinkingMemory(clock),
            )
        )

    async def run(self) -> Happened:
        """All requests, each at its time, to the end of the last one."""
        sweeper = spawn(self.places.sweep_for_ever(), name="sweep")
        clients = [spawn(self._client(asked), name=f"client {asked.number}") for asked in self.plan.requests]
        await asyncio.gather(*clients)
        sweeper.cancel()
        self.happened.in_flight = self.pool.in_flight
        return self.happened

    async def _client(self, asked: Asked) -> None:
        await asyncio.sleep(asked.at_s)
        told = Told(asked, self.clock.now_s)
        self.happened.told.append(told)
        asking = spawn(self._ask(told), name=f"request {asked.number}")
        if asked.patience_s is not None:
            await asyncio.wait([asking], timeout=asked.patience_s)
            if not asking.done():
                self._leave(told, asking)
        await asyncio.wait([asking])
        told.ended_s = self.clock.now_s
        if not asking.cancelled():
            asking.result()

    def _leave(self, told: Told, asking: "asyncio.Task[None]") -> None:
        told.left = True
        for call in self.happened.calls:
            if call.request == told.asked.number:
                self.upstream.ended(call, End.LEFT)
        asking.cancel()

    async def _ask(self, told: Told) -> None:
        watch = Watch()
        listener = _Listener(told, self.clock, watch, self.plan.policy.hold_back_s)
        call = self._exchange(told.asked)
        try:
            opened = await self.dispatcher.open(call, Trace(), listener, watch)
            if isinstance(opened, UnaryOpened):
                self.dispatcher.end(opened, Success())
                told.answer = _unary_text(opened.body, chat=told.asked.chat)
            else:
                listener.commit()
                await self._relay(told, opened)
        except GatewayError as error:
            told.error = error
            told.views = self.pool.snapshot()
            told.panic = self.pool.panic
            found = _QUEUE.search(repr(self.pool))
            told.waiting = int(found[1]) if found else 0
        finally:
            watch.close()

    async def _relay(self, told: Told, opened: StreamOpened) -> None:
        outcome: Outcome = Abandoned()
        body = b""
        try:
            while (chunk := await opened.stream.frames(self.plan.policy.keep_alive_s)) is not None:
                body += chunk
                if opened.stream.over:
                    break
            outcome = Success()
            told.answer = _streamed_text(body, chat=told.asked.chat)
        except StreamCut as cut:
            outcome = Failed(cut.failure)
            told.error = cut.shown
            told.cut = True
        finally:
            self.dispatcher.end(opened, outcome)

    def _exchange(self, asked: Asked) -> Exchange:
        question = [{"role": "user", "content": f"Question {asked.number}."}]
        raw = body(messages=question, stream=True) if asked.stream else body(messages=question)
        return exchange(
            raw,
            dialect=CHAT if asked.chat else ANTHROPIC,
            id=f"req_{asked.number}",
            started_s=self.clock.now_s,
            deadline_s=self.clock.now_s + self.plan.policy.deadline_s,
        )


def happened(plan: Plan) -> Happened:
    """Let a plan happen in simulated time."""

    async def minute(clock: SimulatedClock) -> Happened:
        return await _Minute(plan, clock).run()

    return run_simulated(minute)


class _Said(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Said
    finish_reason: str


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Block(msgspec.Struct):
    text: str


class _Message(msgspec.Struct):
    content: list[_Block]
    stop_reason: str


def _unary_text(raw: bytes, *, chat: bool) -> str:
    if chat:
        return "".join(one.message.content for one in msgspec.json.decode(raw, type=_Completion).choices)
    return "".join(one.text for one in msgspec.json.decode(raw, type=_Message).content)


def _streamed_text(raw: bytes, *, chat: bool) -> str | None:
    """The text of a stream that has its proper end, else None."""
    end = b"data: [DONE]\n\n" if chat else b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    if not raw.endswith(end) or b"error" in raw:
        return None
    found = (_CONTENT_DELTA if chat else _TEXT_DELTA).findall(raw)
    return b"".join(found).decode()


def is_whole(told: Told) -> bool:
    """Whether the answer is all that the upstream had to say."""
    return told.answer == answer_text(told.asked.number)
