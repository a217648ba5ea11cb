"""What all processes have counted in a session is told as one sum, whoever is asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from proxy.store.conversations import Page, SessionRow, SessionSums
from proxy.store.redis.link import RedisLink
from proxy.store.redis.projects import RedisProjects
from proxy.store.redis.sessions import LISTED_MAX
from proxy.store.sqlite import SqliteStore
from tests.support.clock import FakeClock
from tests.support.real_redis import RealRedis

_NOW: Final = FakeClock().unix_ms()
_ROW: Final = SessionRow(
    owner="ann",
    id="s1",
    model="m1",
    messages=2,
    tokens=10,
    micro_usd=100,
    created_unix_ms=_NOW,
    updated_unix_ms=_NOW,
)
_PAGE: Final = Page(0, 20)


@dataclass(slots=True)
class _Process:
    """One of several, with a database of its own."""

    shared: RedisProjects
    store: SqliteStore
    clock: FakeClock

    async def found(self, owner: str = "ann") -> SessionRow | None:
        """The session as a client sees it."""
        return await self.shared.find_session(owner, "s1")

    async def listed(self, page: Page = _PAGE, project: str | None = None) -> tuple[list[str], int]:
        """Ids of a page, and how many there are in all."""
        rows, total = await self.shared.sessions("ann", page, project)
        return [row.id for row in rows], total


@asynccontextmanager
async def _process(link: RedisLink, folder: Path) -> AsyncIterator[_Process]:
    store, clock = await SqliteStore.open(folder / "one.db"), FakeClock()
    yield _Process(RedisProjects(link, store.projects, clock, origin=folder.name, root=folder), store, clock)
    await store.close()


Two = tuple[_Process, _Process]


@pytest.fixture
async def processes(link: RedisLink, tmp_path: Path) -> AsyncIterator[Two]:
    """Two of them."""
    async with _process(link, tmp_path / "a") as one, _process(link, tmp_path / "b") as two:
        yield one, two


async def test_what_all_have_counted_is_one_sum_for_its_owner_alone(processes: Two) -> None:
    """Protects totals from depending on which process was asked, each time or at the end."""
    one, two = processes
    began = replace(_ROW, title="T", system_prompt="Be kind.", messages=0, tokens=0, micro_usd=0)
    await one.shared.add_session(began)
    await one.shared.add_session(_ROW)
    later = replace(_ROW, model="m2", project_id="p", created_unix_ms=_NOW + 5, updated_unix_ms=_NOW + 5)
    await two.shared.add_session(later)
    await two.shared.add_session(later)
    expected = replace(
        _ROW,
        title="T",
        system_prompt="Be kind.",
        model="m2",
        project_id="p",
        messages=6,
        tokens=30,
        micro_usd=300,
        updated_unix_ms=_NOW + 5,
    )
    for process in processes:
        assert await process.found() == expected
        assert (await process.shared.sessions("ann", _PAGE, None)) == ((expected,), 1)
        assert await process.listed(project="p") == (["s1"], 1)
        assert await process.listed(project="q") == ([], 0)
        assert await process.found("bob") is None
        assert await process.shared.session_sums("ann", _NOW) == SessionSums(
            sessions=1, active=1, messages=6, tokens=30, micro_usd=300, models={"m2": 1}
        )
        assert (await process.shared.session_sums("ann", _NOW + 5)).active == 0


async def test_pages_and_sums_are_those_of_all(processes: Two) -> None:
    """Protects lists longer than what is fetched at once, in the order of the last use."""
    one, two = processes
    for number in range(25):
        row = replace(_ROW, id=f"s{number:02}", updated_unix_ms=_NOW + number)
        await (one, two)[number % 2].shared.add_session(row)
    names = [f"s{number:02}" for number in reversed(range(25))]
    for process in processes:
        assert await process.listed(Page(0, 15)) == (names[:15], 25)
        assert await process.listed(Page(15, 15)) == (names[15:], 25)
        sums = await process.shared.session_sums("ann", 0)
        assert (sums.sessions, sums.tokens, sums.models) == (25, 250, {"m1": 25})


async def test_a_session_moves_to_the_project_it_is_named_with_last(processes: Two) -> None:
    """Protects a project's list from sessions that belong to another by now."""
    one, two = processes
    await one.shared.add_session(replace(_ROW, project_id="p"))
    await two.shared.add_session(replace(_ROW, project_id="q", updated_unix_ms=_NOW + 1))
    assert [await one.listed(project=name) for name in "pq"] == [([], 0), (["s1"], 1)]


