"""Traces through a whole gateway: what the upstream is told is what is written down, and no more."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from proxy.simulator import Step
from proxy.telemetry.tracing import Tracing
from tests.support.gateway import CLIENT_KEY
from tests.support.house import House, Spoken, body_of, client, simulated
from tests.support.inside import Inside, house_inside
from tests.support.program import started

_TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
_HEADERS: Final = {"traceparent": f"00-{_TRACE}-b7ad6b7169203331-01", "tracestate": "canary=1"}
_PROMPT: Final = "canary-prompt"


def entries(_: str) -> list[Mapping[str, object]]:
    """Two credentials, of which the first is asked first."""
    return [{"name": "one", "key": "key-one"}, {"name": "two", "key": "key-two"}]


@asynccontextmanager
async def traced(folder: Path) -> AsyncIterator[tuple[House, Inside, InMemorySpanExporter]]:
    """A gateway whose spans stay in memory."""
    exported = InMemorySpanExporter()
    async with house_inside(folder, {}, entries) as (house, inside):
        tracing = await asyncio.to_thread(Tracing, SimpleSpanProcessor(exported), "carousel", Random(0))
        inside.services.tracing = tracing
        inside.services.traces.subscribe(tracing.count)
        yield house, inside, exported


@pytest.mark.parametrize("spoken", Spoken)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", [_PROMPT, f"{_PROMPT} " * 100_000], ids=["small", "large"])
async def test_each_upstream_call_is_told_its_own_span(
    tmp_path: Path, spoken: Spoken, stream: bool, text: str
) -> None:
    """Protects the tree: the span an upstream goes on from is the one of the very call, after a retry too."""
    async with traced(tmp_path) as (house, inside, exported):
        house.simulator.script("key-one", [Step("status", status=429)])
        answer = await house.send(spoken, body_of(spoken, stream=stream, text=text), headers=_HEADERS)
        assert answer.status == 200
        inside.services.traces.settle()
        request, *attempts = exported.get_finished_spans()
        told = [one.header("traceparent") for one in house.simulator.record.requests]
    ids = [one.context.span_id for one in attempts if one.context is not None]
    assert told == [f"00-{_TRACE}-{span_id:016x}-01" for span_id in ids]
    assert len(told) == 2
    everything = "".join(one.to_json() for one in (request, *attempts))
    assert "canary" not in everything
    assert "key-one" not in everything


async def test_nothing_is_told_upstream_while_no_traces_are_made(tmp_path: Path) -> None:
    """Protects what a client's header says from going to a provider nobody meant it for."""
    async with house_inside(tmp_path, {}, entries) as (house, _):
        for stream in (False, True):
            body = body_of(Spoken.MESSAGES, stream=stream)
            assert (await house.send(Spoken.MESSAGES, body, headers=_HEADERS)).status == 200
        for one in house.simulator.record.requests:
            assert one.header("traceparent") is None
            assert one.header("tracestate") is None


async def test_traces_reach_a_collector_before_the_server_ends(tmp_path: Path) -> None:
    """Protects the last requests before a stop, and the key of the collector from the log."""
    came: list[bytes] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with simulated() as claude, await asyncio.start_server(collect, "127.0.0.1", 0) as collector:
        port = collector.sockets[0].getsockname()[1]
        settings = {
            "ANTHROPIC_API_KEY": "key-one",
            "ANTHROPIC_BASE_URL": claude.url,
            "API_KEY": CLIENT_KEY,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=canary-collector-key",
            "LOG_LEVEL": "debug",
        }
        async with started(tmp_path, "serve", **settings) as program:
            async with (
                client() as session,
                session.post(
                    program.url + Spoken.CHAT,
                    data=body_of(Spoken.CHAT, stream=False),
                    headers={"authorization": f"Bearer {settings['API_KEY']}"},
                ) as answer,
            ):
                assert answer.status == 200
            program.process.terminate()
            assert await program.ended() == 0
            output = program.output
    assert came
    assert came[0].startswith(b"POST /v1/traces ")
    assert b"canary-collector-key" in came[0]
    assert "canary" not in output
