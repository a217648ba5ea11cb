"""A stored response is there in every process for its owner, until its time is over or somebody deletes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.store.base import ResponseRow
from proxy.store.redis.link import RedisLink
from proxy.store.redis.responses import SHARED_MAX_BYTES, RedisResponses
from proxy.store.sqlite import SqliteStore
from tests.support.clock import FakeClock
from tests.support.real_redis import RealRedis

NOW = FakeClock().unix_ms()
LIVES_MS = 60_000
ROW = ResponseRow(
    id="r1",
    owner="ann",
    conversation="talk",
    created_unix_ms=NOW,
    expires_unix_ms=NOW + LIVES_MS,
    input='[{"asks": 1}]',
    response='{"says": 1}',
)
SECOND = replace(ROW, id="r2", previous_id="r1")
THIRD = replace(ROW, id="r3", previous_id="r2")
_ENOUGH = 10_000


@asynccontextmanager
async def _process(link: RedisLink, folder: Path) -> AsyncIterator[RedisResponses]:
    store = await SqliteStore.open(folder / "one.db")
    yield RedisResponses(link, store, FakeClock(), ttl_s=LIVES_MS // 1000)
    await store.close()


Two = tuple[RedisResponses, RedisResponses]


@pytest.fixture
async def processes(link: RedisLink, tmp_path: Path) -> AsyncIterator[Two]:
    """Two, each with a database of its own."""
    async with _process(link, tmp_path / "a") as one, _process(link, tmp_path / "b") as two:
        yield one, two


async def _ids(process: RedisResponses, response_id: str, most_bytes: int = _ENOUGH) -> list[str]:
    return [row.id for row in await process.load_chain(response_id, "ann", NOW, most_bytes)]


async def test_another_process_reads_what_one_made_for_its_owner_alone(processes: Two) -> None:
    """Protects clients whose next request reaches another process, and what they said from everybody else."""
    one, two = processes
    await one.save_response(ROW)
    found = await two.load_response("r1", "ann", NOW)
    assert found is not None
    assert NOW < found.expires_unix_ms <= ROW.expires_unix_ms
    assert replace(found, expires_unix_ms=ROW.expires_unix_ms) == ROW
    assert await two.load_response("r1", "bob", NOW) is None
    assert await two.load_chain("r1", "bob", NOW, _ENOUGH) == ()
    assert not await two.delete_response("r1", "bob", NOW)
    assert await one.load_response("r1", "ann", NOW) == ROW


async def test_a_conversation_goes_on_wherever_each_turn_was_made(processes: Two, redis: RealRedis) -> None:
    """Protects a history whose turns lie in several databases; once gone on from, it is there without Redis too."""
    one, two = processes
    await one.save_response(ROW)
    await two.save_response(SECOND)
    await one.save_response(THIRD)
    assert await _ids(two, "r3") == await _ids(one, "r3") == ["r1", "r2", "r3"]
    await redis.kill()
    assert await _ids(two, "r3") == ["r1", "r2", "r3"]


async def test_no_more_of_a_history_is_copied_than_may_be_used(processes: Two, redis: RealRedis) -> None:
    """Protects a process from what a conversation of any length holds."""
    one, two = processes
    for row in (ROW, SECOND, THIRD):
        await one.save_response(row)
    size = len(ROW.input) + len(ROW.response)
    assert await _ids(two, "r3", size) == ["r3"]
    await redis.kill()
    assert await _ids(two, "r3") == ["r2", "r3"]


@pytest.mark.parametrize("copied", [True, False])
async def test_what_one_deletes_is_gone_for_all(copied: bool, processes: Two) -> None:
    """Protects whoever deletes what it said from a copy that lives on, and its history from going on without it."""
    one, two = processes
    for row in (ROW, SECOND, THIRD):
        await one.save_response(row)
    if copied:
        assert await _ids(two, "r3") == ["r1", "r2", "r3"]
    assert await one.delete_response("r2", "ann", NOW)
    assert not await one.delete_response("r2", "ann", NOW)
    assert await _ids(two, "r3") == ["r3"]
    assert not await two.delete_response("r2", "ann", NOW)
    assert await two.load_response("r2", "ann", NOW) is None


async def test_what_a_copy_knows_to_be_deleted_elsewhere_is_deleted_here(
    processes: Two, redis: RealRedis
) -> None:
    """Protects what was deleted from coming back with an outage."""
    one, two = processes
    await one.save_response(ROW)
    assert await _ids(two, "r1") == ["r1"]
    assert await one.delete_response("r1", "ann", NOW)
    assert await two.load_response("r1", "ann", NOW) is None
    await redis.kill()
    assert await two.load_response("r1", "ann", NOW) is None


async def test_any_process_deletes_what_another_made(processes: Two) -> None:
    """Protects a client that deletes by another process than the one it asked."""
    one, two = processes
    await one.save_response(ROW)
    assert await two.delete_response("r1", "ann", NOW)
    assert await one.load_response("r1", "ann", NOW) is None
    assert await _ids(one, "r1") == []


async def test_going_on_prolongs_the_whole_history_and_shortens_none(processes: Two, link: RedisLink) -> None:
    """Protects the beginning of a conversation that outlives its first answer's time."""
    one, two = processes
    for row in (ROW, SECOND):
        await one.save_response(row)
    await two.prolong_chain("r2", "ann", NOW, NOW + 2 * LIVES_MS)
    await one.prolong_chain("r2", "ann", NOW, NOW + 1)
    for name in ("r1", "r2"):
        left_ms = await link.call("PTTL", f"carousel:1:response:ann:{name}")
        assert isinstance(left_ms, int)
        assert LIVES_MS < left_ms <= 2 * LIVES_MS


