"""The clients, and their keys as digests.

A presented key is compared with all of them, each time and in constant time, by the SHA-256 of its whole length,
so that neither the answer's timing nor a beginning two keys share tells anything.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from proxy.access.rules import Rules
from proxy.secrets import Secret


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent a request.

    Attributes:
        name: ``env-1`` and up, ``generated``, ``anonymous``, or what the operator called it; unique among the clients.
        rules: what it may; None where nothing limits it.
    """

    name: str
    rules: Rules | None = None


ANONYMOUS: Final = Client("anonymous")
GENERATED: Final = "generated"
CONFIGURED_PREFIX: Final = "env-"
RESERVED: Final = frozenset({ANONYMOUS.name, GENERATED, "admin", "mirror"})
"""Names no key may be given."""


class ClientKeys:
    """The keys clients may use.

    Args:
        keys: each with the client it belongs to.
        require_auth: False lets every caller in; those without a known key are `ANONYMOUS`.
        anonymous_rules: what those may.

    Attributes:
        book: the clients whose keys were made while the server runs or ran, by digest; changed in place.
    """

    __slots__ = ("_anonymous", "_clients", "book")

    def __init__(
        self,
        keys: Iterable[tuple[Secret, Client]],
        *,
        require_auth: bool,
        anonymous_rules: Rules | None = None,
    ) -> None:
        self._clients = tuple((key.digest(), client) for key, client in keys)
        self._anonymous = None if require_auth else Client(ANONYMOUS.name, anonymous_rules)
        self.book: dict[bytes, Client] = {}

    def __repr__(self) -> str:
        return f"<ClientKeys [{', '.join(client.name for _, client in self._clients)}]>"

    @property
    def names(self) -> frozenset[str]:
        """The names of all that may come in."""
        return frozenset(client.name for client in self._all())

    def named(self, name: str) -> Client | None:
        """The client of this name, if it may come in."""
        return next((client for client in self._all() if client.name == name), None)

    def _all(self) -> list[Client]:
        clients = [*(client for _, client in self._clients), *self.book.values()]
        return clients if self._anonymous is None else [*clients, self._anonymous]

    def match(self, presented: str | None) -> Client | None:
        """The client of a presented key; None if the caller may not come in."""
        found = self._anonymous
        if presented is None:
            return found
        digest = digest_of(presented)
        # nobody can choose a digest, so how long it takes to look for it here tells nothing of another's
        if self.book and (made := self.book.get(digest)) is not None:
            found = made
        for known, client in self._clients:
            if hmac.compare_digest(known, digest):
                found = client
        return found


def reserved(name: str) -> bool:
    """Whether a name is, or may become, that of a client of the configuration."""
    return name in RESERVED or name.startswith(CONFIGURED_PREFIX)


def digest_of(presented: str) -> bytes:
    """SHA-256 of a key as it was presented, to be compared with `Secret.digest`."""
    # Header values that are no UTF-8 arrive with lone surrogates in the bytes' place.
    return hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
