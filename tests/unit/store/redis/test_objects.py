"""A file or batch belongs to its client in every process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.store.base import Cut, ObjectRow
from proxy.store.redis.link import RedisLink
from proxy.store.redis.objects import RedisObjects
from proxy.store.sqlite import SqliteStore
from tests.support.real_redis import RealRedis

ROW = ObjectRow(client="c", kind="files", id="f1", fingerprint="p", alias="api-1", created_unix_ms=1)
_ALL = Cut(most=10)


@asynccontextmanager
async def _process(link: RedisLink, folder: Path) -> AsyncIterator[RedisObjects]:
    store = await SqliteStore.open(folder / "one.db")
    yield RedisObjects(link, store.objects)
    await store.close()


@pytest.fixture
async def processes(link: RedisLink, tmp_path: Path) -> AsyncIterator[tuple[RedisObjects, RedisObjects]]:
    """Two, each with a database of its own."""
    async with _process(link, tmp_path / "a") as one, _process(link, tmp_path / "b") as two:
        yield one, two


async def test_what_one_took_another_finds_lists_and_forgets(
    processes: tuple[RedisObjects, RedisObjects],
) -> None:
    """Protects a client from being told by another process that its file is none."""
    one, two = processes
    assert not await two.any_files()
    await one.save(ROW)
    assert await two.any_files()
    assert await two.find("c", "files", ["f1", "f2"]) == (ROW,)
    assert await two.find("another", "files", ["f1"]) == ()
    assert await two.list("c", "files", _ALL) == (ROW,)
    await two.forget("c", "files", "f1", 5)
    assert await one.find("c", "files", ["f1"]) == ()
    assert await one.list("c", "files", _ALL) == ()


async def test_what_could_not_be_told_is_told_later(
    redis: RealRedis, link: RedisLink, processes: tuple[RedisObjects, RedisObjects]
) -> None:
    """Protects an upload from an outage in the same moment."""
    one, two = processes
    await redis.kill()
    await one.save(ROW)
    assert await one.find("c", "files", ["f1"]) == (ROW,)
    assert await two.find("c", "files", ["f1"]) == ()
    await redis.start()
    await link.probe()
    await one.tell_waiting()
    assert await two.find("c", "files", ["f1"]) == (ROW,)


async def test_what_a_batch_used_is_counted_by_one_of_all(
    processes: tuple[RedisObjects, RedisObjects], redis: RealRedis
) -> None:
    """Protects the books from a batch whose results are read through two processes; alone, each goes by its own."""
    one, two = processes
    first, second = (replace(ROW, kind="batches", id=name) for name in ("b1", "b2"))
    for row in (first, second):
        await one.save(row)
        assert await two.find("c", "batches", [row.id]) == (row,)
    assert await two.count_usage("c", "batches", "b1")
    assert not await two.count_usage("c", "batches", "b1")
    assert not await one.count_usage("c", "batches", "b1")
    await redis.kill()
    assert await one.count_usage("c", "batches", "b2")
    assert not await one.count_usage("c", "batches", "b2")
