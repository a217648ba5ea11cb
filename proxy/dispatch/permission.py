"""Leave from the other processes for what only one of all may do at a time.

A credential that was out of use is tried by one of them, and a claude.ai session, a person's account, is asked one
question at a time, whoever asks it.
"""

import asyncio
from typing import Final

from proxy.credentials import Kind
from proxy.dispatch.journal import Journal
from proxy.pool import Abandoned, Lease, Pool, Settled, Walk
from proxy.store.shared import Permits

_LOOK_EVERY_S: Final = 0.25


class Permission:
    """Asks for it, and gives it back with the lease.

    Args:
        permits: where leave is had from.
        pool: what has granted the leases.
        journal: knows the credentials' fingerprints.
        holder: names this process.
        wait_s: the longest wait for a session that another process uses.
    """

    def __init__(self, permits: Permits, pool: Pool, journal: Journal, *, holder: str, wait_s: float) -> None:
        self._permits = permits
        self._pool = pool
        self._journal = journal
        self._holder = holder
        self._looks = max(int(wait_s / _LOOK_EVERY_S), 1)
        self._taken: dict[int, str] = {}

    async def given(self, lease: Lease, walk: Walk) -> Settled | None:
        """Ask for leave, where a lease needs it; None where it may be used.

        Else the lease was taken back, `walk` knows, and what that changed has to be carried out. The lease is the
        caller's to end when this is cancelled.
        """
        fingerprint = self._journal.fingerprints.get(lease.name, "")
        if lease.credential.kind is Kind.CLAUDE_WEB:
            if await self._may_use(lease, f"session:{fingerprint}"):
                return None
            walk.pass_over(lease)
            return self._pool.settle(lease, Abandoned())
        if not lease.trial:
            return None
        name = f"trial:{fingerprint}"
        # where nobody can tell, the trial of each process is its own
        if (leave := await self._permits.take(name, self._holder_of(lease))) is False:
            walk.turn_back(lease)
            return self._pool.tried_elsewhere(lease)
        if leave:
            self._taken[lease.serial] = name
        return None

    def ended(self, lease: Lease) -> None:
        """A lease has come back: what was taken for it is free."""
        if (name := self._taken.pop(lease.serial, None)) is not None:
            self._permits.give_back(name, self._holder_of(lease))

    async def _may_use(self, lease: Lease, name: str) -> bool:
        """Wait until no other process uses a session; where nobody can tell, it is left alone."""
        holder = self._holder_of(lease)
        for _ in range(self._looks):
            leave = await self._permits.take(name, holder)
            if leave:
                self._taken[lease.serial] = name
                self._permits.keep(name, holder)
                return True
            if leave is None:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        return False

    def _holder_of(self, lease: Lease) -> str:
        return f"{self._holder}:{lease.serial}"
