"""Two gateways behind the real nginx are restarted one after the other, and no client notices."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from proxy.simulator import Pace, Simulator, Step
from tests.support.endings import is_whole
from tests.support.gateway import CLIENT_KEY, Gateway, gateway
from tests.support.house import MODEL, Spoken, body_of, client, configuration, read_answer, simulated
from tests.support.nginx import Nginx, free_port, nginx
from tests.support.soak import sized

pytestmark = pytest.mark.needs("nginx")

_RESTARTS: Final = sized(full=10, short=2)
_AT_LEAST: Final = sized(full=20_000, short=300)
_CLIENTS: Final = sized(full=24, short=8)
_READERS: Final = 4
_HEADERS: Final = {"authorization": f"Bearer {CLIENT_KEY}"}
_STREAM: Final = Step(pace=Pace(first_token_delay_s=0.0, tokens_per_s=20.0, events=40))
_SHORT_MODEL: Final = "claude-haiku-4-5"
_AFTER_START_S: Final = 2.0
"""As docs/deployment.md asks for: longer than nginx leaves a replica alone that refused a connection."""


@dataclass(slots=True)
class Heard:
    """What clients got.

    Attributes:
        statuses: of short calls, with how often; of those that failed what they were told too.
        streams: read to their end.
        cut: ends of streams that are none.
        stop: set when the clients may go home.
    """

    statuses: Counter[int | str] = field(default_factory=Counter)
    streams: int = 0
    cut: list[bytes] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def _asks(url: str, session: aiohttp.ClientSession, heard: Heard) -> None:
    """Short calls, one after the other."""
    while not heard.stop.is_set():
        for spoken in Spoken:
            body = body_of(spoken, stream=False, model=_SHORT_MODEL)
            try:
                async with session.post(url + spoken, data=body, headers=_HEADERS) as answer:
                    said = await answer.read()
                    heard.statuses[
                        answer.status if answer.status == 200 else f"{answer.status} {said!r}"
                    ] += 1
            except aiohttp.ClientError as error:
                heard.statuses[type(error).__name__] += 1


async def _reads(url: str, session: aiohttp.ClientSession, heard: Heard) -> None:
    """Streams of two seconds, one after the other."""
    while not heard.stop.is_set():
        for spoken in Spoken:
            body = body_of(spoken, stream=True)
            async with session.post(url + spoken, data=body, headers=_HEADERS) as answer:
                read = await read_answer(answer)
            heard.streams += 1
            if not is_whole(read.body) or read.broken_off:
                heard.cut.append(read.body[-300:])


def _credentials(_url: str) -> list[dict[str, object]]:
    """One that streams for two seconds, and one that answers at once, by model."""
    return [
        {"name": "long", "key": "long", "models": [MODEL]},
        {"name": "short", "key": "short", "models": [_SHORT_MODEL]},
    ]


class Replicas:
    """Two gateways that keep their addresses over restarts."""

    def __init__(self, folder: Path, simulator: Simulator, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._simulator = simulator
        self._stack = stack
        self.addresses = tuple(f"127.0.0.1:{free_port()}" for _ in range(2))
        self._running: dict[str, Gateway] = {}

    async def start(self, address: str) -> None:
        """Start the one of an address."""
        folder = self._folder / address.rpartition(":")[2]
        folder.mkdir(exist_ok=True)
        settings = {
            **configuration(folder, self._simulator, (), _credentials),
            "ADDRESS": address,
            "LOG_LEVEL": "warning",
            "DRAIN_DELAY": "1",
        }
        self._running[address] = await self._stack.enter_async_context(gateway(folder, settings))

    async def restart(self, address: str) -> int:
        """Stop it as a process manager does, wait for its end, start it anew. Returns the exit code."""
        code = await self._running[address].stop(signal.SIGTERM)
        await self.start(address)
        await asyncio.sleep(_AFTER_START_S)
        return code


@asynccontextmanager
async def _standing(folder: Path) -> AsyncIterator[tuple[Nginx, Replicas]]:
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(simulated())
        simulator.script("long", then=_STREAM)
        replicas = Replicas(folder, simulator, stack)
        for address in replicas.addresses:
            await replicas.start(address)
        front = await stack.enter_async_context(nginx(folder / "nginx", replicas.addresses))
        yield front, replicas


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_rolling_restart_drops_nothing(tmp_path: Path) -> None:
    """Protects every request and every stream while a new version is rolled out. SOAK=1 does it ten times."""
    heard = Heard()
    async with _standing(tmp_path) as (front, replicas), client() as session, asyncio.TaskGroup() as group:
        for number in range(_CLIENTS + _READERS):
            group.create_task((_asks if number < _CLIENTS else _reads)(front.url, session, heard))
        codes = [await replicas.restart(replicas.addresses[turn % 2]) for turn in range(_RESTARTS)]
        while heard.statuses.total() < _AT_LEAST:  # noqa: ASYNC110 - the clients only count
            await asyncio.sleep(0.1)
        heard.stop.set()
        errors = front.errors
    said = f"{heard.statuses.total()} calls, {heard.streams} streams, {_RESTARTS} restarts: {dict(heard.statuses)}"
    print(said)  # noqa: T201 - the figure
    assert set(codes) == {0}
    assert set(heard.statuses) == {200}, errors
    assert heard.streams > 0
    assert heard.cut == []
