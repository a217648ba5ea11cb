"""Real proxies of others' making on this machine, each of which goes out from an address of its own.

That address is what a simulated Claude sees, and so what tells a call that came through a proxy from one that did not.
"""

import asyncio
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from proxy.simulator import Simulator
from proxy.simulator.faults.tls import certified

USER: Final = "traveller"
PASSWORD: Final = "canary-proxy-password"
_HOST: Final = "127.0.0.1"
_START_S: Final = 20.0
_PIECE_BYTES: Final = 65_536


class Sort(StrEnum):
    """The scheme of a proxy's URL."""

    SOCKS = "socks5"
    HTTP = "http"


PROGRAMS: Final = {Sort.SOCKS: "microsocks", Sort.HTTP: "tinyproxy"}
_SOURCES: Final = {Sort.SOCKS: "127.0.0.3", Sort.HTTP: "127.0.0.4"}


@dataclass(slots=True)
class RealProxy:
    """A proxy that asks for a user and a password.

    Attributes:
        sort: what it speaks.
        folder: where its configuration is.
        port: where it listens, on the loopback address.
    """

    sort: Sort
    folder: Path
    port: int
    _process: Process | None = field(default=None, repr=False)

    @property
    def source(self) -> str:
        """The address its calls come from."""
        return _SOURCES[self.sort]

    @property
    def url(self) -> str:
        """Its URL, with user and password."""
        return self.url_for(PASSWORD)

    def url_for(self, password: str) -> str:
        """Its URL with some password."""
        return f"{self.sort}://{USER}:{password}@{_HOST}:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it takes connections. Raises RuntimeError when it ends instead."""
        self._process = await asyncio.create_subprocess_exec(*self._command(), stdout=DEVNULL, stderr=DEVNULL)
        async with asyncio.timeout(_START_S):
            while not await _listens(self.port):
                if self._process.returncode is not None:
                    raise RuntimeError(f"{PROGRAMS[self.sort]} ended with {self._process.returncode}")
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End it, and every connection through it; safe to call twice."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def _command(self) -> tuple[str, ...]:
        program = PROGRAMS[self.sort]
        if self.sort is Sort.SOCKS:
            where = ("-i", _HOST, "-p", str(self.port), "-b", self.source)
            return (program, *where, "-u", USER, "-P", PASSWORD)
        lines = (
            f"Port {self.port}",
            f"Listen {_HOST}",
            f"Bind {self.source}",
            f"BasicAuth {USER} {PASSWORD}",
            "Timeout 60",
            "MaxClients 50",
        )
        file = self.folder / "tinyproxy.conf"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return (program, "-d", "-c", str(file))


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(_HOST, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@asynccontextmanager
async def real_proxy(sort: Sort, folder: Path) -> AsyncIterator[RealProxy]:
    """A running proxy; it is ended in the end."""
    # none of the programs takes a port of the system's choice
    with socket.create_server((_HOST, 0)) as free:
        port = free.getsockname()[1]
    proxy = RealProxy(sort, folder, port)
    try:
        await proxy.start()
        yield proxy
    finally:
        await proxy.stop()


@dataclass(frozen=True, slots=True)
class Front:
    """A simulated Claude's address with TLS, as the real ones have.

    Attributes:
        url: without a slash at the end.
        trust: the file a client has to trust.
    """

    url: str
    trust: Path


@asynccontextmanager
async def front(simulator: Simulator, folder: Path) -> AsyncIterator[Front]:
    """TLS in front of a running simulator, which still sees from which address each client came."""
    trust, context = await certified(folder)
    host, _, port = simulator.url.removeprefix("http://").rpartition(":")

    async def relayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came_from = str(writer.get_extra_info("peername")[0])
        inner, out = await asyncio.open_connection(host, int(port), local_addr=(came_from, 0))
        await asyncio.gather(_pour(reader, out), _pour(inner, writer))

    async with await asyncio.start_server(relayed, _HOST, 0, ssl=context) as server:
        yield Front(f"https://{_HOST}:{server.sockets[0].getsockname()[1]}", trust)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
