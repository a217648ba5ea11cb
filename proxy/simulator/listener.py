"""The listening sockets of one host name on one port, which can be shut and opened again."""

import asyncio
import socket
from collections.abc import Callable

_BACKLOG = 4096

Address = tuple[socket.AddressFamily, str]


class Listener:
    """Listens on every address a name has, all on the same port.

    Attributes:
        url: ``http://host:port``; empty before `open`.
    """

    def __init__(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._protocol = protocol
        self._addresses: list[Address] = []
        self._port = 0
        self._servers: list[asyncio.Server] = []
        self.url = ""

    @property
    def port(self) -> int:
        """The port; 0 before `open`."""
        return self._port

    async def open(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. Raises `OSError` where no address can be bound."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self._addresses = list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))
        self._port = port
        await self.reopen()
        self.url = f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    async def reopen(self) -> None:
        """Listen again where it listened before; nothing happens if it does already."""
        if self._servers:
            return
        loop = asyncio.get_running_loop()
        for sock in self._bind():
            self._servers.append(await loop.create_server(self._protocol, sock=sock, backlog=_BACKLOG))

    def close(self) -> None:
        """Refuse new connections from now on."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _bind(self) -> list[socket.socket]:
        bound: list[socket.socket] = []
        failure: OSError | None = None
        for family, address in self._addresses:
            try:
                sock = socket.create_server((address, self._port), family=family, backlog=_BACKLOG)
            except OSError as error:
                failure = error
                continue
            self._port = sock.getsockname()[1]
            bound.append(sock)
        if not bound:
            raise failure or OSError("the host has no address")
        return bound
