"""Connections of a way out, and calls of the client library over them that replace one which had been closed.

A connection is kept from call to call, and the other side may close it without a word. That is found out by the next
call, and says nothing about whose call this is. The library repeats by itself only what may be asked twice in any case.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from aiohttp_socks import ProxyConnector
from yarl import URL

from proxy.upstreams.answer import ReadingProtocol

SOCKS_SCHEMES: Final = ("socks4", "socks5", "socks5h")
STALE_WITHIN_S: Final = 0.5
"""An end later than this after the call went out is an answer's, and not that of a connection closed before."""

_IDLE_CONNECTION_S: Final = 30.0


@dataclass(slots=True)
class _Sending:
    """A call on its way.

    Attributes:
        began_s: when it got its connection, the loop's seconds.
        kept: whether an earlier call went over that connection.
        anew: whether no such connection will do.
    """

    began_s: float = 0.0
    kept: bool = False
    anew: bool = False


_SENDING: Final[ContextVar[_Sending | None]] = ContextVar("sending", default=None)


class Connector(aiohttp.TCPConnector):
    """Tells a call that `replacing_stale` makes what connection it got."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the library's own parameter
    ) -> Connection:
        """See the library."""
        connection = await super().connect(req, traces, timeout)
        if (sending := _SENDING.get()) is not None:
            while sending.anew and is_kept(connection.protocol):
                connection.close()
                connection = await super().connect(req, traces, timeout)
            sending.kept = is_kept(connection.protocol)
            sending.began_s = self._loop.time()
        return connection

    def plainly(self, req: aiohttp.ClientRequest, timeout: aiohttp.ClientTimeout) -> Awaitable[Connection]:
        """The library's own `connect`, for who looks at the connection himself."""
        return super().connect(req, [], timeout)


class _SocksConnector(Connector, ProxyConnector):
    """The same through a SOCKS proxy."""


def connector_through(proxy: URL | None) -> Connector:
    """The connections of a way out; a proxy of HTTP is named with each call, and not here."""
    if proxy is not None and proxy.scheme in SOCKS_SCHEMES:
        address = str(proxy).replace("socks5h://", "socks5://", 1)
        made = _SocksConnector.from_url(address, rdns=proxy.scheme == "socks5h" or None, limit=0)
        # it is of the class it was asked of, whatever the library declares
        return cast(Connector, made)
    connector = Connector(limit=0, keepalive_timeout=_IDLE_CONNECTION_S, ttl_dns_cache=60)
    reading = functools.partial(ReadingProtocol, loop=asyncio.get_running_loop())
    connector._factory = reading  # type: ignore[assignment]  # noqa: SLF001 - there is no other way to name a protocol
    return connector


def is_kept(protocol: ResponseHandler | None) -> bool:
    """Whether an earlier call went over it; a new one has no parser yet, and nothing else tells them apart."""
    return protocol is not None and protocol._parser is not None  # noqa: SLF001 - as said


async def replacing_stale(
    send: Callable[[], Awaitable[aiohttp.ClientResponse]],
) -> tuple[aiohttp.ClientResponse, bool]:
    """Make a call, and once more over a new connection if it got a kept one that turned out to be closed.

    Args:
        send: makes the call; has to make its body anew each time.

    Returns:
        The answer, and whether the call was sent twice.
    """
    loop = asyncio.get_running_loop()
    sending = _Sending()
    token = _SENDING.set(sending)
    try:
        try:
            return await send(), False
        except aiohttp.ClientConnectionError:
            if not sending.kept or loop.time() - sending.began_s > STALE_WITHIN_S:
                raise
        sending.anew = True
        return await send(), True
    finally:
        _SENDING.reset(token)
