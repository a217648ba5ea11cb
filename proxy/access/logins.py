"""Logins of administrators at the dashboard: a signed value in a cookie, and a token that proves the page's own orders.

Nothing is kept of a login but the fact that it was ended, so every process that has the same keys knows it, also after
a restart. Whoever changes the admin key ends all of them.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from typing import Final

import msgspec

from proxy.clock import Clock

LOGIN_S: Final = 12 * 3600
_ENDED_MAX: Final = 1000
_NONCE_BYTES: Final = 16
_TIME_BYTES: Final = 8
_MAC_BYTES: Final = 32
_VALUE_BYTES: Final = _NONCE_BYTES + _TIME_BYTES + _MAC_BYTES
_VALUE_CHARACTERS: Final = len(urlsafe_b64encode(bytes(_VALUE_BYTES)).rstrip(b"="))


class Login(msgspec.Struct, frozen=True):
    """A login that is good now.

    Attributes:
        nonce: tells it from all others.
        until_unix_ms: when it ends.
        token: what orders of its own page carry.
    """

    nonce: bytes
    until_unix_ms: int
    token: str

    def sent(self, token: str) -> bool:
        """Whether this is its token; compared in constant time."""
        return hmac.compare_digest(self.token.encode(), token.encode(errors="replace"))


class Logins:
    """Makes logins, knows them again, and ends them."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        """`key` is secret, and another one for another admin key."""
        self._key = key
        self._clock = clock
        self._ended: OrderedDict[bytes, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Logins [Ended early: {len(self._ended)}]>"

    def log_in(self) -> str:
        """The value of a new login's cookie, good for twelve hours."""
        until_unix_ms = self._clock.unix_ms() + LOGIN_S * 1000
        body = secrets.token_bytes(_NONCE_BYTES) + until_unix_ms.to_bytes(_TIME_BYTES)
        return urlsafe_b64encode(body + self._mac(b"cookie", body)).decode().rstrip("=")

    def recognize(self, value: str) -> Login | None:
        """The login of a cookie; None for any other text, and for a login that is over."""
        if len(value) != _VALUE_CHARACTERS:
            return None
        try:
            found = urlsafe_b64decode(value + "=" * (-len(value) % 4))
        except ValueError:
            return None
        body, mac = found[:-_MAC_BYTES], found[-_MAC_BYTES:]
        if len(found) != _VALUE_BYTES or not hmac.compare_digest(self._mac(b"cookie", body), mac):
            return None
        nonce, until_unix_ms = body[:_NONCE_BYTES], int.from_bytes(body[_NONCE_BYTES:])
        login = Login(nonce, until_unix_ms, self._mac(b"token", nonce).hex())
        return login if self.good(login) else None

    def good(self, login: Login) -> bool:
        """Whether it has neither run out nor been ended."""
        return login.nonce not in self._ended and login.until_unix_ms > self._clock.unix_ms()

    def end(self, login: Login) -> None:
        """It is good no more in this process. Of 1,000 that ended early the first is forgotten."""
        self._ended[login.nonce] = login.until_unix_ms
        while len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)

    def _mac(self, purpose: bytes, text: bytes) -> bytes:
        return hmac.new(self._key, purpose + b"\0" + text, hashlib.sha256).digest()
