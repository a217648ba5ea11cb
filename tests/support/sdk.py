"""The official SDKs as judges: their clients, sync and async, seen alike, in front of a gateway of many small pools.

Every client key of that gateway opens a pool of its own of two credentials, so that what one test does to the health
of a credential is never seen by another.
"""

import asyncio
import inspect
import socket
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion

from proxy.simulator import Simulator, Step
from tests.support.canaries.marks import secret
from tests.support.gateway import Gateway, gateway

AnyOpenAI = OpenAI | AsyncOpenAI
AnyAnthropic = Anthropic | AsyncAnthropic
T = TypeVar("T")
POOLS: Final = 250
MODEL: Final = "claude-opus-5"
_FAST: Final = {
    "POOL_JITTER": "0",
    "POOL_BACKOFF_BASE_S": "0",
    "POOL_CUMULATIVE_WAIT_S": "0.9",
    "POOL_BUDGET_MAX": "10000",
    "RELAY_FIRST_EVENT_TIMEOUT_S": "2",
    "RELAY_IDLE_TIMEOUT_S": "2",
    "RELAY_UNARY_TIMEOUT_S": "2",
    "LOG_LEVEL": "warning",
}


@dataclass(frozen=True, slots=True)
class SmallPool:
    """Two credentials that only one client key may use.

    Attributes:
        client_key: that key.
        names: the aliases of the credentials.
        keys: their API keys, under which the simulated Claude knows them.
    """

    client_key: str
    names: tuple[str, str]
    keys: tuple[str, str]


@dataclass(slots=True)
class Judged:
    """A gateway in front of a simulated Claude, to be asked by the SDKs.

    Attributes:
        server: the gateway.
        simulator: the simulated Claude.
        unreachable: a pool whose upstream refuses connections.
    """

    server: Gateway
    simulator: Simulator
    unreachable: SmallPool
    _numbers: Iterator[int] = field(default_factory=count)
    _openai: dict[bool, AnyOpenAI] = field(default_factory=dict)
    _anthropic: dict[bool, AnyAnthropic] = field(default_factory=dict)

    def pool(self, *, then: Step | None = None) -> SmallPool:
        """A pool no test has touched, both of whose credentials are always answered by `then`."""
        number = next(self._numbers)
        if number >= POOLS:
            raise RuntimeError(f"there are only {POOLS} pools")
        pool = _pool(number)
        if then is not None:
            for key in pool.keys:
                self.simulator.script(key, then=then)
        return pool

    def openai(self, pool: SmallPool, *, sync: bool, prefix: str = "", max_retries: int = 0) -> "OpenAIUser":
        """A user of the OpenAI SDK with the pool's client key; `prefix` stands before ``/v1``."""
        if sync not in self._openai:
            self._openai[sync] = OpenAI(api_key="none") if sync else AsyncOpenAI(api_key="none")
        client = self._openai[sync].with_options(
            base_url=f"{self.server.url}{prefix}/v1", api_key=pool.client_key, max_retries=max_retries
        )
        return OpenAIUser(client, pool)

    def anthropic(
        self, pool: SmallPool, *, sync: bool, prefix: str = "", max_retries: int = 0
    ) -> "AnthropicUser":
        """A user of the Anthropic SDK with the pool's client key; `prefix` stands before ``/v1``."""
        if sync not in self._anthropic:
            self._anthropic[sync] = Anthropic(api_key="none") if sync else AsyncAnthropic(api_key="none")
        client = self._anthropic[sync].with_options(
            base_url=f"{self.server.url}{prefix}", api_key=pool.client_key, max_retries=max_retries
        )
        return AnthropicUser(client, pool)

    async def close(self) -> None:
        """Close the connections of every client made."""
        for client in (*self._openai.values(), *self._anthropic.values()):
            await settled(client.close())

    def body(self, pool: SmallPool) -> dict[str, object]:
        """What the upstream was sent last for one of the pool's credentials."""
        received = [one for one in self.simulator.record.requests if one.key in pool.keys]
        body: dict[str, object] = msgspec.json.decode(received[-1].body)
        return body

    def calls(self, pool: SmallPool) -> int:
        """How many upstream calls were made with the pool's credentials."""
        return sum(one.key in pool.keys for one in self.simulator.record.requests)


def _pool(number: int) -> SmallPool:
    return SmallPool(
        secret(f"client-{number}"),
        (f"pool-{number}-a", f"pool-{number}-b"),
        (f"upstream-key-{number}-a", f"upstream-key-{number}-b"),
    )


@asynccontextmanager
async def judged(folder: Path) -> AsyncIterator[Judged]:
    """Start a simulated Claude and a gateway with many small pools, and end both."""
    simulator = Simulator()
    await simulator.start()
    pools = [_pool(number) for number in range(POOLS + 1)]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead_url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        urls = [simulator.url] * POOLS + [dead_url]
        credentials = [
            {
                "name": name,
                "kind": "anthropic",
                "key": secret(key),
                "base_url": url,
                "clients": [f"env-{number}"],
            }
            for number, (pool, url) in enumerate(zip(pools, urls, strict=True), 1)
            for name, key in zip(pool.names, pool.keys, strict=True)
        ]
        file = folder / "sessions.json"
        file.write_bytes(msgspec.json.encode({"credentials": credentials}))
        file.chmod(0o600)
        keys = ",".join(pool.client_key for pool in pools)
        settings = {**_FAST, "SESSIONS_FILE": str(file), "API_KEY": keys}
        try:
            async with gateway(folder, settings) as server:
                judge = Judged(server, simulator, pools[-1])
                try:
                    yield judge
                finally:
                    await judge.close()
        finally:
            await simulator.stop()


