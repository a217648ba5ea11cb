"""The clients, and their keys as digests.

A presented key is compared with all of them, each time and in constant time, by the SHA-256 of its whole length,
so that neither the answer's timing nor a beginning two keys share tells anything.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from proxy.secrets import Secret


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent a request.

    Attributes:
        name: ``env-1`` and up, ``generated``, or ``anonymous``; unique among the clients.
    """

    name: str


ANONYMOUS: Final = Client("anonymous")


class ClientKeys:
    """The keys clients may use.

    Args:
        keys: each with the client it belongs to.
        require_auth: False lets every caller in; those without a known key are `ANONYMOUS`.
    """

    __slots__ = ("_clients", "_require_auth")

    def __init__(self, keys: Iterable[tuple[Secret, Client]], *, require_auth: bool) -> None:
        self._clients = tuple((key.digest(), client) for key, client in keys)
        self._require_auth = require_auth

    def __repr__(self) -> str:
        return f"<ClientKeys [{', '.join(client.name for _, client in self._clients)}]>"

    @property
    def names(self) -> frozenset[str]:
        """The names of all that may come in."""
        names = {client.name for _, client in self._clients}
        return frozenset(names if self._require_auth else names | {ANONYMOUS.name})

    def match(self, presented: str | None) -> Client | None:
        """The client of a presented key; None if the caller may not come in."""
        found = None if self._require_auth else ANONYMOUS
        if presented is None:
            return found
        digest = digest_of(presented)
        for known, client in self._clients:
            if hmac.compare_digest(known, digest):
                found = client
        return found


def digest_of(presented: str) -> bytes:
    """SHA-256 of a key as it was presented, to be compared with `Secret.digest`."""
    # Header values that are no UTF-8 arrive with lone surrogates in the bytes' place.
    return hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
