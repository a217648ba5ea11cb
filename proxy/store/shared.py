"""What processes that serve together tell each other, whatever it goes by.

None of it is ever waited for longer than a tenth of a second, and every process can go on without it.
"""

from collections.abc import Sequence
from typing import Protocol

from proxy.store.base import HealthRow


class SharedHealth(Protocol):
    """The health of credentials, as all of them know it."""

    @property
    def rows(self) -> Sequence[HealthRow]:
        """What is known to be so by all, as far as this process has heard."""
        ...

    def put(self, row: HealthRow) -> None:
        """Tell the others of a change, soon."""
        ...

    async def flush(self) -> None:
        """Have told the others of every change when this returns. Raises StoreError."""
        ...


class Permits(Protocol):
    """Leave for one process at a time."""

    async def take(self, name: str, holder: str) -> bool | None:
        """Whether leave was given; None where nobody can tell. It ends by itself after 30 s unless it is kept."""
        ...

    def keep(self, name: str, holder: str) -> None:
        """Have it last until it is given back, as long as this process lives."""
        ...

    def give_back(self, name: str, holder: str) -> None:
        """End it soon, if it still is this holder's."""
        ...


class Homes(Protocol):
    """Which credential conversations belong to, by the credential's fingerprint."""

    async def find(self, conversation: bytes) -> str | None:
        """The fingerprint of the credential that answered last; None where nobody knows."""
        ...

    def put(self, conversation: bytes, fingerprint: str) -> None:
        """Tell the others soon who has answered."""
        ...
