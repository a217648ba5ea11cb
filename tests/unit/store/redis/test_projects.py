"""Projects are known to every process: their rows, not their folders."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from proxy.store.conversations import Page, ProjectRow, SessionRow
from proxy.store.redis.link import RedisLink
from proxy.store.redis.projects import RedisProjects
from proxy.store.sqlite import SqliteStore
from tests.support.clock import FakeClock
from tests.support.real_redis import RealRedis

_NOW: Final = FakeClock().unix_ms()
_ROW: Final = ProjectRow(
    owner="ann",
    id="p1",
    name="demo",
    description="d",
    path="/root/ann/demo",
    created_unix_ms=_NOW,
    updated_unix_ms=_NOW,
)
_MOST: Final = 3
_PAGE: Final = Page(0, 20)


@asynccontextmanager
async def _process(link: RedisLink, folder: Path) -> AsyncIterator[RedisProjects]:
    store = await SqliteStore.open(folder / "one.db")
    yield RedisProjects(link, store.projects, FakeClock(), origin=folder.name, root=folder)
    await store.close()


Two = tuple[RedisProjects, RedisProjects]


@pytest.fixture
async def processes(link: RedisLink, tmp_path: Path) -> AsyncIterator[Two]:
    """Two, each with a database of its own."""
    async with _process(link, tmp_path / "a") as one, _process(link, tmp_path / "b") as two:
        yield one, two


async def _ids(process: RedisProjects, page: Page = _PAGE, owner: str = "ann") -> tuple[list[str], int]:
    rows, total = await process.projects(owner, page)
    return [row.id for row in rows], total


async def test_what_one_made_all_know_for_its_owner_alone(processes: Two) -> None:
    """Protects requests that name a project and reach another process."""
    one, two = processes
    assert await one.add_project(_ROW, _MOST)
    assert await two.find_project("ann", "p1") == _ROW
    assert await two.find_project("bob", "p1") is None
    assert await _ids(two) == (["p1"], 1)
    assert await _ids(two, owner="bob") == ([], 0)


async def test_the_folder_of_a_project_lies_below_each_replicas_own_root(
    processes: Two, tmp_path: Path
) -> None:
    """Protects replicas whose folders lie elsewhere: equal paths below the root are the same."""
    one, two = processes
    here, there = (replace(_ROW, path=str(tmp_path / name / "ann/demo")) for name in "ab")
    assert await one.add_project(here, _MOST)
    assert (await one.find_project("ann", "p1"), await two.find_project("ann", "p1")) == (here, there)
    assert (await two.projects("ann", _PAGE))[0] == (there,)
    assert not await two.add_project(replace(there, id="p2"), _MOST)
    assert await two.delete_project("ann", "p1")
    assert await two.add_project(replace(there, id="p2"), _MOST)


async def test_a_path_is_taken_and_a_number_reached_for_all(processes: Two) -> None:
    """Protects one project from another's files, and the disk from a client that asks by turns."""
    one, two = processes
    assert await one.add_project(_ROW, _MOST)
    assert not await two.add_project(replace(_ROW, id="p2"), _MOST)
    assert await two.add_project(replace(_ROW, id="p3", path="/root/ann/b"), _MOST)
    assert await one.add_project(replace(_ROW, id="p4", path="/root/ann/c"), _MOST)
    for process in processes:
        assert not await process.add_project(replace(_ROW, id="p5", path="/root/ann/d"), _MOST)
    assert await one.delete_project("ann", "p1")
    assert await two.add_project(replace(_ROW, id="p6"), _MOST)


async def test_pages_are_those_of_all_in_their_order(processes: Two) -> None:
    """Protects the list a client pages through, whichever process it asks."""
    one, two = processes
    for number in range(5):
        row = replace(_ROW, id=f"p{number}", path=f"/root/ann/{number}", updated_unix_ms=_NOW + number)
        assert await (one, two)[number % 2].add_project(row, 10)
    for process in processes:
        assert await _ids(process, Page(0, 2)) == (["p4", "p3"], 5)
        assert await _ids(process, Page(4, 2)) == (["p0"], 5)


async def test_what_one_deletes_is_gone_for_all(processes: Two) -> None:
    """Protects whoever forgets a project by another process than the one it asked."""
    one, two = processes
    await one.add_project(_ROW, _MOST)
    assert not await two.delete_project("bob", "p1")
    assert await two.delete_project("ann", "p1")
    assert not await two.delete_project("ann", "p1")
    assert await one.find_project("ann", "p1") is None
    assert (await _ids(one), await _ids(two)) == (([], 0), ([], 0))


async def test_without_redis_each_knows_its_own_and_tells_it_later(
    processes: Two, redis: RealRedis, link: RedisLink
) -> None:
    """Protects projects, and what was forgotten, from an outage in the same moment."""
    one, two = processes
    await one.add_project(replace(_ROW, id="old", path="/root/ann/old"), _MOST)
    await redis.kill()
    assert await one.add_project(_ROW, _MOST)
    assert await one.delete_project("ann", "old")
    assert await _ids(one) == (["p1"], 1)
    assert await two.find_project("ann", "p1") is None
    await redis.start()
    await link.probe()
    await one.tell_waiting()
    assert await two.find_project("ann", "p1") == _ROW
    assert await two.find_project("ann", "old") is None


async def test_a_redis_that_comes_back_empty_is_told_everything_once(
    processes: Two, redis: RealRedis, link: RedisLink
) -> None:
    """Protects projects and totals from a Redis that forgets, and every beat from telling them again."""
    one, two = processes
    for number in range(150):
        path = f"/root/ann/{number}"
        await one.add_project(replace(_ROW, id=f"p{number}", path=path), 1000)
    session = SessionRow(owner="ann", id="s", messages=2, created_unix_ms=_NOW, updated_unix_ms=_NOW)
    for process in processes:
        await process.add_session(session)
        await process.sync()
        await process.tell_waiting()
    await redis.kill()
    await redis.start()
    await link.probe()
    for process in processes:
        await process.sync()
        await process.tell_waiting()
    assert (await _ids(two))[1] == 150
    for process in processes:
        found = await process.find_session("ann", "s")
        assert found is not None
        assert found.messages == 4
        assert (await process.sessions("ann", _PAGE, None))[1] == 1
    assert await redis.ask("DEL", "carousel:1:projects:ann") == 1
    await one.sync()
    await one.tell_waiting()
    assert await link.call("EXISTS", "carousel:1:projects:ann") == 0
