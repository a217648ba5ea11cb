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
    versions of HTTP, and values that do not fit on a line, which it refuses. What an answer of the library holds,
    its ``headers`` among it, is made only then.
    """

    _status = 200
    _reason = "OK"

    def __init__(self, body: bytes, headers: dict[str, str], fields: str = "") -> None:
        """`headers`, at least one, have values anybody may have chosen, but names of ours.

        `fields` are more headers of ours, as the lines they are sent as, with nothing in them anybody else chose.
        """
        self._body = body
        self._fields = headers
        self._more = fields
        self._written_to: web.BaseRequest | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """See the library."""
        if (
            self._keep_alive is None
            and request.keep_alive
            and request.version == HttpVersion11
            and request.method != METH_HEAD
        ):
            self._written_to = request
            self._keep_alive = True
            return None
        return await self._prepared_by_library(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """See the library. Raises ClientConnectionResetError where the client has left."""
        request = self._written_to
        if request is None:
            await super().write_eof(data)
            return
        fields = self._fields
        said = "".join(fields.values())
        if "\n" in said or "\r" in said or "\0" in said:
            self._written_to = None
            await self._prepared_by_library(request)
            await super().write_eof(data)
            return
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        body = self._body
        if not isinstance(body, bytes):
            raise TypeError("a whole answer is bytes")
        lines = "\r\n".join(map(": ".join, fields.items()))
        head = (
            f"HTTP/1.1 200 OK\r\n{lines}\r\n{self._more}Content-Length: {len(body)}\r\n"
            f"Date: {rfc822_formatted_time()}\r\n\r\n"
        ).encode()
        if len(body) <= _COPIED_MAX_BYTES:
            transport.write(head + body)
            return
        transport.write(head)
        transport.write(body)
        await request.writer.drain()

    async def _prepared_by_library(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        super().__init__(body=self._body, headers=self._fields | headers_of(self._more))
        return await super().prepare(request)
