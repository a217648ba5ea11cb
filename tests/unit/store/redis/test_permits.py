"""Leave is given to one at a time."""

import pytest

from proxy.store.redis.link import RedisLink
from proxy.store.redis.permits import RedisPermits
from proxy.tasks import finish_all
from tests.support.real_redis import RealRedis


async def test_one_has_it_until_it_gives_it_back(link: RedisLink) -> None:
    """Protects what only one may do, also from somebody who gives back what another has."""
    one, two = RedisPermits(link), RedisPermits(link)
    assert await one.take("trial", "one") is True
    assert await two.take("trial", "two") is False
    two.give_back("trial", "two")
    await finish_all(within_s=5)
    assert await two.take("trial", "two") is False
    one.give_back("trial", "one")
    await finish_all(within_s=5)
    assert await two.take("trial", "two") is True


@pytest.mark.parametrize("kept", [True, False])
async def test_it_ends_by_itself_unless_it_is_kept(kept: bool, link: RedisLink) -> None:
    """Protects from leave that a process has taken with it when it died."""
    one = RedisPermits(link)
    await one.take("session", "one")
    if kept:
        one.keep("session", "one")
    await link.call("PEXPIRE", "carousel:1:permit:session", 1000)
    await one.renew()
    left = await link.call("PTTL", "carousel:1:permit:session")
    assert isinstance(left, int)
    assert (left > 1000) is kept


async def test_nobody_can_tell_without_redis(redis: RealRedis, link: RedisLink) -> None:
    """Protects callers from taking silence for leave, or for a refusal."""
    await redis.kill()
    one = RedisPermits(link)
    assert await one.take("trial", "one") is None
    one.give_back("trial", "one")
    await finish_all(within_s=5)
