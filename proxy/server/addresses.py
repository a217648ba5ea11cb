"""Where a request comes from, seen past the proxies the operator trusts."""

import ipaddress
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from multidict import istr

_FORWARDED: Final = istr("X-Forwarded-For")
_HOPS_MAX: Final = 20

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Addresses:
    """Believes the ``X-Forwarded-For`` of trusted proxies alone, and of it only what they have added."""

    def __init__(self, trusted: Sequence[str]) -> None:
        """`trusted` are networks, such as ``10.0.0.0/8``."""
        self._trusted = tuple(ipaddress.ip_network(each) for each in trusted)

    def of(self, request: web.Request) -> str:
        """The address of the client, or of the first proxy before it that is not trusted; empty if unknown."""
        found = request.remote or ""
        if not self._trusted or not self.trusts(found):
            return found
        hops = ",".join(request.headers.getall(_FORWARDED, ())).split(",")
        for hop in reversed(hops[-_HOPS_MAX:]):
            address = _parsed(hop.strip())
            if address is None:
                break
            found = str(address)
            if not self.trusts(found):
                break
        return found

    def trusts(self, text: str) -> bool:
        """Whether an address is in one of the networks."""
        address = _parsed(text)
        return address is not None and any(address in network for network in self._trusted)


def _parsed(text: str) -> _Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
