"""What an administrator's orders about clients need, and the book they are written down in."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Final

from proxy.access.idempotency import Idempotency
from proxy.access.keys import KEY_PREFIX
from proxy.access.stored import StoredKeys
from proxy.clock import Clock
from proxy.secrets import Secret
from proxy.store.access import AccessStore, AuditRow

ADMIN: Final = "admin key"
COMMAND_LINE: Final = "command line"


class Audit:
    """Every order of an administrator, for ever."""

    def __init__(self, store: AccessStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def note(
        self, action: str, target: str = "", *, actor: str = ADMIN, remote: str = "", request_id: str = ""
    ) -> None:
        """Write an order down; see `AuditRow`. Raises StoreError."""
        await self._store.add_audit(
            AuditRow(
                at_unix_ms=self._clock.unix_ms(),
                actor=actor,
                action=action,
                target=target,
                remote=remote,
                request_id=request_id,
            )
        )

    async def last(self, limit: int, before_id: int | None) -> tuple[AuditRow, ...]:
        """The last orders, newest first; with `before_id` those given before that one. Raises StoreError."""
        return tuple(await self._store.load_audit(limit, before_id))


class Desk:
    """Keys, audit and repeated orders, as the server's routes use them.

    Attributes:
        stored: the client keys.
        audit: the book of orders.
        orders: those that may be sent twice.
    """

    __slots__ = ("_secret_key", "audit", "orders", "stored")

    def __init__(self, stored: StoredKeys, store: AccessStore, clock: Clock, secret_key: bytes) -> None:
        self.stored = stored
        self.audit = Audit(store, clock)
        self.orders = Idempotency(store, clock)
        self._secret_key = secret_key

    def issued_key(self, nonce: str, order: str | None) -> Secret:
        """The client key of an order: the same for each repetition of it, although it is kept nowhere.

        It takes the secret key, the random nonce and the key the caller gave the order, of which only a digest is
        kept, to find it again.
        """
        material = f"client key\0{nonce}\0{order or ''}".encode()
        digest = hmac.new(self._secret_key, material, hashlib.sha256).digest()
        return Secret(KEY_PREFIX + urlsafe_b64encode(digest).decode().rstrip("="))
