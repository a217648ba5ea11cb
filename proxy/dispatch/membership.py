"""Who is in the pool, changed while it serves, with everything that was made for who leaves."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from proxy.credentials import Credential, Kind
from proxy.dispatch.journal import Journal
from proxy.dispatch.places import Places
from proxy.log import get_logger
from proxy.pool import Difference, HealthChange, Pool
from proxy.store.base import StoreError
from proxy.upstreams.base import Upstream
from proxy.upstreams.http import WaysOut

_log = get_logger("membership")


def no_follower(_: Sequence[Credential]) -> None:
    """Nobody else needs to know."""


class Membership:
    """Puts other credentials into the pool, and clears away after those that left it.

    `follow` is told who is there from now on.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        places: Places,
        journal: Journal,
        upstreams: Mapping[Kind, Upstream],
        ways_out: WaysOut,
        fingerprint_key: bytes,
        follow: Callable[[Sequence[Credential]], None] = no_follower,
    ) -> None:
        self._pool = pool
        self._places = places
        self._journal = journal
        self._upstreams = upstreams
        self._ways_out = ways_out
        self._key = fingerprint_key
        self._follow = follow

    @property
    def leaving(self) -> tuple[Credential, ...]:
        """Credentials that were replaced and may still have calls open."""
        return self._pool.leaving

    async def replace(self, credentials: Sequence[Credential]) -> Difference:
        """Go on with these. Every answer that is under way ends on what it began with."""
        fingerprints = fingerprints_of(credentials, self._key)
        stored = await self._stored(fingerprints)
        # nobody else runs from here until all agree on who is there
        replaced = self._pool.replace(credentials, stored)
        gone = self._journal.follow(fingerprints)
        self._follow(credentials)
        self._places.carry_out(replaced.settled)
        await self._journal.forget(gone)
        return replaced.difference

    async def clear_away(self, staying: Iterable[Credential]) -> bool:
        """Close what was made for those whose last answer has ended. Returns whether there were any.

        `staying` are those in use.
        """
        departed = self._pool.departed()
        if not departed:
            return False
        for credential in departed:
            await self._upstreams[credential.kind].forget(credential)
        await self._ways_out.keep({each.way_out for each in (*staying, *self._pool.leaving)})
        return True

    async def _stored(self, fingerprints: Mapping[str, str]) -> tuple[HealthChange, ...]:
        try:
            return await self._journal.restored(fingerprints)
        except StoreError as error:
            _log.error("health not restored", problem=str(error))
            return ()


def fingerprints_of(credentials: Iterable[Credential], key: bytes) -> dict[str, str]:
    """Under what the health of each is stored, by alias."""
    return {credential.name: credential.fingerprint(key) for credential in credentials}
