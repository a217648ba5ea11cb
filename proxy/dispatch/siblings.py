"""What other processes find out about the same credentials, taken over into the pool."""

from collections.abc import Sequence

from proxy.dispatch.journal import Journal
from proxy.dispatch.places import Places
from proxy.pool import Pool
from proxy.store.base import HealthRow


class Siblings:
    """Hears what others say. It goes the way of a change of our own, but is told to nobody again."""

    def __init__(self, pool: Pool, places: Places, journal: Journal) -> None:
        self._pool = pool
        self._places = places
        self._journal = journal

    def adopt(self, rows: Sequence[HealthRow]) -> None:
        """Follow these; what is of no credential of this process, or in words unknown to it, is passed over."""
        if changes := self._journal.heard(rows):
            self._places.carry_out(self._pool.adopt(changes))
