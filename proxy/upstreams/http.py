"""HTTP towards upstreams: one client session per way out, and calls whose heads are made once.

No redirect is followed, no cookie is kept but by who brings a jar, and no proxy is taken from the environment.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Collection
from functools import cached_property
from typing import Final, NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict
from yarl import URL

from proxy import __version__
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.upstreams.answer import (
    LINE_MAX_BYTES,
    READ_AHEAD_BYTES,
    Answer,
    DirectAnswer,
    expect_answer,
    read_head,
)
from proxy.upstreams.connections import (
    SOCKS_SCHEMES,
    STALE_WITHIN_S,
    Connector,
    connector_through,
    is_kept,
    replacing_stale,
)
from proxy.upstreams.reply import MEANINGFUL, HttpReply, fault_of
from proxy.watch import Watch

# Every call says who makes it, and none leaves anything for the client library to fill in.
_ALWAYS: Final = {"user-agent": f"carousel/{__version__}", "accept": "*/*", "accept-encoding": "identity"}
_AT_ONCE_BYTES = 1024 * 1024


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

    async def keep(self, proxies: Collection[Secret | None]) -> None:
        """Close the ways out through other proxies. The direct one stays; its idle connections close by themselves."""
        for proxy in [known for known in self._sessions if known is not None and known not in proxies]:
            await self._sessions.pop(proxy).close()

    async def close(self) -> None:
        """Close every connection."""
        for way_out in self._sessions.values():
            await way_out.close()
        self._sessions.clear()


class _Shared(NamedTuple):
    """Connections of a way out, and the cookies of one who uses them."""

    connector: Connector
    jar: aiohttp.abc.AbstractCookieJar


class WayOut:
    """One network path with its own connections."""

    def __init__(self, proxy: Secret | None, policy: Policy, shared: _Shared | None = None) -> None:
        """A way through `proxy`, or the direct one; `shared` is another way's connections and a jar of one's own."""
        self._proxy = proxy
        self._policy = policy
        self._apart: list[WayOut] = []
        url = URL(proxy.reveal()) if proxy is not None else None
        socks = url is not None and url.scheme in SOCKS_SCHEMES
        self._http_proxy = None if socks else url
        self._max_body_bytes = policy.upstream_body_max_bytes
        self._connector = shared.connector if shared is not None else connector_through(url)
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
            read_bufsize=READ_AHEAD_BYTES,
            max_line_size=LINE_MAX_BYTES,
            max_field_size=LINE_MAX_BYTES,
        )

    def posting(self, url: URL, headers: CIMultiDict[str]) -> "Posting":
        """POST calls to one address with the same headers; worth keeping, its head is made here and not per call."""
        return Posting(self._session, self._connector, url, headers, self._http_proxy, self._max_body_bytes)

    def apart(self, jar: aiohttp.abc.AbstractCookieJar) -> "WayOut":
        """The same way and its connections, with cookies of one's own; closing it leaves the connections open."""
        self._apart = [each for each in self._apart if not each.closed]
        self._apart.append(WayOut(self._proxy, self._policy, _Shared(self._connector, jar)))
        return self._apart[-1]

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent on it any more."""
        return self._session.closed

    async def request(
        self,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        body: bytes | aiohttp.FormData | AsyncIterator[bytes] | None,
        watch: Watch,
        limit_s: float,
    ) -> HttpReply:
        """Make any other call, and read the head of the answer within `limit_s` seconds.

        A body that is an iterator goes out piece by piece, as it comes; where it raises, the connection is closed
        without an end of the body. A call with any other body that finds a connection kept from an earlier call to be
        closed is sent once more, over a new one; the answer says so. Raises UpstreamFault.
        """

        async def send() -> aiohttp.ClientResponse:
            data = _payload(body) if isinstance(body, bytes) else body
            return await self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False, proxy=self._http_proxy
            )

        try:
            if isinstance(body, AsyncIterator):
                return HttpReply(await watch.within(limit_s, send()), self._max_body_bytes)
            response, resent = await watch.within(limit_s, replacing_stale(send))
        except MEANINGFUL as error:
            raise fault_of(error) from None
        return HttpReply(response, self._max_body_bytes, resent=resent)

    async def close(self) -> None:
        """Close every connection of this way out, and those who use them."""
        for each in self._apart:
            await each.close()
        await self._session.close()


class Posting:
    """POST calls to one address with the same headers.

    An ordinary call is written to its connection as one piece of prepared head and body. The library's own way, which
    makes a dozen objects and a task a call, is taken by large bodies, as it reads an early refusal while the body is
    still going out, and by calls through an HTTP proxy, whose heads differ. On either way a call that finds a
    connection kept from an earlier one to be closed is sent once more, over a new one.
    """

    __slots__ = (
        "_connector",
        "_head",
        "_headers",
        "_http_proxy",
        "_info",
        "_max_body_bytes",
        "_request",
        "_session",
        "_timeout",
        "_url",
    )

    def __init__(
        self,
        session: aiohttp.ClientSession,
        connector: Connector,
        url: URL,
        headers: CIMultiDict[str],
        http_proxy: URL | None,
        max_body_bytes: int,
    ) -> None:
        """Raises ValueError for a header that does not fit on a line of its own."""
        self._session = session
        self._connector = connector
        self._timeout = session.timeout
        self._url = url
        self._headers = headers
        self._http_proxy = http_proxy
        self._max_body_bytes = max_body_bytes
        everything = CIMultiDict({**session.headers, **headers})
        self._request = _Prepared(
            "POST", url, headers=everything, session=session, loop=asyncio.get_running_loop()
        )
        self._info = self._request.request_info
        self._head = _head(url, self._request.headers)

    async def send(
        self, body: bytes, watch: Watch, limit_s: float, traceparent: str | None = None
    ) -> HttpReply:
        """Send `body`, with this header of its own, and read the head of the answer within `limit_s` seconds.

        Raises UpstreamFault.
        """
        direct = self._http_proxy is None and len(body) <= _AT_ONCE_BYTES
        call = self._direct(body, watch, traceparent) if direct else self._library(body, traceparent)
        try:
            answer: Answer = await watch.within(limit_s, call)
        except MEANINGFUL as error:
            raise fault_of(error) from None
        return HttpReply(answer, self._max_body_bytes)

    async def _direct(self, body: bytes, watch: Watch, traceparent: str | None) -> DirectAnswer:
        began_s = watch.now_s()
        stale = False
        while True:
            try:
                connection = await self._connector.plainly(self._request, self._timeout)
            except TimeoutError as late:
                raise aiohttp.ConnectionTimeoutError from late
            protocol = connection.protocol
            kept = is_kept(protocol)
            # what the other side has written since the last answer, the next call would take for its own
            if kept and (stale or protocol is None or protocol.should_close):
                # what was kept beside a stale one is no better, and what nobody asked for answers nobody
                connection.close()
                continue
            try:
                written = self._written_to(protocol, body, traceparent)
                return await read_head(connection, written, self._info)
            except BaseException as error:
                connection.close()
                # closed by the other side since the last call, which says nothing about whose call this is
                gone = kept and isinstance(error, aiohttp.ClientConnectionError)
                if not gone or watch.now_s() - began_s > STALE_WITHIN_S:
                    raise
            stale = True

    def _written_to(
        self, protocol: ResponseHandler | None, body: bytes, traceparent: str | None
    ) -> ResponseHandler:
        """Write the call to a connection, and return what reads the answer to it."""
        if protocol is None or (transport := protocol.transport) is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection is gone")
        expect_answer(protocol)
        further = b"" if traceparent is None else b"traceparent: %b\r\n" % traceparent.encode()
        transport.write(b"%b%d\r\n%b\r\n%b" % (self._head, len(body), further, body))
        return protocol

    async def _library(self, body: bytes, traceparent: str | None) -> aiohttp.ClientResponse:
        headers = self._headers
        if traceparent is not None:
            headers = headers.copy()
            headers["traceparent"] = traceparent

        async def send() -> aiohttp.ClientResponse:
            return await self._session.post(
                self._url,
                data=_payload(body),
                headers=headers,
                allow_redirects=False,
                proxy=self._http_proxy,
            )

        response, _ = await replacing_stale(send)
        return response


class _Prepared(aiohttp.ClientRequest):
    """A call that serves again and again: which connections will do for it is worked out once."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        """See the library."""
        return super().connection_key


def _payload(body: bytes) -> bytes | io.BytesIO:
    """A body for the library, which writes plain bytes in one go; a large one would hold up every other request."""
    return body if len(body) <= _AT_ONCE_BYTES else io.BytesIO(body)


def _head(url: URL, headers: CIMultiDict[str]) -> bytes:
    """The head of a request up to the value of its length. Raises ValueError for what would end a line early."""
    lines = [f"{name}: {value}" for name, value in headers.items() if name.lower() != "content-length"]
    lines = [f"POST {url.raw_path_qs} HTTP/1.1", *lines, "Content-Length: "]
    if any(character in line for line in lines for character in "\r\n\0"):
        raise ValueError("a header holds the end of a line")
    return "\r\n".join(lines).encode()
