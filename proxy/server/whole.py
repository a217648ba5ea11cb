"""A whole answer that is written to its connection as one piece of head and body."""

from typing import Final

from aiohttp import ClientConnectionResetError, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.hdrs import METH_HEAD
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion11

from proxy.access.refusals import headers_of

_COPIED_MAX_BYTES: Final = 64 * 1024


class WholeAnswer(web.Response):
    """An answer of status 200, whose head is made by hand where nobody has anything to add to it.

    The library's way stands for everything but the ordinary: connections that close after this answer, older
    versions of HTTP, and values that do not fit on a line, which it refuses.
    """

    def __init__(self, body: bytes, headers: dict[str, str], fields: str = "") -> None:
        """`fields` are more headers of ours, as the lines they are sent as, with nothing in them anybody else chose."""
        super().__init__(body=body)
        self._fields = headers
        self._more = fields
        self._written_to: web.BaseRequest | None = None

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open; None as long as nobody has decided."""
        return True if self._written_to is not None else super().keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """See the library."""
        if (
            super().keep_alive is None
            and request.keep_alive
            and request.version == HttpVersion11
            and request.method != METH_HEAD
        ):
            self._written_to = request
            return None
        return await self._prepared_by_library(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """See the library. Raises ClientConnectionResetError where the client has left."""
        request = self._written_to
        if request is None:
            await super().write_eof(data)
            return
        lines = "".join([f"{name}: {value}\r\n" for name, value in self._fields.items()])
        if lines.count("\n") != len(self._fields) or lines.count("\r") != len(self._fields) or "\0" in lines:
            self._written_to = None
            await self._prepared_by_library(request)
            await super().write_eof(data)
            return
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        body = self.body
        if not isinstance(body, bytes):
            raise TypeError("a whole answer is bytes")
        head = (
            f"HTTP/1.1 200 OK\r\n{lines}{self._more}Content-Length: {len(body)}\r\n"
            f"Date: {rfc822_formatted_time()}\r\n\r\n"
        ).encode()
        if len(body) <= _COPIED_MAX_BYTES:
            transport.write(head + body)
            return
        transport.write(head)
        transport.write(body)
        await request.writer.drain()

    async def _prepared_by_library(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        for name, value in (self._fields | headers_of(self._more)).items():
            self.headers[name] = value
        return await super().prepare(request)
