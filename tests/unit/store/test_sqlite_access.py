"""The tables of those who may use the server, in a real file and with two processes' connections."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.store import SqliteStore
from proxy.store.access import AccessStore, AuditRow, ClaimRow, KeyRow, SpendingRow

_KEY = KeyRow(name="work", digest="ab" * 32, rules="{}", created_unix_ms=1)
_SPENT = SpendingRow(client="work", period="day", began_unix_ms=1000, micro_usd=5)
_CLAIM = ClaimRow(owner="admin", key="k", request="r", nonce="n1", at_unix_ms=1000)
_ORDER = AuditRow(at_unix_ms=1, actor="a", action="b", target="c", remote="d", request_id="e")


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[AccessStore, AccessStore]]:
    """Two connections to one database, as two processes have them."""
    path = tmp_path / "data/carousel.db"
    opened = [await SqliteStore.open(path), await SqliteStore.open(path)]
    yield opened[0].access, opened[1].access
    for store in opened:
        await store.close()


async def test_a_key_is_kept_once_by_name_and_by_digest(stores: tuple[AccessStore, AccessStore]) -> None:
    """Protects against two clients of one name, and two names of one key."""
    here, there = stores
    assert await here.add_key(_KEY)
    assert not await there.add_key(replace(_KEY, digest="cd" * 32))
    assert not await there.add_key(replace(_KEY, name="other"))
    assert await there.load_keys() == (_KEY,)


async def test_a_key_is_revoked_once_and_stays_so(stores: tuple[AccessStore, AccessStore]) -> None:
    """Protects against a revoked key that comes back, and the time it was revoked at."""
    here, there = stores
    await here.add_key(_KEY)
    assert await there.revoke_key("work", 7)
    assert not await here.revoke_key("work", 8)
    assert not await here.add_key(_KEY)
    assert await here.load_keys() == (replace(_KEY, revoked_unix_ms=7),)


async def test_only_the_writes_of_others_change_the_number(stores: tuple[AccessStore, AccessStore]) -> None:
    """Protects the look once a second: it reads all keys only when there can be something new."""
    here, there = stores
    before = await here.foreign_writes()
    await here.add_key(_KEY)
    assert await here.foreign_writes() == before
    await there.revoke_key("work", 7)
    assert await here.foreign_writes() != before


async def test_spending_of_all_adds_up_within_a_period(stores: tuple[AccessStore, AccessStore]) -> None:
    """Protects a budget that several processes spend from."""
    sums = await asyncio.gather(*(stores[each % 2].add_spending(_SPENT) for each in range(20)))
    assert sorted(found for found in sums if found is not None) == list(range(5, 105, 5))
    later = replace(_SPENT, began_unix_ms=2000, micro_usd=3)
    assert await stores[0].add_spending(later) == 3
    assert await stores[1].add_spending(_SPENT) is None
    assert await stores[1].load_spending() == (later,)
    other = replace(_SPENT, period="hour", began_unix_ms=1500)
    assert await stores[0].add_spending(other) == 5
    assert await stores[1].load_spending() == (other,)


async def test_one_of_many_claims_wins_and_the_others_see_it(stores: tuple[AccessStore, AccessStore]) -> None:
    """Protects an order from being carried out by two processes."""
    claims = [replace(_CLAIM, nonce=f"n{number}") for number in range(20)]
    found = await asyncio.gather(
        *(stores[number % 2].claim(claim, forget_before_unix_ms=0) for number, claim in enumerate(claims))
    )
    assert len({row.nonce for row in found}) == 1
    winner = replace(found[0], status=201, body='{"a": "\\u0000"}')
    await stores[0].answer_claim(winner)
    await stores[1].answer_claim(replace(winner, nonce="another", status=500))
    assert await stores[1].claim(_CLAIM, forget_before_unix_ms=1000) == winner
    assert await stores[1].claim(_CLAIM, forget_before_unix_ms=1001) == _CLAIM
    await stores[0].drop_claim(_CLAIM)
    assert (await stores[1].claim(replace(_CLAIM, nonce="n9"), forget_before_unix_ms=0)).nonce == "n9"


async def test_orders_stay_in_their_order(stores: tuple[AccessStore, AccessStore]) -> None:
    """Protects the book: what was written first stands first, whoever wrote it."""
    for number in range(4):
        await stores[number % 2].add_audit(replace(_ORDER, at_unix_ms=number))
    assert [row.at_unix_ms for row in await stores[0].load_audit(10, None)] == [3, 2, 1, 0]
    assert await stores[0].load_audit(1, 3) == (replace(_ORDER, at_unix_ms=1, id=2),)


async def test_hostile_text_is_only_text(stores: tuple[AccessStore, AccessStore]) -> None:
    """Protects the statements from names that are statements."""
    name = "x'); DROP TABLE client_keys; --"
    assert await stores[0].add_key(replace(_KEY, name=name))
    await stores[0].add_audit(replace(_ORDER, target=name))
    assert (await stores[1].load_keys())[0].name == name
