"""A loop in which nobody waits for long, and from which nothing leaves this machine."""

import asyncio
import selectors
from collections.abc import Callable
from ipaddress import ip_address
from socket import socket
from typing import Any, Final

from proxy.clock import SystemClock

_IDLE_S: Final = 0.01
_IDLE_TURNS: Final = 5
_LEAST_JUMP_S: Final = 1.0
_GROWTH: Final = 0.1


class _Selector(selectors.DefaultSelector):
    """Waits for what happens; when nothing has happened for a while, `jump` lets time pass instead."""

    def __init__(self, jump: Callable[[], None]) -> None:
        super().__init__()
        self._jump = jump
        self._idle_turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector.select`."""
        ready: list[tuple[selectors.SelectorKey, int]]
        if timeout is None or timeout <= 0:
            ready = super().select(timeout)
            return ready
        ready = super().select(min(timeout, _IDLE_S))
        if ready:
            self._idle_turns = 0
            return ready
        self._idle_turns += 1
        if self._idle_turns > _IDLE_TURNS:
            self._jump()
        return ready


class HurryingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time runs ahead as long as nothing happens in it.

    What would wait a minute for an answer that never comes waits some turns of the loop. Connections are made to this
    machine's own addresses only; any other is an `OSError`.
    """

    def __init__(self) -> None:
        self._ahead_s = self._began_s = 0.0
        super().__init__(_Selector(self._jump))

    def _jump(self) -> None:
        self._ahead_s += _LEAST_JUMP_S + _GROWTH * (self._ahead_s - self._began_s)

    def begin(self) -> None:
        """Something new begins: time runs ahead in small jumps again, which grow with how far it has run."""
        self._began_s = self._ahead_s

    @property
    def ahead_s(self) -> float:
        """How far its time has run ahead of the machine's, seconds."""
        return self._ahead_s

    def time(self) -> float:
        """See `asyncio.AbstractEventLoop.time`."""
        return super().time() + self._ahead_s

    async def sock_connect(self, sock: socket, address: Any) -> None:  # noqa: ANN401 - the library's own signature
        """See `asyncio.AbstractEventLoop.sock_connect`. Raises OSError for an address that is not this machine's."""
        if not _is_own(address):
            raise PermissionError("a drill connects to nothing but this machine")
        await super().sock_connect(sock, address)


class HurryingClock:
    """The time of such a loop, on both clocks."""

    def __init__(self, loop: HurryingLoop) -> None:
        self._loop = loop
        self.begin = loop.begin
        self._system = SystemClock()

    def monotonic_s(self) -> float:
        """See `proxy.clock.Clock`."""
        return self._loop.time()

    def unix_ms(self) -> int:
        """See `proxy.clock.Clock`."""
        return self._system.unix_ms() + round(self._loop.ahead_s * 1000)


def _is_own(address: object) -> bool:
    host = address[0] if isinstance(address, tuple) and address else ""
    try:
        return isinstance(host, str) and ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