async def test_redis_forgets_by_itself(processes: Two, link: RedisLink) -> None:
    """Protects prompts from resting longer than was asked for, deletions included."""
    one, _ = processes
    await one.save_response(ROW)
    left_ms = await link.call("PTTL", "carousel:1:response:ann:r1")
    assert isinstance(left_ms, int)
    assert 0 < left_ms <= LIVES_MS
    await one.delete_response("r1", "ann", NOW)
    assert await link.call("EXISTS", "carousel:1:response:ann:r1") == 0
    deleted_ms = await link.call("PTTL", "carousel:1:response-deleted:ann:r1")
    assert isinstance(deleted_ms, int)
    assert deleted_ms > LIVES_MS


async def test_deleting_what_never_was_leaves_nothing_behind(processes: Two, link: RedisLink) -> None:
    """Protects Redis from clients that delete ids of their own making."""
    one, _ = processes
    assert not await one.delete_response("r9", "ann", NOW)
    assert await link.call("DBSIZE") == 0


async def test_what_could_not_be_told_is_told_later(
    redis: RealRedis, link: RedisLink, processes: Two
) -> None:
    """Protects a conversation, and a deletion, from an outage in the same moment."""
    one, two = processes
    await one.save_response(ROW)
    assert await _ids(two, "r1") == ["r1"]
    await redis.kill()
    assert await one.delete_response("r1", "ann", NOW)
    assert not await one.delete_response("r1", "ann", NOW)
    await one.save_response(SECOND)
    assert await two.load_response("r2", "ann", NOW) is None
    await redis.start()
    await link.probe()
    await one.tell_waiting()
    assert await two.load_response("r1", "ann", NOW) is None
    assert await two.load_response("r2", "ann", NOW) is not None


async def test_one_that_is_too_large_to_be_sent_stays_where_it_was_made(processes: Two) -> None:
    """Protects everything else that goes over Redis from waiting for one answer."""
    one, two = processes
    large = replace(ROW, response="x" * SHARED_MAX_BYTES)
    await one.save_response(large)
    assert await one.load_response("r1", "ann", NOW) == large
    assert await two.load_response("r1", "ann", NOW) is None


async def test_what_is_told_late_does_not_bring_back_what_was_deleted(
    redis: RealRedis, link: RedisLink, processes: Two
) -> None:
    """Protects what was deleted from resting in Redis after all."""
    one, two = processes
    await redis.kill()
    await one.save_response(ROW)
    await redis.start()
    await link.probe()
    await two.save_response(ROW)
    assert await two.delete_response("r1", "ann", NOW)
    await one.tell_waiting()
    assert await link.call("EXISTS", "carousel:1:response:ann:r1") == 0
    assert await one.load_response("r1", "ann", NOW) is None
