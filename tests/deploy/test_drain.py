"""A gateway behind nginx is told to stop while streams are open: their readers learn what becomes of them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from proxy.clock import SystemClock
from proxy.simulator import Pace, Step
from proxy.tasks import spawn
from tests.support.endings import is_told_of_the_stop, is_whole
from tests.support.gateway import CLIENT_KEY, Gateway, gateway
from tests.support.house import (
    MODEL,
    Answer,
    Spoken,
    body_of,
    client,
    configuration,
    eventually,
    read_answer,
    simulated,
)
from tests.support.nginx import nginx
from tests.support.soak import sized

pytestmark = [pytest.mark.long, pytest.mark.needs("nginx")]

_STREAMS: Final = sized(full=100, short=20)
_SHORT_MODEL: Final = "claude-haiku-4-5"
_HEADERS: Final = {"authorization": f"Bearer {CLIENT_KEY}"}
_PROMISED_S: Final = 2.0
_PATIENCE: Final = 4
clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Draining:
    """A gateway behind nginx, with streams that have begun.

    Attributes:
        server: the gateway.
        url: nginx's address.
        session: a client.
        streams: the answers, whose first events have come.
    """

    server: Gateway
    url: str
    session: aiohttp.ClientSession
    streams: Sequence[aiohttp.ClientResponse]

    async def read(self) -> list[Answer]:
        """What is left of each stream."""
        return await asyncio.gather(*map(read_answer, self.streams))

    async def status(self, path: str) -> int:
        """What the gateway itself says to a probe."""
        async with self.session.get(self.server.url + path) as answer:
            return answer.status

    async def ask(
        self, spoken: Spoken = Spoken.MESSAGES, *, stream: bool = False, model: str = _SHORT_MODEL
    ) -> Answer:
        """Ask nginx a small question."""
        body = body_of(spoken, stream=stream, model=model)
        async with self.session.post(self.url + spoken, data=body, headers=_HEADERS) as answer:
            return await read_answer(answer)


def _credentials(_url: str) -> list[dict[str, object]]:
    """One that streams, and one that answers at once, by model."""
    return [
        {"name": "long", "key": "long", "models": [MODEL]},
        {"name": "short", "key": "short", "models": [_SHORT_MODEL]},
    ]


@asynccontextmanager
async def _streaming(folder: Path, events: int, **settings: str) -> AsyncIterator[Draining]:
    """Streams of so many events, twenty a second, half of them of either dialect."""
    async with AsyncExitStack() as stack:
        claude = await stack.enter_async_context(simulated())
        claude.script("long", then=Step(pace=Pace(tokens_per_s=20.0, events=events)))
        chosen = {**configuration(folder, claude, (), _credentials), "LOG_LEVEL": "info", **settings}
        server = await stack.enter_async_context(gateway(folder, chosen))
        front = await stack.enter_async_context(nginx(folder / "nginx", [server.url.removeprefix("http://")]))
        session = await stack.enter_async_context(client())
        streams = []
        for number in range(_STREAMS):
            spoken = list(Spoken)[number % 2]
            body = body_of(spoken, stream=True)
            streams.append(
                await stack.enter_async_context(session.post(front.url + spoken, data=body, headers=_HEADERS))
            )
        yield Draining(server, front.url, session, streams)


async def test_streams_that_outlast_the_drain_are_told_so_through_nginx(tmp_path: Path) -> None:
    """Protects readers from an answer that seems whole; meanwhile probes tell the truth and newcomers are served."""
    async with _streaming(tmp_path, 2000, DRAIN_DELAY="2", DRAIN_SECONDS="1") as draining:
        draining.server.program.send(signal.SIGTERM)
        await draining.server.program.wrote("draining")
        assert [await draining.status(path) for path in ("/ready", "/live")] == [503, 200]
        assert (await draining.ask()).status == 200
        answers = await draining.read()
        assert await draining.server.program.ended() == 0
        late = await draining.ask()
    assert [one.body[-300:] for one in answers if not is_told_of_the_stop(one.body)] == []
    assert (late.status, late.headers["retry-after"]) == (503, "2")
    assert "Traceback" not in "".join(draining.server.output)


async def test_streams_that_end_within_the_drain_are_whole(tmp_path: Path) -> None:
    """Protects answers that were nearly done from being cut at a restart."""
    async with _streaming(tmp_path, 30, DRAIN_SECONDS="20") as draining:
        draining.server.program.send(signal.SIGTERM)
        answers = await draining.read()
        assert await draining.server.program.ended() == 0
    assert [one.body[-300:] for one in answers if not is_whole(one.body) or one.broken_off] == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_answers_that_have_not_begun_when_the_drain_is_over_are_told_so(
    tmp_path: Path, *, stream: bool
) -> None:
    """Protects clients of answers that take minutes from a connection that closes without a word at a restart."""
    async with AsyncExitStack() as stack:
        claude = await stack.enter_async_context(simulated())
        claude.script("long", then=Step(do="delay", seconds=600))
        chosen = {
            **configuration(tmp_path, claude, (), _credentials),
            "LOG_LEVEL": "info",
            "DRAIN_SECONDS": "1",
        }
        server = await stack.enter_async_context(gateway(tmp_path, chosen))
        front = await stack.enter_async_context(
            nginx(tmp_path / "nginx", [server.url.removeprefix("http://")])
        )
        session = await stack.enter_async_context(client())
        draining = Draining(server, front.url, session, ())
        asking = [
            spawn(draining.ask(spoken, stream=stream, model=MODEL), name="ask") for spoken in [*Spoken] * 5
        ]

        async def begun() -> bool:
            return claude.record.requests_total == len(asking)

        await eventually(begun, 20)
        server.program.send(signal.SIGTERM)
        answers = await asyncio.gather(*asking)
        assert await server.program.ended() == 0
    assert {(one.status, one.headers["retry-after"]) for one in answers} == {(503, "2")}
    assert all(b"server shutting down" in one.body and not one.broken_off for one in answers)
    assert "Traceback" not in "".join(server.output)


async def test_a_second_signal_cuts_them_and_none_seems_whole(tmp_path: Path) -> None:
    """Protects an operator in a hurry, and readers from half an answer that looks like one."""
    async with _streaming(tmp_path, 2000, DRAIN_SECONDS="600") as draining:
        draining.server.program.send(signal.SIGTERM)
        await draining.server.program.wrote("draining")
        began_s = clock.monotonic_s()
        draining.server.program.send(signal.SIGTERM)
        assert await draining.server.program.ended() == 130
        assert clock.monotonic_s() - began_s < _PATIENCE * _PROMISED_S
        answers = await draining.read()
    assert not any(is_whole(one.body) for one in answers)
    assert all(one.broken_off for one in answers)
