"""Keys that are made while the server runs work at once and end at once, whoever made or ended them."""

import asyncio

import pytest

from proxy.access.clients import Client, ClientKeys
from proxy.access.keys import random_key
from proxy.access.rules import Rules
from proxy.access.stored import NameTaken, StoredKeys
from proxy.secrets import Secret
from proxy.store.base import StoreError
from tests.support.access import MemoryAccess
from tests.support.clock import FakeClock
from tests.unit.access.test_rules import NO_LIMITS

_KEY = Secret("sk-carousel-" + "a" * 43)


class House:
    """One process: its keys, and its look at the store."""

    def __init__(self, store: MemoryAccess) -> None:
        self.clock = FakeClock()
        self.clients = ClientKeys((), require_auth=True)
        self.stored = StoredKeys(store, self.clients, self.clock, NO_LIMITS)


@pytest.fixture
def store() -> MemoryAccess:
    """The store both processes share."""
    return MemoryAccess()


async def test_a_key_works_from_the_moment_it_was_made(store: MemoryAccess) -> None:
    """Protects whoever was just given a key."""
    here = House(store)
    await here.stored.add("work", Rules(concurrency=2), _KEY)
    assert here.clients.match(_KEY.reveal()) == Client("work", Rules(concurrency=2))
    assert here.clients.names == {"work"}
    assert here.clients.named("work") == Client("work", Rules(concurrency=2))
    assert here.clients.named("other") is None


async def test_a_key_another_process_made_is_found_when_it_is_first_used(store: MemoryAccess) -> None:
    """Protects the command line beside a running server."""
    here, there = House(store), House(store)
    await here.stored.load()
    await there.stored.add("work", Rules(), _KEY)
    store.foreign += 1
    assert here.clients.match(_KEY.reveal()) is None
    assert await here.stored.find(_KEY.reveal()) == Client("work")
    assert here.clients.match(_KEY.reveal()) == Client("work")


async def test_a_key_another_process_revoked_ends_with_the_next_look(
    store: MemoryAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the operator who has to lock somebody out of a running server."""
    here, there = House(store), House(store)
    await there.stored.add("work", Rules(), _KEY)
    await here.stored.load()
    assert here.clients.match(_KEY.reveal()) is not None
    assert await there.stored.revoke("work")
    store.foreign += 1
    monkeypatch.setattr("proxy.access.stored._LOOK_EVERY_S", 0.001)
    watching = asyncio.get_running_loop().create_task(here.stored.watch())
    async with asyncio.timeout(20):
        while here.clients.match(_KEY.reveal()) is not None:  # noqa: ASYNC110 - nothing tells of a look
            await asyncio.sleep(0.001)
    watching.cancel()
    assert here.stored.was_revoked(_KEY.reveal())
    assert not here.stored.was_revoked("another")


async def test_a_revoked_key_ends_at_once_and_only_once(store: MemoryAccess) -> None:
    """Protects against a key that lives on in memory."""
    here = House(store)
    await here.stored.add("work", Rules(), _KEY)
    assert await here.stored.revoke("work")
    assert here.clients.match(_KEY.reveal()) is None
    assert await here.stored.find(_KEY.reveal()) is None
    assert not await here.stored.revoke("work")
    assert not await here.stored.revoke("nobody")


@pytest.mark.parametrize("name", ["work", "gone", "anonymous", "generated", "admin", "env-7"])
async def test_a_name_is_used_once(store: MemoryAccess, name: str) -> None:
    """Protects what a client owns from the next one of its name."""
    here = House(store)
    await here.stored.add("work", Rules(), _KEY)
    await here.stored.add("gone", Rules(), random_key())
    await here.stored.revoke("gone")
    with pytest.raises(NameTaken):
        await here.stored.add(name, Rules(), random_key())


async def test_what_nobody_knows_is_asked_once_a_second_and_together(
    store: MemoryAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the store from a flood of wrong keys, and from the same one over and over."""
    here = House(store)
    asked = 0

    async def counted() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return 0

    monkeypatch.setattr(store, "foreign_writes", counted)
    found = await asyncio.gather(*(here.stored.find(f"wrong-{number}") for number in range(200)))
    assert set(found) == {None}
    assert asked <= 2
    before = asked
    await here.stored.find("wrong-1")
    assert asked == before
    here.clock.advance(1)
    await here.stored.find("wrong-1")
    assert asked == before + 1


async def test_a_store_in_trouble_knows_no_further_key_and_keeps_the_old_ones(store: MemoryAccess) -> None:
    """Protects those who are in from a full disk."""
    here = House(store)
    await here.stored.add("work", Rules(), _KEY)
    store.problem = StoreError("locked")
    assert await here.stored.find("another") is None
    assert here.clients.match(_KEY.reveal()) is not None
    with pytest.raises(StoreError):
        await here.stored.add("next", Rules(), random_key())
    assert here.clients.names == {"work"}


async def test_the_list_shows_states_and_never_a_digest(store: MemoryAccess) -> None:
    """Protects digests from being tried against lists of known keys."""
    here = House(store)
    await here.stored.add("c-active", Rules(models=("claude-*",)), _KEY)
    await here.stored.add("b-expired", Rules(expires_unix_ms=here.clock.wall_ms), random_key())
    await here.stored.add("a-revoked", Rules(), random_key())
    await here.stored.revoke("a-revoked")
    views = await here.stored.views()
    assert [(view.name, view.state) for view in views] == [
        ("a-revoked", "revoked"),
        ("b-expired", "expired"),
        ("c-active", "active"),
    ]
    assert views[2].rules == Rules(models=("claude-*",))
    assert _KEY.digest().hex() not in str(views)
