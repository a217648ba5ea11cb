"""Exchanges, upstreams that do as they are told, and a store in memory, for the tests of dispatch."""

import asyncio
import dataclasses
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from proxy.credentials import Credential, Kind
from proxy.dialects.anthropic import AnthropicDialect
from proxy.dialects.common import Dialect, Rendering
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dispatch.dispatcher import Dispatcher, Tools
from proxy.dispatch.journal import Journal
from proxy.dispatch.places import Places
from proxy.dispatch.thinking import ThinkingMemory
from proxy.exchange import Exchange, Operation
from proxy.model.aliases import AliasRules
from proxy.model.catalog import Catalog
from proxy.model.names import ModelNames
from proxy.model.tally import Dimension, Tally, TallyKey, TallyRow
from proxy.pool import Fault, Pool, UpstreamError
from proxy.settings import Policy, RequestDefaults
from proxy.store.base import Cut, HealthRow, HeldConversation, ObjectRow, OwedDeletion, StoreError
from proxy.upstreams.base import Source, UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.watch import Watch
from tests.support.access import MemoryAccess
from tests.support.clock import FakeClock
from tests.support.tables import HasTables

MODEL = "claude-sonnet-5-5"
CATALOG = Catalog.load(None)
ANTHROPIC = AnthropicDialect()
CHAT = OpenAIChatDialect()
MEMORY = ThinkingMemory(FakeClock())
NO_DEFAULTS = RequestDefaults(model=None, temperature=None, max_tokens=None, thinking_format=None)
RENDERING = Rendering(request_id="req_1", created_s=1, model=MODEL)


_Value = TypeVar("_Value")


