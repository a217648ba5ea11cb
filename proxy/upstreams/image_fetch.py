"""The only code that fetches a URL a client named, for credentials whose upstream wants the bytes.

It has connections of its own that carry no credential, no cookie and no proxy's address. Whatever the name in a URL
means to whichever resolver, what counts is the address a socket is about to be connected to: it is looked at in that
moment, for every hop. A refusal never says why, so that nobody can map a network by asking.
"""

import asyncio
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv6Address
from typing import Final, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from proxy import __version__
from proxy.log import get_logger
from proxy.settings import FetchRule
from proxy.upstreams.public_address import is_own, is_public

_log = get_logger("image_fetch")

_LIMIT_S: Final = 10.0
_MAX_BYTES: Final = 5 * 1024 * 1024
_REDIRECTS_MAX: Final = 3
_AT_ONCE: Final = 8
_LOOKUPS_AT_ONCE: Final = 4
_URL_MAX_CHARACTERS: Final = 8192
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# An authority of nothing but a host and a port, in ASCII: no user, no escapes, no backslash.
_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+([/?#][\x21-\x5b\x5d-\x7e]*)?", re.IGNORECASE)
_LOCATION: Final = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
_NAME: Final = re.compile(r"[a-z0-9.-]{1,253}|[0-9a-f:.]{2,45}")
_HEADERS: Final = {
    "user-agent": f"carousel/{__version__}",
    "accept": "image/png, image/jpeg, image/gif, image/webp, application/pdf",
    "accept-encoding": "identity",
}

Permitted: TypeAlias = Callable[[int, str], bool]
_AddressInfo: TypeAlias = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]
]


class Unfetchable(Exception):
    """Nothing was fetched; the text says why, for the operator's log alone."""


class _Forbidden(OSError):
    """An address that must not be connected to."""


def permitted(family: int, host: str) -> bool:
    """Whether a socket may be connected to an address: a public one that is not this machine's own."""
    return is_public(host) and not is_own(family, host)


class ImageFetch:
    """Fetches what ``IMAGE_FETCH`` allows."""

    def __init__(
        self,
        rule: FetchRule,
        *,
        permitted: Permitted = permitted,
        resolver: AbstractResolver | None = None,
        limit_s: float = _LIMIT_S,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        """Args beside the rule are for tests: what may be connected to, who knows names, seconds and bytes at most."""
        self._rule = rule
        self._permitted = permitted
        self._resolver = resolver
        self._limit_s = limit_s
        self._max_bytes = max_bytes
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, text: str) -> bytes:
        """The content behind a URL: at most 5 MiB within 10 seconds. Raises Unfetchable."""
        url = None
        try:
            async with asyncio.timeout(self._limit_s):
                url = checked_url(text, self._rule)
                return await self._followed(url)
        except (Unfetchable, aiohttp.ClientError, OSError, ValueError) as error:
            reason = str(error) if isinstance(error, Unfetchable) else type(error).__name__
            _log.info("not fetched", host=None if url is None else url.raw_host, reason=reason)
            raise Unfetchable(reason) from None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _followed(self, url: URL) -> bytes:
        session = self._opened()
        for _ in range(_REDIRECTS_MAX + 1):
            async with session.get(url, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._content(response)
                url = _allowed(_target(url, response.headers.get("location", "")), self._rule)
        raise Unfetchable("too many redirects")

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise Unfetchable(f"status {response.status}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Unfetchable("compressed though it was not to be")
        content = bytearray()
        while chunk := await response.content.readany():
            content += chunk
            if len(content) > self._max_bytes:
                raise Unfetchable("too large")
        return bytes(content)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_AT_ONCE,
                    force_close=True,
                    use_dns_cache=False,
                    resolver=self._resolver or _Resolver(),
                    socket_factory=self._socket,
                ),
                headers=_HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._limit_s),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _socket(self, info: _AddressInfo) -> socket.socket:
        """A socket for an address that may be connected to. Raises _Forbidden for any other."""
        family, kind, protocol, _, address = info
        if family not in {socket.AF_INET, socket.AF_INET6} or not self._permitted(family, address[0]):
            raise _Forbidden("an address that is not public")
        return socket.socket(family, kind, protocol)


def checked_url(text: str, rule: FetchRule) -> URL:
    """What a client named, as the URL that will be fetched. Raises Unfetchable; ValueError for what is no URL."""
    return _allowed(_parsed(text), rule)


def _allowed(url: URL, rule: FetchRule) -> URL:
    """The URL, if it is one the operator allows. Raises Unfetchable."""
    host, port = url.raw_host or "", url.port
    if url.scheme not in {"http", "https"} or url.user is not None or url.password is not None:
        raise Unfetchable("no plain http or https URL")
    if port is None or not _NAME.fullmatch(host) or (":" in host and not _is_ipv6(host)):
        raise Unfetchable("no plain host")
    if not rule.allows(host.removesuffix("."), port):
        raise Unfetchable("not among the allowed hosts and ports")
    return url


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _parsed(text: str) -> URL:
    if len(text) > _URL_MAX_CHARACTERS or not _URL.fullmatch(text):
        raise Unfetchable("no plain http or https URL")
    return URL(text)


def _target(url: URL, location: str) -> URL:
    """Where a redirect leads; never from https to http."""
    if not _LOCATION.fullmatch(location):
        raise Unfetchable("a redirect to nowhere")
    target = _parsed(str(url.join(URL(location))))
    if url.scheme == "https" and target.scheme != "https":
        raise Unfetchable("a redirect that gives up encryption")
    return target


class _Resolver(AbstractResolver):
    """Asks the system, in threads of its own: names that never resolve hold up nobody else's."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, "image-fetch-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError."""
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Let the threads go as soon as their questions are answered."""
        self._threads.shutdown(wait=False, cancel_futures=True)
