"""An upstream's answer over HTTP, and aiohttp's failures in the pool's words.

No exception of the client library leaves this module: their texts hold request headers and raw upstream bytes.
"""

import asyncio
from functools import lru_cache
from typing import Final

import aiohttp
from aiohttp.hdrs import CONTENT_ENCODING, CONTENT_TYPE
from aiohttp_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError
from multidict import istr

from proxy.pool import Fault, limit_headers
from proxy.upstreams.answer import Answer
from proxy.upstreams.base import Source, UpstreamFault
from proxy.watch import Watch

_ERROR_BODY_MAX_BYTES = 64 * 1024
_AT_ONCE_BYTES: Final = 64 * 1024
_WHOLE_READ_AHEAD_BYTES: Final = 256 * 1024
_PLAIN_ENCODINGS = ("", "identity")
_REQUEST_ID: Final = istr("request-id")
_ORGANIZATION: Final = istr("anthropic-organization-id")
_WORKSPACE: Final = istr("anthropic-workspace-id")


# The first line that fits counts: most of these are kinds of others, and of OSError.
_MEANINGS: Final[tuple[tuple[tuple[type[BaseException], ...], Fault | None], ...]] = (
    ((aiohttp.ConnectionTimeoutError, ProxyTimeoutError), Fault.CONNECT_TIMEOUT),
    ((TimeoutError,), None),
    ((aiohttp.ClientConnectorDNSError,), Fault.DNS),
    ((aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError), Fault.TLS),
    ((aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError), Fault.CONNECT_REFUSED),
    ((ProxyConnectionError, ProxyError), Fault.CONNECT_REFUSED),
    ((aiohttp.ClientPayloadError,), Fault.TRUNCATED),
    ((aiohttp.ClientResponseError,), Fault.GARBAGE),
    ((aiohttp.ClientError, OSError), Fault.RESET),
)


MEANINGFUL: Final = tuple(kind for kinds, _ in _MEANINGS for kind in kinds)
"""What the client library raises for faults of upstreams, and of the way to them."""


def fault_of(error: BaseException, *, waiting: Fault = Fault.HEADERS_TIMEOUT) -> UpstreamFault:
    """The same in the pool's words.

    The library reports unreadable answers as a ``ClientResponseError`` with status 400 and the raw bytes in its
    text, so neither is looked at.

    Args:
        error: one of `MEANINGFUL`.
        waiting: what ran out of time.
    """
    return UpstreamFault(next(fault for kinds, fault in _MEANINGS if isinstance(error, kinds)) or waiting)


class HttpReply:
    """An answer whose head has been read.

    Attributes:
        resent: whether the call was sent a second time, and may have been carried out the first time.
    """

    __slots__ = (
        "_content",
        "_left_bytes",
        "_response",
        "content_type",
        "headers",
        "resent",
        "source",
        "status",
    )

    def __init__(self, response: Answer, max_body_bytes: int, *, resent: bool = False) -> None:
        self._response = response
        self.resent = resent
        self._content = response.content
        self._left_bytes = max_body_bytes
        headers = response.headers
        self.status = response.status
        self.headers = headers
        self.content_type = _media_type(headers.get(CONTENT_TYPE, ""))
        organization = headers.get(_ORGANIZATION)
        self.source = Source(
            headers.get(_REQUEST_ID),
            organization,
            headers.get(_WORKSPACE),
            limit_headers(headers, organization),
        )

    @property
    def plain(self) -> bool:
        """Whether the body came as asked for: not compressed."""
        encoding = self.headers.get(CONTENT_ENCODING)
        return encoding is None or encoding.strip().lower() in _PLAIN_ENCODINGS

    @property
    def ended(self) -> bool:
        """See `ByteReply.ended`."""
        return self._content.at_eof()

    async def read(self) -> bytes:
        """The next bytes, 64 KiB at most; empty at the end. Raises UpstreamFault. Nothing is lost when it is cancelled.

        More at once is held until the slowest of clients has taken it, and takes longer to translate than its parts.
        """
        try:
            return await self._content.read(_AT_ONCE_BYTES)
        except MEANINGFUL as error:
            raise fault_of(error, waiting=Fault.STALLED) from None

    async def read_all(self, watch: Watch, limit_s: float) -> bytes:
        """The whole body, at most the cap of an upstream answer, within `limit_s` seconds. Raises UpstreamFault."""
        content = self._content
        if not content.is_eof():
            return await self._collect(watch, limit_s, self._left_bytes)
        # a short body comes with its head, and then there is nothing to wait for
        try:
            body = content.read_nowait()
        except MEANINGFUL as error:
            raise fault_of(error) from None
        if len(body) > self._left_bytes:
            raise UpstreamFault(Fault.BODY_TOO_LARGE)
        return body

    async def read_error(self, watch: Watch, limit_s: float) -> bytes:
        """As much of an error's body as is ever looked at, 64 KB; a broken or slow one counts as what came of it."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + limit_s
        chunks: list[bytes] = []
        size_bytes = 0
        try:
            while size_bytes < _ERROR_BODY_MAX_BYTES and (
                chunk := await watch.within(due_s - loop.time(), self._content.readany())
            ):
                chunks.append(chunk)
                size_bytes += len(chunk)
        except (aiohttp.ClientError, OSError):
            pass
        return b"".join(chunks)[:_ERROR_BODY_MAX_BYTES]

    async def _collect(self, watch: Watch, limit_s: float, max_bytes: int) -> bytes:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + limit_s
        chunks: list[bytes] = []
        left_bytes = max_bytes
        # nobody's pace holds this up, and to stop reading and go on costs time
        self._content.set_read_chunk_size(_WHOLE_READ_AHEAD_BYTES)
        try:
            while chunk := await watch.within(due_s - loop.time(), self._content.readany()):
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    raise UpstreamFault(Fault.BODY_TOO_LARGE)
                chunks.append(chunk)
        except MEANINGFUL as error:
            raise fault_of(error) from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it at once."""
        if self.ended:
            self._response.release()
        else:
            self._response.close()


@lru_cache(maxsize=64)
def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()
