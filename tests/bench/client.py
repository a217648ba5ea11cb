"""The load generator where events are counted: a bare HTTP/1.1 client on asyncio's protocols.

It reads just enough of an answer to know where it ends, so that it costs little beside what is measured.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Final, cast

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED_END: Final = b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection, one request at a time.

    Attributes:
        status: of the present answer, 0 before its head came.
    """

    def __init__(self, on_data: Callable[[bytes], None] | None = None) -> None:
        self._on_data = on_data
        self._transport: asyncio.WriteTransport
        self._done: asyncio.Future[bytes]
        self._buffer = b""
        self._left: int | None = None
        self._keep = on_data is None
        self.status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # uvloop's transports have the methods and not the base class
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if hasattr(self, "_done") and not self._done.done():
            self._done.set_exception(exc or ConnectionResetError("closed by the server"))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if not self.status:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._buffer[:end], self._buffer[end + 4 :]
            self._buffer = b""
            self.status = int(head[9:12])
            length = _LENGTH.search(head)
            self._left = int(length[1]) if length else None
        if self._on_data is not None:
            self._on_data(data)
        self._body(data)

    def _body(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._keep else (self._buffer + data)[-5:]
        if self._left is not None:
            self._left -= len(data)
            ended = self._left <= 0
        else:
            ended = self._buffer.endswith(_CHUNKED_END)
        if ended and not self._done.done():
            self._done.set_result(self._buffer)
            self._buffer = b""

    async def ask(self, request: bytes) -> int:
        """Send a request and wait for the whole answer. Returns its status."""
        self._done = asyncio.get_running_loop().create_future()
        self.status = 0
        self._buffer = b""
        self._transport.write(request)
        await self._done
        return self.status

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


async def connect(port: int, on_data: Callable[[bytes], None] | None = None) -> Connection:
    """A connection to a port of this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(on_data), "127.0.0.1", port
    )
    return connection


def post(path: str, body: bytes, key: str, headers: Mapping[str, str]) -> bytes:
    """A request's bytes; `headers` stand in place of the usual ones of the same name."""
    sent = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Authorization": f"Bearer {key}",
        "anthropic-version": "2023-06-01",
        **headers,
        "Content-Length": str(len(body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
