"""A client key is one key everywhere, and an order is carried out once."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from proxy.store.access import ClaimRow, KeyRow
from proxy.store.base import NotShared
from proxy.store.redis.access import RedisAccess
from proxy.store.redis.link import RedisLink
from tests.support.access import MemoryAccess
from tests.support.real_redis import RealRedis

KEY = KeyRow(name="work", digest="d" * 64, rules="{}", created_unix_ms=1)
CLAIM = ClaimRow(owner="a", key="k", request="r", nonce="one", at_unix_ms=5)


class _Process(RedisAccess):
    """One process with a database of its own."""

    def __init__(self, link: RedisLink) -> None:
        self.own = MemoryAccess()
        super().__init__(link, self.own)

    async def keys(self) -> Sequence[tuple[str, int | None]]:
        """The keys it knows, and when they were revoked."""
        return [(row.name, row.revoked_unix_ms) for row in await self.load_keys()]


async def test_a_name_is_given_once_by_all_together(link: RedisLink) -> None:
    """Protects what a client owns from another of its name."""
    one, two = _Process(link), _Process(link)
    assert await one.add_key(KEY)
    assert not await two.add_key(replace(KEY, digest="e" * 64))
    assert await two.keys() == [("work", None)]


async def test_what_one_revokes_all_refuse_and_none_makes_good_again(link: RedisLink) -> None:
    """Protects from a key that was ended, also when Redis has forgotten that and another still knows it as good."""
    one, two = _Process(link), _Process(link)
    await one.add_key(KEY)
    await two.keys()
    before = await two.foreign_writes()
    assert await one.revoke_key("work", 7)
    assert await two.foreign_writes() != before
    await link.call("FLUSHALL")
    late = _Process(link)
    for process in (two, one, late):
        await process.keys()
    assert [await each.keys() for each in (one, two, late)] == [[("work", 7)]] * 3


async def test_what_could_not_be_read_in_time_is_read_later_though_nothing_changes(
    link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects from a key that was ended and stays good here, because Redis was slow in the very moment."""
    one, two = _Process(link), _Process(link)
    await one.add_key(KEY)
    await two.keys()
    await one.revoke_key("work", 7)
    seen = await two.foreign_writes()
    with monkeypatch.context() as slow:
        slow.setattr(link, "run", _too_slow)
        assert await two.keys() == [("work", None)]
    seen, before = await two.foreign_writes(), seen
    assert seen != before
    assert await two.keys() == [("work", 7)]
    assert await two.foreign_writes() == seen


async def _too_slow(*_: object) -> object:
    raise NotShared("Redis cannot be used: TimeoutError.")


async def test_without_redis_known_keys_open_and_none_is_made(redis: RealRedis, link: RedisLink) -> None:
    """Protects clients from an outage, and names from being given twice in it."""
    one, two = _Process(link), _Process(link)
    await one.add_key(KEY)
    await two.keys()
    await redis.kill()
    assert await two.keys() == [("work", None)]
    with pytest.raises(NotShared):
        await two.add_key(replace(KEY, name="other", digest="e" * 64))
    with pytest.raises(NotShared):
        await one.revoke_key("work", 7)
    assert await one.keys() == [("work", 7)]


async def test_an_order_is_claimed_by_one_and_answered_to_all(link: RedisLink) -> None:
    """Protects an order that is sent again to another process from being carried out twice."""
    one, two = _Process(link), _Process(link)
    assert await one.claim(CLAIM, forget_before_unix_ms=0) == CLAIM
    again = replace(CLAIM, nonce="two")
    assert await two.claim(again, forget_before_unix_ms=0) == CLAIM
    answered = replace(CLAIM, status=200, body="{}")
    await one.answer_claim(answered)
    assert await two.claim(again, forget_before_unix_ms=0) == answered
    await one.drop_claim(CLAIM)
    assert await two.claim(again, forget_before_unix_ms=0) == again
