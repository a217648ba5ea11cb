"""A gateway process in front of a simulated Claude, and a plain client that asks it in both dialects."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import msgspec

from proxy.simulator import Simulator
from proxy.simulator.faults.told import Spoken as Spoken  # noqa: PLC0414 - tests find it here
from tests.support.canaries.marks import GREETING, marked
from tests.support.gateway import CLIENT_KEY, gateway

MODEL: Final = "claude-sonnet-5-5"
LIMIT_CLASS: Final = "sonnet-5-5"
_PATIENCE_S: Final = 60.0
_LARGE_BYTES: Final = 2**20
_SECRET_FIELDS: Final = frozenset({"key", "session_key", "token"})


class ErrorBody(msgspec.Struct):
    """What both envelopes hold; `code` and `param` are OpenAI's alone."""

    type: str
    message: str
    code: str | None = None
    param: str | None = None


class ErrorEnvelope(msgspec.Struct):
    """An error in the envelope of either dialect; `type` is Anthropic's alone."""

    error: ErrorBody
    request_id: str
    type: str = ""


class StateView(msgspec.Struct):
    """One state as ``GET /admin/pool`` shows it."""

    state: str
    reason: str | None = None
    until_unix_ms: int | None = None

    def __str__(self) -> str:
        return f"{self.state}({self.reason})" if self.reason else self.state


class CredentialView(msgspec.Struct):
    """One credential as ``GET /admin/pool`` shows it."""

    name: str
    organization: str | None
    in_flight: int
    state: StateView
    classes: dict[str, StateView]
    closed_models: dict[str, StateView]
    headroom: float | None
    succeeded: int
    failed: int

    def word(self, limit_class: str = LIMIT_CLASS, model: str = MODEL) -> str:
        """Its state for one model: that of the whole credential, of the limit class, or of the model."""
        found = (self.state, self.classes.get(limit_class), self.closed_models.get(model))
        return next((str(one) for one in found if one is not None and one.state != "ready"), "ready")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as a client got it; `broken_off` says that its transfer has no proper end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    broken_off: bool = False

    @property
    def error(self) -> ErrorEnvelope:
        """The error it is."""
        return msgspec.json.decode(self.body, type=ErrorEnvelope)

    @property
    def last_frame_error(self) -> ErrorEnvelope:
        """The error in the last frame of a stream."""
        data = self.body.removesuffix(b"\n\n").rpartition(b"data: ")[2]
        return msgspec.json.decode(data, type=ErrorEnvelope)


async def read_answer(response: aiohttp.ClientResponse) -> Answer:
    """What is left of an answer, to its end or to where it breaks off."""
    body, broken_off = b"", False
    try:
        while chunk := await response.content.readany():
            body += chunk
    except aiohttp.ClientPayloadError:
        broken_off = True
    return Answer(response.status, response.headers.copy(), body, broken_off)


def body_of(
    spoken: Spoken, *, stream: bool, model: str = MODEL, text: str = GREETING, max_tokens: int | None = None
) -> bytes:
    """A small request in a dialect; without `max_tokens`, for an answer of at most 1000 where a limit is needed."""
    fields: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": text}]}
    if spoken is Spoken.MESSAGES or max_tokens is not None:
        fields["max_tokens"] = max_tokens or 1000
    if stream:
        fields["stream"] = True
    return msgspec.json.encode(fields)


class Server(Protocol):
    """A gateway that can be asked, in a process of its own or in this one."""

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        ...

    async def pool(self) -> list[dict[str, object]]:
        """The credentials as the admin sees them."""
        ...