async def test_what_was_counted_before_a_deletion_never_counts_again(processes: Two) -> None:
    """Protects a session that is begun anew under its name from what another process had counted before."""
    one, two = processes
    for process in processes:
        await process.shared.add_session(_ROW)
    one.clock.advance(1)
    assert await one.shared.delete_session("ann", "s1")
    assert not await two.shared.delete_session("bob", "s1")
    assert (await one.found(), await two.found()) == (None, None)
    assert await two.listed() == ([], 0)
    anew = replace(_ROW, created_unix_ms=_NOW + 2000, updated_unix_ms=_NOW + 2000)
    await two.shared.add_session(anew)
    assert (await one.found(), await two.found()) == (anew, anew)


async def test_a_copy_that_is_told_late_does_not_bring_back_what_was_deleted(
    processes: Two, redis: RealRedis, link: RedisLink
) -> None:
    """Protects a deletion from totals that could not be told before it."""
    one, two = processes
    await redis.kill()
    await two.shared.add_session(_ROW)
    await redis.start()
    await link.probe()
    await one.shared.add_session(_ROW)
    one.clock.advance(1)
    assert await one.shared.delete_session("ann", "s1")
    await two.shared.tell_waiting()
    assert (await one.found(), await two.found()) == (None, None)
    assert await two.store.projects.find_session("ann", "s1") is None


async def test_without_redis_each_counts_by_itself_and_the_sum_is_right_afterwards(
    processes: Two, redis: RealRedis, link: RedisLink
) -> None:
    """Protects totals from an outage: nothing is lost, and nothing counts twice."""
    one, two = processes
    for process in processes:
        await process.shared.add_session(_ROW)
    await redis.kill()
    await one.shared.add_session(_ROW)
    found = await one.found()
    assert found is not None
    assert found.tokens == 20
    assert await one.listed() == (["s1"], 1)
    assert (await two.shared.session_sums("ann", 0)).tokens == 10
    await redis.start()
    await link.probe()
    for process in (*processes, *processes):
        await process.shared.sync()
        await process.shared.tell_waiting()
    for process in processes:
        found = await process.found()
        assert found is not None
        assert (found.messages, found.tokens, found.micro_usd) == (6, 30, 300)


async def test_redis_forgets_by_itself_and_keeps_only_so_many(processes: Two, link: RedisLink) -> None:
    """Protects Redis from sessions nobody uses, and from a client that begins them without end."""
    one, _ = processes
    await one.shared.add_session(replace(_ROW, project_id="p"))
    for name in ("session:ann:s1", "sessions:ann", "sessions:ann:p"):
        left_ms = await link.call("PTTL", f"carousel:1:{name}")
        assert isinstance(left_ms, int)
        assert 0 < left_ms <= 90 * 86_400_000
    more = (word for number in range(LISTED_MAX) for word in (_NOW + 1 + number, f"x{number}"))
    await link.call("ZADD", "carousel:1:sessions:ann", *more)
    await one.shared.add_session(replace(_ROW, id="s2"))
    assert await link.call("ZCARD", "carousel:1:sessions:ann") == LISTED_MAX
    assert await link.call("ZSCORE", "carousel:1:sessions:ann", "s1") is None
