"""Other credentials in a pool that serves: everything that knows them agrees on who is there."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from proxy.credentials import Credential, Kind
from proxy.dispatch.journal import Journal
from proxy.dispatch.membership import Membership, fingerprints_of
from proxy.dispatch.places import Places
from proxy.pool import Failed, FailureClass, Lease, Pool, RetryBudget, Success, Walk
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.store.base import StoreError
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch
from tests.support.clock import FakeClock
from tests.unit.dispatch.building import Bench, MemoryStore, ScriptedUpstream, bench, credential
from tests.unit.pool.building import WANT, failure

_KEY = b"k" * 32
_BILLING = Failed(failure(FailureClass.BILLING, retry_after_s=3600.0))


def _key(name: str, secret: str, **changes: object) -> Credential:
    return credential(name, secret=Secret(secret), **changes)


class _Room:
    """A membership with everything around it."""

    def __init__(self, *credentials: Credential) -> None:
        self.table: Bench = bench(credentials=credentials)
        self.store = MemoryStore()
        self.clock: FakeClock = self.table.clock
        self.pool: Pool = self.table.pool
        self.journal = Journal(self.store, self.clock, fingerprints_of(credentials, _KEY))
        self.places = Places(self.pool, self.table.policy, self.journal)
        self.upstream: ScriptedUpstream = self.table.upstream
        self.ways_out = WaysOut(Policy())
        self.membership = Membership(
            pool=self.pool,
            places=self.places,
            journal=self.journal,
            upstreams={Kind.ANTHROPIC: self.upstream},
            ways_out=self.ways_out,
            fingerprint_key=_KEY,
        )

    def take(self) -> Lease:
        """A lease."""
        found = self.places.take(WANT, self.walk())
        assert isinstance(found, Lease)
        return found

    def walk(self) -> Walk:
        """A fresh walk."""
        policy, rng = self.table.policy, random.Random(1)
        budget = RetryBudget(policy, self.clock)
        return Walk(policy, self.clock, budget, self.clock.now_s + 600, rng)

    def word(self, name: str) -> str:
        """A credential's state as a whole."""
        view = next(view for view in self.pool.snapshot() if view.name == name)
        return str(view.state.state)


@pytest.fixture
async def room() -> AsyncIterator[_Room]:
    """One with two credentials."""
    found = _Room(_key("a", "first"), _key("b", "second"))
    yield found
    await found.ways_out.close()


async def test_what_is_kept_of_a_removed_credential_goes_with_it(room: _Room) -> None:
    """Protects a key that comes back one day from what was true of it long ago."""
    lease = room.take()
    await room.places.give_back(lease, _BILLING)
    assert [row.fingerprint for row in room.store.rows] == [_key("a", "first").fingerprint(_KEY)]
    difference = await room.membership.replace([_key("b", "second")])
    assert difference.removed == ("a",)
    assert room.store.rows == []
    await room.membership.replace([_key("a", "first"), _key("b", "second")])
    assert room.word("a") == "ready"


async def test_a_renamed_key_takes_its_health_along(room: _Room) -> None:
    """Protects a credit limit from being forgotten with an alias."""
    await room.places.give_back(room.take(), _BILLING)
    await room.membership.replace([_key("z", "first"), _key("b", "second")])
    assert room.word("z") == "cooling"
    assert len(room.store.rows) == 1


async def test_a_verdict_on_the_way_to_the_store_stays_with_the_old_key(room: _Room) -> None:
    """Protects a new key from being cooled at the next start by what the old one did in the last moment."""
    lease = room.take()
    room.places.end(lease, _BILLING)
    await room.membership.replace([_key("a", "new"), _key("b", "second")])
    for _ in range(5):
        await asyncio.sleep(0)
    assert room.store.rows == []
    later = await room.journal.restored()
    assert later == ()


async def test_a_lease_of_an_old_key_writes_nothing_about_the_new_one(room: _Room) -> None:
    """Protects the same over a long stream."""
    lease = room.take()
    await room.membership.replace([_key("a", "new"), _key("b", "second")])
    await room.places.give_back(lease, _BILLING)
    assert room.store.rows == []
    assert room.word("a") == "ready"


async def test_a_new_key_is_written_of_under_its_own_print(room: _Room) -> None:
    """Protects the health of whoever came by a change over a restart."""
    await room.membership.replace([_key("a", "new")])
    await room.places.give_back(room.take(), _BILLING)
    assert [row.fingerprint for row in room.store.rows] == [_key("a", "new").fingerprint(_KEY)]


async def test_whoever_waits_is_served_by_a_change(room: _Room) -> None:
    """Protects waiting requests from their whole wait."""
    await room.membership.replace([_key("a", "first", max_concurrency=1)])
    room.take()
    waiting = asyncio.get_running_loop().create_task(_wait(room))
    await asyncio.sleep(0)
    await room.membership.replace([_key("a", "first", max_concurrency=2)])
    assert (await waiting).name == "a"


async def _wait(room: _Room) -> Lease:
    watch = Watch()
    try:
        found = await room.places.wait(WANT, room.walk(), watch)
        assert isinstance(found, Lease)
        return found
    finally:
        watch.close()


async def test_after_the_last_answer_of_a_removed_credential_everything_of_it_is_cleared_away(
    room: _Room,
) -> None:
    """Protects running answers from losing their connections, and memory from old keys."""
    proxy, other = Secret("http://one.test:1"), Secret("http://two.test:2")
    await room.membership.replace([_key("a", "first", way_out=proxy), _key("b", "second", way_out=other)])
    # both were given another way out, so their old selves have left
    assert await room.membership.clear_away([])
    old, kept = room.ways_out.via(proxy), room.ways_out.via(other)
    room.upstream.forgotten.clear()
    lease = room.take()
    remaining = [_key("b", "second", way_out=other)]
    await room.membership.replace(remaining)
    assert not await room.membership.clear_away(remaining)
    assert room.ways_out.via(proxy) is old
    room.places.end(lease, Success())
    assert await room.membership.clear_away(remaining)
    assert [each.name for each in room.upstream.forgotten] == ["a"]
    assert room.ways_out.via(proxy) is not old
    assert room.ways_out.via(other) is kept
    assert not await room.membership.clear_away(remaining)


async def test_a_store_that_fails_does_not_stop_a_change(room: _Room) -> None:
    """Protects operators who take out a stolen key while the disk is full."""
    room.store.problem = StoreError("the disk is full")
    difference = await room.membership.replace([_key("b", "second"), _key("c", "third")])
    assert (difference.added, difference.removed) == (("c",), ("a",))
    assert [view.name for view in room.pool.snapshot()] == ["b", "c"]