async def settled(value: object) -> object:
    """The value, awaited if it has to be."""
    return await value if inspect.isawaitable(value) else value


async def told(method: Callable[..., object], expected: type[T], /, **fields: object) -> T:
    """Call a client's method and give its answer, which has to be an `expected`; a sync one runs in a thread."""
    return _checked(await settled(await asyncio.to_thread(method, **fields)), expected)


async def iterated(method: Callable[..., object], into: list[object], /, **fields: object) -> None:
    """Call a method that gives a stream or a page and read it to its end, keeping what came when it fails."""
    source = await asyncio.to_thread(method, **fields)
    if inspect.isawaitable(source) and not isinstance(source, AsyncIterable):
        source = await source
    await _read(source, into)


async def helped(
    method: Callable[..., object], expected: type[T], into: list[object], final: str, /, **fields: object
) -> T:
    """Read a stream helper's events to the end, and give what its method `final` makes of them."""
    manager = method(**fields)
    if isinstance(manager, AbstractAsyncContextManager):
        async with manager as stream:
            await _read(stream, into)
            return _checked(await settled(getattr(stream, final)()), expected)
    if not isinstance(manager, AbstractContextManager):
        raise TypeError("neither a sync nor an async stream helper")
    return _checked(await asyncio.to_thread(_helped, manager, into, final), expected)


def _checked(value: object, expected: type[T]) -> T:
    if not isinstance(value, expected):
        raise TypeError(f"{type(value).__name__} instead of {expected.__name__}")
    return value


def _helped(manager: AbstractContextManager[object], into: list[object], final: str) -> object:
    with manager as stream:
        _take(stream, into)
        return getattr(stream, final)()


async def _read(source: object, into: list[object]) -> None:
    if isinstance(source, AsyncIterable):
        async for item in source:
            into.append(item)  # noqa: PERF401 - what came before a failure has to be kept
    else:
        await asyncio.to_thread(_take, source, into)


def _take(source: object, into: list[object]) -> None:
    if not isinstance(source, Iterable):
        raise TypeError(f"{type(source).__name__} cannot be iterated over")
    for item in source:
        into.append(item)  # noqa: PERF402 - what came before a failure has to be kept


def saying(text: str, role: str = "user") -> dict[str, object]:
    """A message of one text."""
    return {"role": role, "content": text}


GREETING: Final = "Hello, gateway!"
ECHO: Final = 'You said: "Hello, gateway!" (1 message)'


@dataclass(frozen=True, slots=True)
class OpenAIUser:
    """Somebody with a client of the OpenAI SDK and a pool of their own; without a text they greet."""

    client: AnyOpenAI
    pool: SmallPool

    async def asks(self, text: str = GREETING, /, **fields: object) -> ChatCompletion:
        """A whole answer."""
        return await told(self.client.chat.completions.create, ChatCompletion, **self._asked(text, fields))

    async def streams(self, into: list[object], text: str = GREETING, /, **fields: object) -> None:
        """A streamed answer; its chunks are kept also when it fails."""
        await iterated(self.client.chat.completions.create, into, stream=True, **self._asked(text, fields))

    async def is_helped(
        self, into: list[object], text: str = GREETING, /, **fields: object
    ) -> ChatCompletion:
        """A streamed answer through the SDK's helper, as the whole it makes of it."""
        method = self.client.chat.completions.stream
        return await helped(method, ChatCompletion, into, "get_final_completion", **self._asked(text, fields))

    @staticmethod
    def _asked(text: str, fields: Mapping[str, object]) -> dict[str, object]:
        return {"model": MODEL, "messages": [saying(text)], **fields}


@dataclass(frozen=True, slots=True)
class AnthropicUser:
    """Somebody with a client of the Anthropic SDK and a pool of their own; without a text they greet."""

    client: AnyAnthropic
    pool: SmallPool

    async def asks(self, text: str = GREETING, /, **fields: object) -> Message:
        """A whole answer."""
        return await told(self.client.messages.create, Message, **self._asked(text, fields))

    async def streams(self, into: list[object], text: str = GREETING, /, **fields: object) -> None:
        """A streamed answer; its events are kept also when it fails."""
        await iterated(self.client.messages.create, into, stream=True, **self._asked(text, fields))

    async def is_helped(self, into: list[object], text: str = GREETING, /, **fields: object) -> Message:
        """A streamed answer through the SDK's helper, as the whole it makes of it."""
        method = self.client.messages.stream
        return await helped(method, Message, into, "get_final_message", **self._asked(text, fields))

    @staticmethod
    def _asked(text: str, fields: Mapping[str, object]) -> dict[str, object]:
        return {"model": MODEL, "max_tokens": 1000, "messages": [saying(text)], **fields}
