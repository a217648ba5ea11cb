"""A client of our own for the simulator's tests: it reads the wire without any HTTP library."""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from proxy.simulator import Simulator

MODEL = "claude-opus-5-5"


class Answer(NamedTuple):
    """An answer as it came.

    Attributes:
        status: 0 where no status line came.
        headers: by lower-case name.
        body: without chunk framing.
        end: ``clean``: complete; ``cut``: closed too early; ``reset``: by a TCP reset.
        wire: every byte.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    end: str
    wire: bytes

    def json(self) -> dict[str, object]:
        """The body as a JSON object."""
        return msgspec.json.decode(self.body, type=dict[str, object])


def question(text: str = "Hello", **fields: object) -> dict[str, object]:
    """A smallest request for an answer."""
    return {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": text}]} | fields


def request_bytes(
    body: object = None,
    *,
    method: str = "POST",
    path: str = "/v1/messages",
    key: str = "k",
    headers: Mapping[str, str] | None = None,
    close: bool = True,
) -> bytes:
    """A request as bytes; `body` is sent as JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
    fields = {"host": "sim", "anthropic-version": "2023-06-01", "content-length": str(len(data))}
    if key:
        fields["x-api-key"] = key
    if close:
        fields["connection"] = "close"
    fields |= headers or {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + data


async def connect(simulator: Simulator) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the simulator."""
    where = urlsplit(simulator.url)
    return await asyncio.open_connection(where.hostname, where.port)


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop turns until something is so; fails after some seconds."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come about")


async def converse(simulator: Simulator, data: bytes) -> tuple[bytes, bool]:
    """Send bytes and read until the end; gives what came, and whether it ended by a reset."""
    reader, writer = await connect(simulator)
    received = b""
    try:
        writer.write(data)
        while block := await reader.read(65536):
            received += block
    except ConnectionResetError:
        return received, True
    finally:
        writer.close()
    return received, False


async def ask(
    simulator: Simulator,
    body: object = None,
    *,
    method: str = "POST",
    path: str = "/v1/messages",
    key: str = "k",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request on a connection of its own and read the whole answer."""
    data = request_bytes(body, method=method, path=path, key=key, headers=headers)
    wire, was_reset = await converse(simulator, data)
    return parse(wire, was_reset=was_reset)


def parse(wire: bytes, *, was_reset: bool = False) -> Answer:
    """Take an answer apart."""
    head, blank, rest = wire.partition(b"\r\n\r\n")
    if not blank or not head[:12].removeprefix(b"HTTP/1.1 ").isdigit():
        return Answer(0, {}, b"", "reset" if was_reset else "cut", wire)
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body, complete = _dechunk(rest)
    else:
        body, complete = rest, len(rest) == int(headers.get("content-length", len(rest)))
    end = "reset" if was_reset else "clean" if complete else "cut"
    return Answer(int(first.split(" ")[1]), headers, body, end, wire)


def _dechunk(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, data == b"\r\n"
        body += data[:length]
        data = data[length + 2 :]
    return body, False


def chunk_sizes(wire: bytes) -> list[int]:
    """The sizes of the chunks of a chunked answer."""
    data = wire.partition(b"\r\n\r\n")[2]
    sizes = []
    while data:
        size, _, data = data.partition(b"\r\n")
        sizes.append(int(size, 16))
        data = data[int(size, 16) + 2 :]
    return sizes


def event_names(body: bytes) -> list[str]:
    """The names of a stream's events, in order."""
    return [line[7:].decode() for line in body.split(b"\n") if line.startswith(b"event: ")]


def event_data(body: bytes) -> list[dict[str, object]]:
    """The data of a stream's events, in order."""
    lines = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [msgspec.json.decode(line, type=dict[str, object]) for line in lines]
