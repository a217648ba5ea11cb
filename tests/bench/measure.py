"""How each sort of figure is taken."""

import asyncio
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from proxy.clock import SystemClock
from tests.bench.client import connect, post
from tests.bench.programs import ADMIN_KEY, KEY, LOAD_CORE, Program

PATHS: Final = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}
MODEL: Final = "claude-sonnet-5-5"
_STAMP: Final = re.compile(rb"t=(\d+\.\d{6})")
_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_BAD: Final = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")
_CONNECTIONS: Final = 32
_OPENED_A_SECOND: Final = 250
clock = SystemClock()


class NotAnsweredError(Exception):
    """A program answered with something else than a success."""


def body(*, stream: bool = False, text: str = "Hello!", images: int = 0) -> bytes:
    """A request both dialects take, with `images` pictures of 500 KB each in the Messages shape."""
    content: object = text
    if images:
        picture = {"type": "base64", "media_type": "image/png", "data": _picture()}
        content = [
            {"type": "text", "text": text},
            *({"type": "image", "source": picture} for _ in range(images)),
        ]
    fields = {"model": MODEL, "max_tokens": 4096, "messages": [{"role": "user", "content": content}]}
    return msgspec.json.encode({**fields, **({"stream": True} if stream else {})})


def chat_body(*, text: str = "Hello!", images: int = 0) -> bytes:
    """The same for Chat Completions, whose pictures are data URLs."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_picture()}"}}
    content: object = [{"type": "text", "text": text}, *(picture for _ in range(images))] if images else text
    return msgspec.json.encode(
        {"model": MODEL, "max_tokens": 4096, "messages": [{"role": "user", "content": content}]}
    )


def _picture() -> str:
    """Base64 of 500 KB that begin like a PNG of 100 by 100 pixels."""
    head = b"iVBORw0KGgoAAAANSUhEUgAAAGQAAABkCAYAAABw4pVU"
    return (head + b"A" * (500_000 - len(head))).decode()


async def throughput(program: Program, folder: Path, path: str, request: bytes, *, seconds: float) -> float:
    """Answers a second by wrk, on the load core. Raises NotAnsweredError when any was not a success."""
    script = folder / "load.lua"
    quoted = request.decode().replace("\\", "\\\\").replace("'", "\\'")
    script.write_text(
        f"wrk.method='POST'\nwrk.body='{quoted}'\nwrk.headers['Content-Type']='application/json'\n"
        f"wrk.headers['Authorization']='Bearer {KEY}'\nwrk.headers['anthropic-version']='2023-06-01'\n"
        + "".join(f"wrk.headers['{name}']='{value}'\n" for name, value in program.headers.items())
    )
    process = await asyncio.create_subprocess_exec(
        *(
            "taskset",
            "-c",
            str(LOAD_CORE),
            "wrk",
            "-t1",
            f"-c{_CONNECTIONS}",
            f"-d{round(seconds)}s",
            "--timeout",
            "30s",
        ),
        *("-s", str(script), f"http://127.0.0.1:{program.port}{path}"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    text = output.decode()
    rate, bad = _RATE.search(text), _BAD.search(text)
    if rate is None or bad is not None:
        raise NotAnsweredError(bad[0] if bad is not None else text)
    return float(rate[1])


async def sequential(program: Program, path: str, request: bytes, *, count: int) -> list[float]:
    """Seconds of each of `count` calls, one after the other on one connection."""
    connection = await connect(program.port)
    call = post(path, request, KEY, program.headers)
    times: list[float] = []
    for number in range(count + count // 10):
        began_s = clock.monotonic_s()
        status = await connection.ask(call)
        if status != 200:
            raise NotAnsweredError(f"status {status}")
        if number >= count // 10:
            times.append(clock.monotonic_s() - began_s)
    connection.close()
    return times


async def scraped(program: Program, *, count: int) -> list[float]:
    """Seconds of each of `count` scrapes of ``/metrics``, one after the other, requests of made-up models before it."""
    connection = await connect(program.port)
    for number in range(count):
        made_up = msgspec.json.encode({"model": f"claude-made-up-{number}", "max_tokens": 1, "messages": []})
        await connection.ask(post(PATHS["messages"], made_up, KEY, {}))
    call = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\r\n".encode()
    times: list[float] = []
    for _ in range(count):
        began_s = clock.monotonic_s()
        if (status := await connection.ask(call)) != 200:
            raise NotAnsweredError(f"status {status}")
        times.append(clock.monotonic_s() - began_s)
    connection.close()
    return times


@dataclass(frozen=True, slots=True)
class Paced:
    """What paced streams showed.

    Attributes:
        expected: events that were asked for.
        received: events that came.
        delays_s: how long each took from the simulated model to us.
    """

    expected: int
    received: int
    delays_s: Sequence[float]


class _Listener:
    """Counts the stamps of one stream; an event cut by the network is put together first."""

    def __init__(self, delays_s: list[float]) -> None:
        self._delays_s = delays_s
        self._tail = b""
        self.received = 0

    def take(self, data: bytes) -> None:
        now_s = clock.monotonic_s()
        data = self._tail + data
        last = 0
        for stamp in _STAMP.finditer(data):
            self.received += 1
            self._delays_s.append(now_s - float(stamp[1]))
            last = stamp.end()
        self._tail = data[max(last, len(data) - 24) :]


async def paced(program: Program, path: str, request: bytes, *, streams: int, events: int) -> Paced:
    """Run so many streams side by side to their end."""
    delays_s: list[float] = []
    listeners = [_Listener(delays_s) for _ in range(streams)]

    async def one(number: int, listener: _Listener) -> None:
        await asyncio.sleep(number / _OPENED_A_SECOND)
        connection = await connect(program.port, listener.take)
        await connection.ask(post(path, request, KEY, program.headers))
        connection.close()

    await asyncio.gather(*(one(number, listener) for number, listener in enumerate(listeners)))
    return Paced(streams * events, sum(listener.received for listener in listeners), delays_s)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` per cent of all lie."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 10) - 1]