def changed(value: _Value, changes: Mapping[str, object]) -> _Value:
    """The same value with other fields, of whichever sort its type is."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]  # it is one of the two


def frame(kind: str, **fields: object) -> bytes:
    """One event of a Messages stream."""
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"


START = frame(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
)
OPEN = frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
HELLO = frame("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})
CLOSE = frame("content_block_stop", index=0)
DELTA = frame(
    "message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 7}
)
STOP = frame("message_stop")
PING = frame("ping")
OVERLOADED = frame("error", error={"type": "overloaded_error", "message": "Overloaded"})
WHOLE = (START, OPEN, HELLO, CLOSE, DELTA, STOP)
MESSAGE = msgspec.json.encode(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 7},
    }
)


def body(**fields: object) -> bytes:
    """A small request; `fields` replace or add."""
    plain = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
    return msgspec.json.encode(plain | fields)


def exchange(raw: bytes | None = None, *, dialect: Dialect = ANTHROPIC, **changes: object) -> Exchange:
    """One client call; `changes` are fields of `Exchange`."""
    raw = body() if raw is None else raw
    plain = Exchange(
        id="req_1",
        operation=Operation.MESSAGES,
        dialect=dialect,
        envelope=dialect.peek(raw),
        body=raw,
        client="client",
        model=MODEL,
        limit_class="sonnet-5-5",
        started_s=1000.0,
        deadline_s=1600.0,
        created_s=1,
    )
    return changed(plain, changes)


@dataclass(slots=True)
class MemoryObjects:
    """Who owns what, in memory; it can be told to fail.

    Attributes:
        rows: what was saved, oldest first.
        problem: raised by every call, if set.
        forgotten_unix_ms: when the last one was forgotten.
    """

    rows: list[ObjectRow] = field(default_factory=list)
    problem: StoreError | None = None
    forgotten_unix_ms: int | None = None

    async def save(self, row: ObjectRow) -> None:
        """See `ObjectStore.save`."""
        self._check()
        self.rows.append(row)

    async def find(self, client: str, kind: str, ids: Collection[str]) -> tuple[ObjectRow, ...]:
        """See `ObjectStore.find`."""
        return tuple(row for row in self._of(client, kind) if row.id in ids)

    async def list(self, client: str, kind: str, cut: Cut) -> tuple[ObjectRow, ...] | None:
        """See `ObjectStore.list`; what was deleted bounds nothing here."""
        found = self._of(client, kind)[::-1]
        ids = [row.id for row in found]
        if (bound := cut.after or cut.before) is not None:
            if bound not in ids:
                return None
            place = ids.index(bound)
            found = found[place + 1 :] if cut.after else found[:place][-cut.most :]
        return tuple(found[: cut.most])

    async def forget(self, client: str, kind: str, id: str, now_unix_ms: int) -> None:  # noqa: A002 - the wire's own word
        """See `ObjectStore.forget`."""
        self._check()
        self.forgotten_unix_ms = now_unix_ms
        self.rows[:] = [row for row in self.rows if (row.client, row.kind, row.id) != (client, kind, id)]

    async def count_usage(self, client: str, kind: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """See `ObjectStore.count_usage`."""
        found = [row for row in self._of(client, kind) if row.id == id and not row.usage_counted]
        self.rows[:] = [replace(row, usage_counted=True) if row in found else row for row in self.rows]
        return bool(found)

    async def any_files(self) -> bool:
        """See `ObjectStore.any_files`."""
        self._check()
        return any(row.kind == "files" for row in self.rows)

    def _of(self, client: str, kind: str) -> Sequence[ObjectRow]:
        self._check()
        return [row for row in self.rows if (row.client, row.kind) == (client, kind)]

    def _check(self) -> None:
        if self.problem is not None:
            raise self.problem


@dataclass(slots=True)
class MemoryStore(HasTables):
    """A store that can be told to fail.

    Attributes:
        rows: what was saved of health, in order.
        problem: raised by every call, if set.
        objects: who owns what.
        usage: what was saved of usage, each sum under its key and writer.
        usage_saves: how often some was saved.
        access: see `Store.access`.
    """

    rows: list[HealthRow] = field(default_factory=list)
    problem: StoreError | None = None
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    usage: dict[tuple[TallyKey, str], Tally] = field(default_factory=dict)
    usage_saves: int = 0
    access: MemoryAccess = field(default_factory=MemoryAccess)

    async def save_health(self, rows: Sequence[HealthRow]) -> None:
        """See `Store.save_health`."""
        await asyncio.sleep(0)
        if self.problem is not None:
            raise self.problem
        self.rows.extend(rows)

    async def load_health(self) -> tuple[HealthRow, ...]:
        """See `Store.load_health`."""
        if self.problem is not None:
            raise self.problem
        return tuple(self.rows)

    async def forget_health(self, fingerprints: Collection[str]) -> None:
        """See `Store.forget_health`."""
        if self.problem is not None:
            raise self.problem
        self.rows[:] = [row for row in self.rows if row.fingerprint not in fingerprints]

    async def save_usage(self, rows: Sequence[TallyRow]) -> None:
        """See `Store.save_usage`."""
        await asyncio.sleep(0)
        if self.problem is not None:
            raise self.problem
        self.usage_saves += 1
        self.usage |= {(row.key, row.writer): row.tally for row in rows}

    async def load_usage(
        self, by: Dimension, from_unix_ms: int, to_unix_ms: int
    ) -> tuple[tuple[str | int, Tally], ...]:
        """See `Store.load_usage`."""
        if self.problem is not None:
            raise self.problem
        found: dict[str | int, Tally] = {}
        for (key, _), tally in self.usage.items():
            if from_unix_ms <= key.hour_unix_ms < to_unix_ms:
                name = key.hour_unix_ms if by is Dimension.HOUR else getattr(key, by.value)
                found.setdefault(name, Tally()).add(tally)
        return tuple(sorted(found.items()))

    async def forget_usage(self, before_unix_ms: int) -> None:
        """See `Store.forget_usage`."""
        if self.problem is not None:
            raise self.problem
        self.usage = {
            under: tally for under, tally in self.usage.items() if under[0].hour_unix_ms >= before_unix_ms
        }

    async def save_deletion(self, owed: OwedDeletion) -> None:
        """See `DeletionLedger`."""

    async def load_deletions(self) -> tuple[OwedDeletion, ...]:
        """See `DeletionLedger`."""
        return ()

    async def forget_deletion(self, conversation: str) -> None:
        """See `DeletionLedger`."""

    async def save_held(self, held: HeldConversation) -> None:
        """See `HeldLedger`."""

    async def load_held(self) -> tuple[HeldConversation, ...]:
        """See `HeldLedger`."""
        return ()

    async def forget_held(self, conversation: str) -> None:
        """See `HeldLedger`."""

    async def close(self) -> None:
        """See `Store.close`."""


Chunk = bytes | Fault | Exception | None


@dataclass(slots=True)
class ScriptedReply:
    """An answer whose bytes are given.

    Attributes:
        chunks: what each read gives: bytes, a fault, a mistake of ours, or None for a read that never ends.
        content_type: as announced.
        source: who answers.
        closed: how often it was closed.
    """

    chunks: list[Chunk]
    content_type: str = "text/event-stream"
    source: Source = field(default_factory=lambda: Source("req_upstream", "org_1"))
    closed: int = 0

    @property
    def ended(self) -> bool:
        """See `ByteReply.ended`."""
        return not self.chunks

    async def read(self) -> bytes:
        """See `ByteReply.read`."""
        if not self.chunks:
            return b""
        match self.chunks[0]:
            case None:
                await asyncio.get_running_loop().create_future()
                return b""
            case Fault() as fault:
                raise UpstreamFault(fault)
            case Exception() as mistake:
                raise mistake
            case chunk:
                del self.chunks[0]
                return chunk

    async def read_all(self, watch: Watch, limit_s: float) -> bytes:
        """See `ByteReply.read_all`."""
        found = []
        while chunk := await watch.within(limit_s, self.read()):
            found.append(chunk)
        return b"".join(found)

    def close(self) -> None:
        """See `ByteReply.close`."""
        self.closed += 1


def streamed(*chunks: Chunk) -> ScriptedReply:
    """A streamed answer."""
    return ScriptedReply(list(chunks))


def whole(data: bytes = MESSAGE) -> ScriptedReply:
    """An answer that is no stream."""
    return ScriptedReply([data], "application/json")


Answer = ScriptedReply | UpstreamError | Fault | None


@dataclass(slots=True)
class ScriptedUpstream:
    """An upstream whose answers are given.

    Attributes:
        answers: one for each call: a reply, an error, a fault, or None for a call that never ends.
        calls: alias and call, in order.
        forgotten: credentials it was told to forget, in order.
    """

    answers: list[Answer]
    calls: list[tuple[str, UpstreamCall]] = field(default_factory=list)
    forgotten: list[Credential] = field(default_factory=list)
    dialect: str = "anthropic"

    async def open(
        self, call: UpstreamCall, credential: Credential, watch: Watch, limit_s: float
    ) -> ScriptedReply:
        """See `Upstream.open`."""
        self.calls.append((credential.name, call))
        match self.answers.pop(0):
            case ScriptedReply() as reply:
                return reply
            case UpstreamError() as error:
                raise UpstreamRefused(error, Source(None, "org_1"))
            case Fault() as fault:
                raise UpstreamFault(fault)
            case None:
                return await watch.within(limit_s, asyncio.get_running_loop().create_future())

    async def forget(self, credential: Credential) -> None:
        """See `Upstream.forget`."""
        self.forgotten.append(credential)

    async def close(self) -> None:
        """See `Upstream.close`."""


@dataclass(slots=True)
class Bench:
    """A dispatcher with everything around it."""

    dispatcher: Dispatcher
    pool: Pool
    places: Places
    store: MemoryStore
    upstream: ScriptedUpstream
    other: ScriptedUpstream
    policy: Policy
    clock: FakeClock
    journal: Journal


def credential(name: str, **changes: object) -> Credential:
    """An API key; `changes` are fields of `Credential`."""
    plain = Credential(name=name, kind=Kind.ANTHROPIC, secret=None, base_url="https://api.test")
    return changed(plain, changes)


def bench(
    *answers: Answer,
    credentials: Sequence[Credential] = (),
    defaults: RequestDefaults = NO_DEFAULTS,
    fallbacks: tuple[tuple[str, str], ...] = (),
    others: Sequence[Answer] = (),
    **policy: object,
) -> Bench:
    """A dispatcher over these answers, and three credentials unless others are given.

    `others` are the answers of APIs that speak Chat Completions; `fallbacks` says which model stands in for which.
    """
    clock = FakeClock()
    numbers = changed(Policy(jitter=0.0, backoff_base_s=0.0), policy)
    members = tuple(credentials) or tuple(credential(f"api-{number}") for number in (1, 2, 3))
    rng = random.Random(1)
    pool = Pool(members, policy=numbers, clock=clock, rng=rng)
    store = MemoryStore()
    journal = Journal(store, clock, {item.name: f"print of {item.name}" for item in members})
    places = Places(pool, numbers, journal)
    upstream = ScriptedUpstream(list(answers))
    other = ScriptedUpstream(list(others), dialect="openai_chat")
    tools = Tools(
        pool=pool,
        places=places,
        journal=journal,
        upstreams={Kind.ANTHROPIC: upstream, Kind.CLAUDE_WEB: upstream, Kind.OPENAI: other},
        catalog=CATALOG,
        names=ModelNames(CATALOG, AliasRules(), clock, fallbacks),
        policy=numbers,
        clock=clock,
        rng=rng,
        defaults=defaults,
        memory=ThinkingMemory(clock),
    )
    return Bench(Dispatcher(tools), pool, places, store, upstream, other, numbers, clock, journal)


def refused(status: int, *, message: str = "no", **changes: object) -> UpstreamError:
    """An upstream's answer other than success."""
    plain = UpstreamError(
        status=status, type="error", message=message, code=None, headers={}, kind=Kind.ANTHROPIC
    )
    return changed(plain, changes)
