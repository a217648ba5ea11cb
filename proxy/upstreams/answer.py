"""The head of an upstream's answer, read from a connection that a call was written to by hand."""

from collections.abc import Mapping
from typing import Final, Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

LINE_MAX_BYTES: Final = 16_384
READ_AHEAD_BYTES: Final = 64 * 1024
"""Twice as much may lie unread, and what one read of the loop brings, before an upstream has to wait.

The client library's own number is four times this, which each stream whose client reads slowly would take.
"""
_FIRST_FINAL: Final = 200
_SWITCHING: Final = 101


class Answer(Protocol):
    """An answer whose head has been read: one of ours, or one of the client library."""

    @property
    def status(self) -> int:
        """Of the answer."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer; their names are found in any case."""
        ...

    @property
    def content(self) -> StreamReader:
        """Its body, as it comes."""
        ...

    def release(self) -> object:
        """Give the connection back."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class DirectAnswer:
    """An answer without what the client library does beside it: cookies, history, hints to who calls."""

    __slots__ = ("_connection", "content", "headers", "status")

    def __init__(
        self, connection: Connection, status: int, headers: Mapping[str, str], content: StreamReader
    ) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        self.content = content

    def release(self) -> None:
        """Give the connection back; it is closed instead where the body was not read to its end."""
        self._connection.release()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


async def read_head(
    connection: Connection, protocol: ResponseHandler, info: aiohttp.RequestInfo
) -> DirectAnswer:
    """Read the head of the answer to what was written, past those that only say that it is on its way.

    Raises aiohttp.ClientResponseError for what is none, and aiohttp.ClientConnectionError.
    """
    while True:
        try:
            message, content = await protocol.read()
        except HttpProcessingError as unreadable:
            raise aiohttp.ClientResponseError(
                info, (), status=unreadable.code, message=unreadable.message
            ) from None
        if message.code >= _FIRST_FINAL or message.code == _SWITCHING:
            return DirectAnswer(connection, message.code, message.headers, content)


class ReadingProtocol(ResponseHandler):
    """A connection that keeps the parser of its answers from one call to the next, where nothing in between changed it.

    To make one costs as much as to read a short answer. It reads on only where it had stopped: the library tells it so
    after every piece of a body, and looks through what has not come each time.
    """

    _kept: object = None

    def resume_reading(self, resume_parser: bool = True) -> None:
        """See the library."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def expect_answer(self) -> None:
        """Be ready for the answer to a call that was written by hand."""
        if self._parser is None or self._parser is not self._kept:
            _make_parser(self)
            self._kept = self._parser


def expect_answer(protocol: ResponseHandler) -> None:
    """Have a connection of whatever kind be ready for the answer to a call that was written by hand."""
    if isinstance(protocol, ReadingProtocol):
        protocol.expect_answer()
    else:
        # connections through SOCKS proxies are of a kind of their own
        _make_parser(protocol)


def _make_parser(protocol: ResponseHandler) -> None:
    protocol.set_response_params(
        read_until_eof=True,
        read_bufsize=READ_AHEAD_BYTES,
        auto_decompress=False,
        max_line_size=LINE_MAX_BYTES,
        max_field_size=LINE_MAX_BYTES,
    )
