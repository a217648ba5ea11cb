"""Who presents wrong keys too often, by address. A right key is never asked about here."""

import ipaddress
from collections import OrderedDict
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.errors import ErrorKind, GatewayError

ADDRESSES_MAX: Final = 10_000
_WINDOW_S: Final = 60.0
_FIRST_BLOCK_S: Final = 60.0
_IPV6_SITE_BITS: Final = 64


class _Guesser(msgspec.Struct):
    """One address: wrong keys since `began_s`, until when it is blocked, and for how long it was last time."""

    began_s: float
    wrong: int = 0
    blocked_until_s: float = 0.0
    block_s: float = 0.0


class Guesses:
    """Counts wrong keys by address, for the last 10,000 addresses that presented one."""

    def __init__(self, clock: Clock, *, per_minute: int, longest_block_s: float) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._longest_block_s = longest_block_s
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    def __len__(self) -> int:
        return len(self._guessers)

    def wrong(self, address: str) -> None:
        """A wrong key came from this address.

        Raises GatewayError 429 where it was one too many. The time for which that lasts doubles with each further
        round of guesses, and is forgotten after as long a time without any.
        """
        now_s = self._clock.monotonic_s()
        guesser = self._guesser(site_of(address), now_s)
        if now_s < guesser.blocked_until_s:
            raise _too_many(guesser.blocked_until_s - now_s)
        if now_s - guesser.began_s >= _WINDOW_S:
            guesser.began_s, guesser.wrong = now_s, 0
        guesser.wrong += 1
        if guesser.wrong > self._per_minute:
            guesser.block_s = min(max(guesser.block_s * 2, _FIRST_BLOCK_S), self._longest_block_s)
            guesser.blocked_until_s = now_s + guesser.block_s
            guesser.began_s, guesser.wrong = guesser.blocked_until_s, 0
            raise _too_many(guesser.block_s)

    def demand_none(self, address: str) -> None:
        """Raises GatewayError 429 where this address has presented too many wrong keys and may not present more yet."""
        guesser = self._guessers.get(site_of(address))
        now_s = self._clock.monotonic_s()
        if guesser is not None and now_s < guesser.blocked_until_s:
            raise _too_many(guesser.blocked_until_s - now_s)

    def _guesser(self, site: str, now_s: float) -> _Guesser:
        guesser = self._guessers.get(site)
        if guesser is None or now_s > guesser.began_s + _WINDOW_S + self._longest_block_s:
            guesser = self._guessers[site] = _Guesser(now_s)
            if len(self._guessers) > ADDRESSES_MAX:
                self._guessers.popitem(last=False)
        self._guessers.move_to_end(site)
        return guesser


def site_of(address: str) -> str:
    """What one guesser has: an IPv4 address, or a whole network of 64 bits of IPv6; other text as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found.packed, _IPV6_SITE_BITS), strict=False))


def _too_many(seconds_left: float) -> GatewayError:
    return GatewayError(
        429,
        ErrorKind.RATE_LIMIT,
        "Too many wrong keys came from this address. A right one works at any time.",
        code="too_many_wrong_keys",
        retry_after_s=seconds_left,
        should_retry=False,
    )
