"""Web sites of the tests: one on an address that stands for a public one, and listeners that must stay alone."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.settings import FetchRule
from proxy.upstreams.image_fetch import ImageFetch, Permitted
from proxy.upstreams.image_fetch import permitted as really_permitted

PUBLIC: Final = "127.0.0.2"
"""Stands for a public address."""

Answer: TypeAlias = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class EveryHost(FetchRule):
    """A rule that allows every host on every port, so that nothing but addresses decides."""

    def allows(self, host: str, port: int) -> bool:  # noqa: ARG002 - that is the point
        """Always."""
        return True


def public(family: int, host: str) -> bool:
    """The rule for addresses, with one more that is public."""
    return host == PUBLIC or really_permitted(family, host)


def response(content: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer; of header names, underscores are hyphens."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass(slots=True)
class Names(AbstractResolver):
    """Knows names: each time the next of a name's lists of addresses, and what the system makes of any other.

    Attributes:
        known: lists of addresses by name; the last one stays.
        otherwise: for names not known; None asks the system.
        asked: the names that were asked for.
    """

    known: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    otherwise: Sequence[str] | None = None
    asked: list[str] = field(default_factory=list)

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - those of both are given
    ) -> list[ResolveResult]:
        """See `AbstractResolver.resolve`."""
        lists = self.known.get(host)
        addresses = self.otherwise
        if lists is not None:
            addresses = lists[min(self.asked.count(host), len(lists) - 1)]
        self.asked.append(host)
        if addresses is None:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = [str(each[4][0]) for each in found]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """See `AbstractResolver.close`."""


@dataclass(slots=True)
class Site:
    """A site on the address that stands for a public one.

    Attributes:
        port: of it, and of every canary.
        answer: what it does with the head of a request.
        heads: of the requests it got.
        visits: connections to a canary.
        canaries: their addresses.
    """

    port: int = 0
    answer: Answer | None = None
    heads: list[bytes] = field(default_factory=list)
    visits: list[str] = field(default_factory=list)
    canaries: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{PUBLIC}:{self.port}"

    def says(self, *answers: bytes) -> None:
        """Answer so, one after the other; the last one stays."""
        left = list(answers)

        async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(left.pop(0) if len(left) > 1 else left[0])

        self.answer = answer

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if self.answer is not None:
                await self.answer(head, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _visited(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits.append(str(writer.get_extra_info("sockname")[0]))
        writer.write(response(b"internal"))
        writer.close()


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """A running site, with canaries on the same port of every other address of this machine."""
    found = Site()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(await asyncio.start_server(found._asked, PUBLIC, 0))
        found.port = first.sockets[0].getsockname()[1]
        for address in ("127.0.0.1", "::1", *_others()):
            try:
                canary = await asyncio.start_server(found._visited, address, found.port)
            except OSError:
                continue
            await stack.enter_async_context(canary)
            found.canaries.append(address)
        yield found


def _others() -> list[str]:
    """The address this machine would speak to others from, if it has one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [str(probe.getsockname()[0])]


@asynccontextmanager
async def fetching(
    names: Names | None = None,
    *,
    rule: FetchRule | None = None,
    permitted: Permitted = public,
    limit_s: float = 10.0,
    max_bytes: int = 100_000,
) -> AsyncIterator[ImageFetch]:
    """Fetches from every public host and port, and from the site, unless told otherwise."""
    fetch = ImageFetch(
        rule or EveryHost(enabled=True),
        permitted=permitted,
        resolver=names or Names(),
        limit_s=limit_s,
        max_bytes=max_bytes,
    )
    try:
        yield fetch
    finally:
        await fetch.close()


def anywhere(_family: int, _host: str) -> bool:
    """No rule for addresses at all."""
    return True