@dataclass(slots=True)
class House:
    """A running gateway, the simulated Claude behind it, and a client in front of it."""

    server: Server
    simulator: Simulator
    session: aiohttp.ClientSession = field(repr=False)

    async def ask(
        self,
        spoken: Spoken,
        *,
        stream: bool = False,
        model: str = MODEL,
        text: str = GREETING,
        key: str = CLIENT_KEY,
    ) -> Answer:
        """Ask a small question and read the whole answer."""
        return await self.send(spoken, body_of(spoken, stream=stream, model=model, text=text), key=key)

    async def send(
        self, spoken: Spoken, body: bytes, *, key: str = CLIENT_KEY, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a body and read the whole answer."""
        async with self.opened(spoken, body, key=key, headers=headers) as response:
            return await read_answer(response)

    @asynccontextmanager
    async def opened(
        self, spoken: Spoken, body: bytes, *, key: str = CLIENT_KEY, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a body and give the answer while it comes."""
        sent = {"content-type": "application/json", "authorization": f"Bearer {key}", **(headers or {})}
        url = self.server.url + spoken.value
        data = body if len(body) < _LARGE_BYTES else BytesIO(body)
        async with self.session.post(url, data=data, headers=sent, allow_redirects=False) as response:
            yield response

    async def credentials(self) -> dict[str, CredentialView]:
        """All credentials as the admin sees them, by alias."""
        found = msgspec.convert(await self.server.pool(), list[CredentialView])
        return {one.name: one for one in found}

    async def idle(self) -> dict[str, CredentialView]:
        """The same, once no credential has anything in flight; raises TimeoutError if that never comes."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                found = await self.credentials()
                if not any(one.in_flight for one in found.values()):
                    return found
                await asyncio.sleep(0.01)

    def calls(self, *keys: str) -> int:
        """Upstream calls made with these keys, or with any."""
        counted = self.simulator.record.requests_per_key
        return sum(counted[key] for key in keys) if keys else self.simulator.record.requests_total


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something of this process has become true; raises TimeoutError if it never does."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float = _PATIENCE_S) -> None:
    """The same for what only an answer or the system can tell."""
    async with asyncio.timeout(within_s):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def house(
    folder: Path,
    settings: Mapping[str, str] | None = None,
    *,
    keys: Sequence[str] = ("k1", "k2", "k3"),
    credentials: Callable[[str], Iterable[Mapping[str, object]]] | None = None,
    simulator: Simulator | None = None,
) -> AsyncIterator[House]:
    """Start a simulated Claude and a gateway of these keys, or of these entries of a ``sessions.json``.

    Keys become the credentials ``api-1``, ``api-2`` and so on, in order. `credentials` makes the entries from the
    simulator's address; they need to name neither kind nor address. Without `simulator` it is a plain one.
    """
    async with simulated(simulator) as claude:
        chosen = configuration(folder, claude, keys, credentials)
        async with gateway(folder, {**chosen, **(settings or {})}) as server, client() as session:
            yield House(server, claude, session)


@asynccontextmanager
async def simulated(simulator: Simulator | None = None) -> AsyncIterator[Simulator]:
    """A running simulated Claude."""
    simulator = simulator or Simulator()
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.stop()


def client(*, patient: bool = False) -> aiohttp.ClientSession:
    """A client's connections, as many as it needs; a patient one waits for ever, and keeps no connection."""
    limits = aiohttp.ClientTimeout(total=None if patient else _PATIENCE_S)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=patient), timeout=limits)


def configuration(
    folder: Path,
    simulator: Simulator,
    keys: Sequence[str],
    credentials: Callable[[str], Iterable[Mapping[str, object]]] | None,
) -> dict[str, str]:
    """The settings of a gateway in front of `simulator`, whose times do not vary at random; see `house`."""
    chosen = {"POOL_JITTER": "0", "LOG_LEVEL": "warning", "ANTHROPIC_BASE_URL": simulator.url}
    if credentials is None:
        return {**chosen, "ANTHROPIC_API_KEYS": ",".join(map(marked, keys))}
    common = {"kind": "anthropic", "base_url": simulator.url}
    entries = [{**common, **with_secrets(one)} for one in credentials(simulator.url)]
    file = folder / "sessions.json"
    file.write_bytes(msgspec.json.encode({"credentials": entries}))
    file.chmod(0o600)
    return {**chosen, "SESSIONS_FILE": str(file)}


def with_secrets(entry: Mapping[str, object]) -> Mapping[str, object]:
    """An entry of a ``sessions.json`` whose key is a marked one; the simulated Claude goes on calling it as it was."""
    return {
        name: marked(value) if name in _SECRET_FIELDS and isinstance(value, str) else value
        for name, value in entry.items()
    }
