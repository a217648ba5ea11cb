"""HTTP towards upstreams: one client session per way out, and aiohttp's failures in the pool's words.

No redirect is followed, no cookie is kept, no proxy is taken from the environment, and no exception of the
client library leaves this module: their texts hold request headers and raw upstream bytes.
"""

import asyncio
import io
from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Final, NamedTuple

import aiohttp
from aiohttp.hdrs import CONTENT_ENCODING, CONTENT_TYPE
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError
from multidict import CIMultiDict, istr
from yarl import URL

from proxy import __version__
from proxy.pool import Fault
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.upstreams.base import Source, UpstreamFault
from proxy.watch import Watch

# Every call says who makes it, and none leaves anything for the client library to fill in.
_ALWAYS: Final = {"user-agent": f"carousel/{__version__}", "accept": "*/*", "accept-encoding": "identity"}
_SOCKS_SCHEMES = ("socks4", "socks5", "socks5h")
_IDLE_CONNECTION_S = 30.0
_ERROR_BODY_MAX_BYTES = 64 * 1024
_AT_ONCE_BYTES = 1024 * 1024
_PLAIN_ENCODINGS = ("", "identity")
_REQUEST_ID: Final = istr("request-id")
_ORGANIZATION: Final = istr("anthropic-organization-id")
_WORKSPACE: Final = istr("anthropic-workspace-id")


class WaysOut:
    """The client sessions, one per proxy, made when first used."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._sessions: dict[Secret | None, WayOut] = {}

    def via(self, proxy: Secret | None) -> "WayOut":
        """The way out through `proxy`, a URL that may hold a password; None is the direct way."""
        way_out = self._sessions.get(proxy)
        if way_out is None:
            way_out = self._sessions[proxy] = WayOut(proxy, self._policy)
        return way_out

    async def close(self) -> None:
        """Close every connection."""
        for way_out in self._sessions.values():
            await way_out.close()
        self._sessions.clear()


class _Shared(NamedTuple):
    """Connections of a way out, and the cookies of one who uses them."""

    connector: aiohttp.TCPConnector
    jar: aiohttp.abc.AbstractCookieJar


def _connector(proxy: URL | None) -> aiohttp.TCPConnector:
    if proxy is None or proxy.scheme not in _SOCKS_SCHEMES:
        return aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_CONNECTION_S, ttl_dns_cache=60)
    address = str(proxy).replace("socks5h://", "socks5://", 1)
    return ProxyConnector.from_url(address, rdns=proxy.scheme == "socks5h" or None, limit=0)


class WayOut:
    """One network path with its own connections."""

    def __init__(self, proxy: Secret | None, policy: Policy, shared: _Shared | None = None) -> None:
        """A way through `proxy`, or the direct one; `shared` is another way's connections and a jar of one's own."""
        self._proxy = proxy
        self._policy = policy
        self._apart: list[WayOut] = []
        url = URL(proxy.reveal()) if proxy is not None else None
        socks = url is not None and url.scheme in _SOCKS_SCHEMES
        self._http_proxy = None if socks else url
        self._max_body_bytes = policy.upstream_body_max_bytes
        self._connector = shared.connector if shared is not None else _connector(url)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=shared is None,
            headers=_ALWAYS,
            cookie_jar=shared.jar if shared is not None else aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=policy.connect_timeout_s, sock_read=None
            ),
            auto_decompress=False,
            trust_env=False,
            requote_redirect_url=False,
            max_line_size=16_384,
            max_field_size=16_384,
        )

    def apart(self, jar: aiohttp.abc.AbstractCookieJar) -> "WayOut":
        """The same way and its connections, with cookies of one's own; closing it leaves the connections open."""
        self._apart = [each for each in self._apart if not each.closed]
        self._apart.append(WayOut(self._proxy, self._policy, _Shared(self._connector, jar)))
        return self._apart[-1]

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent on it any more."""
        return self._session.closed

    async def post(
        self, url: URL, headers: CIMultiDict[str], body: bytes, watch: Watch, limit_s: float
    ) -> "HttpReply":
        """Send a POST and read the head of the answer within `limit_s` seconds. Raises UpstreamFault."""
        return await self.request("POST", url, headers, body, watch, limit_s)

    async def request(
        self,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        body: bytes | aiohttp.FormData | None,
        watch: Watch,
        limit_s: float,
    ) -> "HttpReply":
        """Send a request and read the head of the answer within `limit_s` seconds. Raises UpstreamFault."""
        # Plain bytes are written in one go, which for a large body holds up every other request.
        large = isinstance(body, bytes) and len(body) > _AT_ONCE_BYTES
        data = io.BytesIO(body) if large and isinstance(body, bytes) else body
        with _SENDING:
            response = await watch.within(
                limit_s,
                self._session.request(
                    method, url, data=data, headers=headers, allow_redirects=False, proxy=self._http_proxy
                ),
            )
        return HttpReply(response, self._max_body_bytes)

    async def close(self) -> None:
        """Close every connection of this way out, and those who use them."""
        for each in self._apart:
            await each.close()
        await self._session.close()


class HttpReply:
    """An answer whose head has been read."""

    __slots__ = ("_content", "_left_bytes", "_response", "content_type", "headers", "source", "status")

    def __init__(self, response: aiohttp.ClientResponse, max_body_bytes: int) -> None:
        self._response = response
        self._content = response.content
        self._left_bytes = max_body_bytes
        headers = response.headers
        self.status = response.status
        self.headers: Mapping[str, str] = headers
        self.content_type = _media_type(headers.get(CONTENT_TYPE, ""))
        self.source = Source(headers.get(_REQUEST_ID), headers.get(_ORGANIZATION), headers.get(_WORKSPACE))

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
        """The next bytes; empty at the end. Raises UpstreamFault. Nothing is lost when it is cancelled."""
        with _STREAMING:
            return await self._content.readany()

    async def read_all(self, watch: Watch, limit_s: float) -> bytes:
        """The whole body, at most the cap of an upstream answer, within `limit_s` seconds. Raises UpstreamFault."""
        content = self._content
        if not content.is_eof():
            return await self._collect(watch, limit_s, self._left_bytes)
        # a short body comes with its head, and then there is nothing to wait for
        with _SENDING:
            body = content.read_nowait()
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
        with _SENDING:
            while chunk := await watch.within(due_s - loop.time(), self._content.readany()):
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    raise UpstreamFault(Fault.BODY_TOO_LARGE)
                chunks.append(chunk)
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


class _Faults:
    """Turns what the client library raises into the pool's faults; it holds no state, so one serves all.

    The library reports unreadable answers as a ``ClientResponseError`` with status 400 and the raw bytes in its
    text, so neither is looked at.
    """

    def __init__(self, *, waiting: Fault) -> None:
        """`waiting` names what ran out of time."""
        self._waiting = waiting

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Raises UpstreamFault in place of `error`, where it has a meaning."""
        if error is not None and (fault := self._meaning(error)) is not None:
            raise UpstreamFault(fault) from None

    def _meaning(self, error: BaseException) -> Fault | None:
        fault = next((fault for kinds, fault in _MEANINGS if isinstance(error, kinds)), None)
        return self._waiting if fault is None and isinstance(error, TimeoutError) else fault


_SENDING: Final = _Faults(waiting=Fault.HEADERS_TIMEOUT)
_STREAMING: Final = _Faults(waiting=Fault.STALLED)
