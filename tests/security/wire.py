"""A client that sends exactly the bytes it is given, and takes an answer apart without any HTTP library."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from tests.support.gateway import CLIENT_KEY

_QUIET_S = 20.0
MODEL = "claude-sonnet-5-5"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        status: 0 where no status line came.
        headers: in order, names in lower case.
        body: without its framing.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return next((value for known, value in self.headers if known == name), None)

    def error(self) -> dict[str, object]:
        """The error object of either dialect's envelope; fails where the body is none."""
        envelope = msgspec.json.decode(self.body, type=dict[str, object])
        error = envelope["error"]
        assert isinstance(error, dict)
        return error


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything a connection gave.

    Attributes:
        wire: every byte that came.
        closed: whether the server closed the connection.
    """

    wire: bytes
    closed: bool

    @property
    def answers(self) -> list[Answer]:
        """The answers, in order; interim ones left out."""
        found = []
        rest = self.wire
        while rest.startswith(b"HTTP/1."):
            answer, rest = _take(rest)
            if answer.status >= 200:
                found.append(answer)
        return found

    @property
    def status(self) -> int:
        """Status of the first answer, 0 where there is none."""
        return self.answers[0].status if self.answers else 0


def messages_body(text: str = "Hello", /, **fields: object) -> bytes:
    """The smallest Messages request."""
    plain = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": text}]}
    return msgspec.json.encode(plain | fields)


def chat_body(text: str = "Hello", /, **fields: object) -> bytes:
    """The smallest Chat Completions request."""
    return msgspec.json.encode({"model": MODEL, "messages": [{"role": "user", "content": text}]} | fields)


def request(
    path: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    key: str | None = CLIENT_KEY,
    headers: Mapping[str, str | bytes] | None = None,
) -> bytes:
    """A whole request that asks for the connection to be closed; `headers` replace those of their name."""
    fields: dict[str, str | bytes] = {"host": "gateway", "connection": "close"}
    if key is not None:
        fields["authorization"] = f"Bearer {key}"
    if body or method == "POST":
        fields |= {"content-type": "application/json", "content-length": str(len(body))}
    fields |= headers or {}
    lines = [f"{method} {path} HTTP/1.1".encode()]
    lines += [name.encode() + b": " + _raw(value) for name, value in fields.items()]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def converse(url: str, data: bytes, *, quiet_s: float = _QUIET_S, first: bool = False) -> Conversation:
    """Send bytes on a connection of its own and read to its end, or until `quiet_s` seconds bring nothing.

    With `first` the first whole answer is enough: a server that refuses a body goes on reading it for a while.
    """
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    received = b""
    closed = True
    try:
        writer.write(data)
        while block := await asyncio.wait_for(reader.read(65536), quiet_s):
            received += block
            if first and _complete(received):
                closed = False
                break
    except TimeoutError:
        closed = False
    except ConnectionError:
        pass
    finally:
        writer.close()
    return Conversation(received, closed)


async def ask(
    url: str,
    path: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    key: str | None = CLIENT_KEY,
    headers: Mapping[str, str | bytes] | None = None,
) -> Answer:
    """One request and its answer; fails where the connection ends without one."""
    data = request(path, body, method=method, key=key, headers=headers)
    talk = await converse(url, data, first=True)
    assert talk.answers, f"the connection was dropped without an answer: {talk.wire!r}"
    return talk.answers[0]


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def _complete(wire: bytes) -> bool:
    head, blank, rest = wire.partition(b"\r\n\r\n")
    if not blank:
        return False
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return len(rest) >= int(length[1]) if length else rest.endswith(b"0\r\n\r\n")


def _take(wire: bytes) -> tuple[Answer, bytes]:
    head, _, rest = wire.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = tuple(
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
    )
    fields = dict(pairs)
    status = int(first.split(" ")[1])
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body, rest = _dechunk(rest)
    else:
        length = int(fields.get("content-length", "0" if status < 200 else str(len(rest))))
        body, rest = rest[:length], rest[length:]
    return Answer(status, pairs, body), rest


def _dechunk(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, data.removeprefix(b"\r\n")
        body += data[:length]
        data = data[length + 2 :]
    return body, b""
