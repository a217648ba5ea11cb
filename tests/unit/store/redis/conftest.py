"""A real Redis, and a connection to it, for the tests of what is shared."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.store.redis import link as link_module
from proxy.store.redis.link import RedisLink
from tests.support.lacking import lacks
from tests.support.real_redis import PROGRAM, RealRedis, real_redis, which


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RealRedis]:
    """A running one, empty."""
    if not which(PROGRAM):
        lacks(f"not installed here: {PROGRAM}")
    async with real_redis(tmp_path) as running:
        yield running


@pytest.fixture
async def link(redis: RealRedis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisLink]:
    """A connection of a process, with patience for a Redis that a busy machine keeps from answering."""
    monkeypatch.setattr(link_module, "CALL_TIMEOUT_S", 5.0)
    made = RedisLink(redis.secret_url)
    yield made
    await made.close()
