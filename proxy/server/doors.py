"""How many connections there may be, of all clients together and of one address.

What a connection can cost is bounded elsewhere; this bounds how many can do so at once. One too many is closed before a
byte of it is read: nobody has shown a key yet, and an answer would cost more than the connection.
"""

from asyncio import Transport
from collections import Counter
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.server.addresses import Addresses
from proxy.settings import Policy

_log = get_logger("doors")
_TOLD_EVERY_S: Final = 60.0
_NEAR: Final = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""This machine and private networks: bridges of containers and proxies of hosters show all clients as one of these."""


class Doors:
    """Counts a server's connections and closes those beyond the bounds.

    The bound of one address holds for neither trusted proxies, behind which all clients have one, nor this machine and
    private networks, where they often do.
    """

    def __init__(
        self, policy: Policy, clock: Clock, trusted: Sequence[str], here: Sequence[str] = _NEAR
    ) -> None:
        """`trusted` and `here` are networks without a bound of their own."""
        self._most = policy.connections_max
        self._most_of_one = policy.connections_per_address_max
        self._free = Addresses((*trusted, *here))
        self._clock = clock
        self._open: dict[web.RequestHandler, str] = {}
        self._per_address: Counter[str] = Counter()
        self._turned_away = 0
        self._tell_from_s = 0.0

    @property
    def addresses(self) -> int:
        """How many addresses are kept."""
        return len(self._per_address)

    def guard(self, server: web.Server) -> None:
        """Look at every connection of `server` from now on."""
        made, lost = server.connection_made, server.connection_lost

        def connection_made(handler: web.RequestHandler, transport: Transport) -> None:
            made(handler, transport)
            if not self._lets_in(handler, transport):
                transport.abort()

        def connection_lost(handler: web.RequestHandler, exc: BaseException | None = None) -> None:
            self._forget(handler)
            lost(handler, exc)

        # the framework has no hook for connections, only for requests
        server.connection_made = connection_made  # type: ignore[method-assign]  # see above
        server.connection_lost = connection_lost  # type: ignore[method-assign]  # see above

    def _lets_in(self, handler: web.RequestHandler, transport: Transport) -> bool:
        """Count it, if there is room."""
        if 0 < self._most <= len(self._open):
            self._say_so("of all clients", self._most, "RELAY_CONNECTIONS_MAX")
            return False
        address = self._counted(transport)
        if address:
            if self._per_address[address] >= self._most_of_one:
                self._say_so(f"of {address}", self._most_of_one, "RELAY_CONNECTIONS_PER_ADDRESS_MAX")
                return False
            self._per_address[address] += 1
        self._open[handler] = address
        return True

    def _counted(self, transport: Transport) -> str:
        """The address a connection counts for; empty where there is no bound for it."""
        peer = transport.get_extra_info("peername")
        if not self._most_of_one or not isinstance(peer, tuple):
            return ""
        address = str(peer[0])
        return "" if self._free.trusts(address) else address

    def _forget(self, handler: web.RequestHandler) -> None:
        address = self._open.pop(handler, "")
        if not address:
            return
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]

    def _say_so(self, whose: str, most: int, setting: str) -> None:
        """Say so once a minute, however many there are."""
        self._turned_away += 1
        now_s = self._clock.monotonic_s()
        if now_s < self._tell_from_s:
            return
        self._tell_from_s = now_s + _TOLD_EVERY_S
        _log.warning(
            "connections refused",
            refused=self._turned_away,
            whose=whose,
            most=most,
            setting=setting,
            hint=_HINT,
        )
        self._turned_away = 0


_HINT: Final = "a reverse proxy belongs into TRUSTED_PROXIES"
