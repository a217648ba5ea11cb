"""The heartbeat of a process: what is done with every beat, and what now and then."""

from collections import Counter
from collections.abc import Awaitable, Callable

from proxy.store.redis.link import RedisLink
from proxy.store.redis.pulse import Pulse
from tests.support.clock import FakeClock
from tests.support.real_redis import RealRedis


async def test_what_could_not_be_told_is_told_with_the_next_beat(link: RedisLink, redis: RealRedis) -> None:
    """Protects responses and files from being unknown to other processes for longer than a beat takes to come."""
    done: Counter[str] = Counter()

    def counted(name: str) -> Callable[[], Awaitable[None]]:
        async def count() -> None:
            done[name] += 1

        return count

    clock = FakeClock()
    pulse = Pulse(
        link,
        clock,
        {},
        put_back=[counted("put back")],
        tell=[counted("tell")],
        renew=counted("renew"),
        name="one",
    )
    for _ in range(3):
        await pulse.beat()
    assert done == {"put back": 1, "tell": 3, "renew": 3}
    clock.advance(30)
    await pulse.beat()
    assert done == {"put back": 2, "tell": 4, "renew": 4}
    await redis.kill()
    await pulse.beat()
    assert done["tell"] == 4
