"""Which IP addresses belong to the public internet, and to nobody who trusts this machine.

Sources: IANA's special-purpose address registries for IPv4 and IPv6, RFC 6052 and RFC 8215 (NAT64), RFC 3056 (6to4),
RFC 4380 (Teredo), RFC 4291 (mapped and compatible addresses). The standard library's ``is_global`` alone lets many of
them through.
"""

import ipaddress
import socket
from typing import Final

_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(each)
    for each in (
        "192.0.0.0/24",  # assigned to protocols; some of it counts as global
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # the host of every virtual machine at Azure
        "2001::/23",  # assigned to protocols, Teredo among them; how much counts as global varies
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)


def is_public(host: str) -> bool:
    """Whether an address, as a socket is told it, is one of the public internet.

    An IPv4 address inside an IPv6 one counts where it is the same host by definition (``::ffff:1.2.3.4``); where some
    gateway may or may not pass it on, the answer is no.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(str(address.ipv4_mapped))
        if address.scope_id is not None or address not in _UNICAST:
            return False
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address.version == each.version and address in each for each in _NOT_PUBLIC)


def is_own(family: int, host: str) -> bool:
    """Whether an address is this machine's own, public as it may be.

    The system is asked which address it would speak from; nothing is sent. Where it does not know, the answer is no:
    it cannot be connected to either.
    """
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.connect((host, 9))
            spoken_from = str(probe.getsockname()[0])
    except OSError:
        return False
    return ipaddress.ip_address(spoken_from) == ipaddress.ip_address(host)
