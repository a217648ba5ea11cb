"""A conversation is there in every process for its owner, in its newest state, until its time is over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from proxy.store.conversation_memory import ConversationMemory
from proxy.store.conversations import ConversationRow
from proxy.store.redis.conversations import CONVERSATIONS_KEY, RedisConversations
from proxy.store.redis.link import RedisLink
from proxy.store.sqlite import SqliteStore
from tests.support.clock import FakeClock
from tests.support.real_redis import RealRedis

_LIVES_S: Final = 1800
_NOW: Final = FakeClock().unix_ms()
_ROW: Final = ConversationRow(
    owner="ann",
    id="c1",
    dialect="openai_chat",
    model="m",
    project_path="a/b",
    metadata='{"k":"v"}',
    system='["s"]',
    messages='["\\u0000é"]',
    message_count=2,
    created_unix_ms=_NOW - 5,
    used_unix_ms=_NOW,
)
_LATER: Final = replace(_ROW, messages='["later"]', message_count=4, used_unix_ms=_NOW + 1)
_LARGE: Final = replace(_ROW, messages=f'["{"x" * 4000}"]')


@dataclass(slots=True)
class _Process:
    """One of several, with a database and a memory of its own."""

    shared: RedisConversations
    store: SqliteStore
    memory: ConversationMemory
    clock: FakeClock

    async def found(self, name: str = "c1", owner: str = "ann") -> ConversationRow | None:
        """What a request would go on from."""
        return await self.shared.find(owner, name, self.oldest_ms)

    @property
    def oldest_ms(self) -> int:
        """What was not used after this is forgotten."""
        return self.clock.unix_ms() - _LIVES_S * 1000

    async def own(self, name: str = "c1") -> ConversationRow | None:
        """What is in its own database."""
        return await self.store.conversations.find("ann", name, self.oldest_ms)

    async def lend(self, row: ConversationRow) -> None:
        """Have something in memory that the others may go on with."""
        self.memory.put(row)
        await self.shared.lend(row)

    async def listed(self) -> dict[str, int]:
        """Ids of a list, with how many messages each has."""
        return {line.id: line.message_count for line in await self.shared.lines("ann", self.oldest_ms)}


@asynccontextmanager
async def _process(link: RedisLink, folder: Path, lent_max_bytes: int = 2**20) -> AsyncIterator[_Process]:
    store, memory, clock = await SqliteStore.open(folder / "one.db"), ConversationMemory(), FakeClock()
    shared = RedisConversations(
        link, store.conversations, memory, clock, timeout_s=_LIVES_S, lent_max_bytes=lent_max_bytes
    )
    yield _Process(shared, store, memory, clock)
    await store.close()


Two = tuple[_Process, _Process]


@pytest.fixture
async def processes(link: RedisLink, tmp_path: Path) -> AsyncIterator[Two]:
    """Two of them."""
    async with _process(link, tmp_path / "a") as one, _process(link, tmp_path / "b") as two:
        yield one, two


async def _back(redis: RealRedis, link: RedisLink) -> None:
    """Start a Redis anew, empty."""
    await redis.start()
    await link.probe()


def _about(row: ConversationRow | None) -> ConversationRow | None:
    """The same but for the moment of its last use, which each process tells by its own clock."""
    return None if row is None else replace(row, used_unix_ms=0)


async def test_what_one_has_kept_the_other_goes_on_with_for_its_owner_alone(processes: Two) -> None:
    """Protects clients whose next turn reaches another process, and what they said from everybody else."""
    one, two = processes
    await one.shared.save(_ROW)
    found = await two.found()
    assert found is not None
    assert abs(found.used_unix_ms - _ROW.used_unix_ms) < 1000
    assert _about(found) == _about(_ROW)
    assert await two.found(owner="bob") is None
    assert await two.own() is None
    await two.shared.save(_LATER)
    assert _about(await one.found()) == _about(_LATER)


async def test_a_first_turn_is_found_by_all_and_rests_on_no_disk(processes: Two, redis: RealRedis) -> None:
    """Protects prompts nobody came back to from databases, and the second turn that reaches another process."""
    one, two = processes
    await one.lend(_ROW)
    assert _about(await two.found()) == _about(_ROW)
    assert (await one.own(), await two.own()) == (None, None)
    await two.shared.save(_LATER)
    assert await two.own() == _LATER
    assert _about(await one.found()) == _about(_LATER)
    await redis.kill()
    assert await two.found() == _LATER


async def test_what_is_lent_is_bounded_in_all_and_the_oldest_go_first(
    link: RedisLink, tmp_path: Path
) -> None:
    """Protects Redis from conversations nobody comes back to, and what was gone on with from making room for them."""
    async with _process(link, tmp_path / "a", 15_000) as one, _process(link, tmp_path / "b", 15_000) as two:
        await one.lend(replace(_LARGE, id="gone on"))
        await one.shared.save(replace(_LARGE, id="gone on", message_count=4))
        for number in range(6):
            await (one, two)[number % 2].lend(replace(_LARGE, id=str(number), used_unix_ms=_NOW + number))
        asked = [str(number) for number in range(6)]
        there = [name for name in asked if await link.call("EXISTS", f"carousel:1:conversation:ann:{name}")]
        assert there == ["4", "5"]
        assert await link.call("EXISTS", "carousel:1:conversation:ann:gone on") == 1
        # what made room is not put back in the place of others
        await one.shared.sync()
        await one.shared.tell_waiting()
        assert [
            name for name in asked if await link.call("EXISTS", f"carousel:1:conversation:ann:{name}")
        ] == there
        for name in asked:
            await two.shared.delete("ann", name)
        assert await link.call("HGET", "carousel:1:conversations-lent:bytes", "all") == b"0"
        assert await link.call("ZCARD", "carousel:1:conversations-lent") == 0


@pytest.mark.parametrize("copied", [True, False])
async def test_what_one_deletes_is_gone_for_all_at_once(copied: bool, processes: Two) -> None:
    """Protects whoever deletes what it said, by whatever process, from a copy that lives on."""
    one, two = processes
    await one.shared.save(_ROW)
    if copied:
        await two.shared.save(_LATER)
    assert await two.shared.delete("ann", "c1")
    assert (await one.found(), await two.found()) == (None, None)
    assert (await one.own(), await two.own()) == (None, None)
    assert (await one.listed(), await two.listed()) == ({}, {})
    assert not await one.shared.delete("ann", "c1")


async def test_a_turn_that_ends_after_the_deletion_leaves_nothing(processes: Two, link: RedisLink) -> None:
    """Protects those who want what they said forgotten from a turn that was under way elsewhere."""
    one, two = processes
    await one.lend(_ROW)
    await two.shared.delete("ann", "c1")
    await one.shared.save(_LATER)
    await one.lend(_LATER)
    assert (await one.found(), await one.own(), len(one.memory)) == (None, None, 0)
    assert await link.call("EXISTS", "carousel:1:conversation:ann:c1") == 0


async def test_of_two_turns_that_know_nothing_of_each_other_one_is_remembered(processes: Two) -> None:
    """Protects a history from a process that stood still, lost its leave, and writes over what came after it."""
    one, two = processes
    await one.shared.save(_ROW)
    await two.shared.save(_LATER)
    await one.shared.save(replace(_LATER, messages='["too late"]', used_unix_ms=_NOW + 2))
    for process in processes:
        found = await process.found()
        assert found is not None
        assert found.messages == _LATER.messages
    own = await one.own()
    assert own is not None
    assert own.messages == _LATER.messages


async def test_without_redis_each_goes_on_with_what_it_has_and_tells_it_later(
    processes: Two, redis: RealRedis, link: RedisLink
) -> None:
    """Protects conversations, first turns and deletions from an outage in the same moment."""
    one, two = processes
    await one.shared.save(replace(_ROW, id="deleted"))
    await redis.kill()
    await one.shared.save(_ROW)
    await one.lend(replace(_ROW, id="lent"))
    assert await one.shared.delete("ann", "deleted")
    assert _about(await one.found()) == _about(_ROW)
    assert await one.listed() == {"c1": 2, "lent": 2}
    assert (await two.found(), await two.listed()) == (None, {})
    assert [await process.shared.count("ann", 0) for process in processes] == [2, 0]
    await _back(redis, link)
    await one.shared.tell_waiting()
    assert _about(await two.found()) == _about(_ROW)
    assert await two.listed() == {"c1": 2, "lent": 2}
    assert await two.found("deleted") is None


async def test_a_redis_that_comes_back_empty_is_told_everything_and_brings_back_nothing(
    processes: Two, redis: RealRedis, link: RedisLink
) -> None:
    """Protects what was said from a Redis that forgets, in its newest state, and what was deleted from coming back."""
    one, two = processes
    await one.shared.save(_ROW)
    await two.shared.save(_LATER)
    await one.lend(replace(_ROW, id="lent"))
    for process in processes:
        await process.store.conversations.save(replace(_ROW, id="deleted"))
    await one.shared.delete("ann", "deleted")
    await redis.kill()
    await _back(redis, link)
    for process in (two, one, two):
        await process.shared.sync()
        await process.shared.tell_waiting()
    assert await link.call("EXISTS", CONVERSATIONS_KEY) == 1
    assert _about(await one.found()) == _about(_LATER)
    assert await two.found("lent") is not None
    for process in processes:
        assert (await process.found("deleted"), await process.own("deleted")) == (None, None)
        assert await process.listed() == {"c1": 4, "lent": 2}


async def test_what_others_went_on_with_is_not_kept_in_its_old_state(
    processes: Two, redis: RealRedis
) -> None:
    """Protects a client from a conversation that has silently lost its last turns while Redis is away."""
    one, two = processes
    await one.shared.save(_ROW)
    await two.shared.save(_LATER)
    for process in processes:
        await process.shared.sync()
    await redis.kill()
    assert (await one.found(), await two.found()) == (None, _LATER)


async def test_what_this_process_has_in_a_newer_state_is_put_in_the_place_of_the_older(
    processes: Two,
) -> None:
    """Protects a turn that was acknowledged, and whose process died before it could tell anybody."""
    one, two = processes
    await one.shared.save(_ROW)
    await one.store.conversations.save(_LATER)
    assert await one.found() == _LATER
    await one.shared.sync()
    await one.shared.tell_waiting()
    assert _about(await two.found()) == _about(_LATER)


async def test_redis_forgets_by_itself_also_by_another_clock(processes: Two, link: RedisLink) -> None:
    """Protects prompts from resting longer than was promised, and going ones from a replica's wrong clock."""
    one, two = processes
    two.clock.jump(2 * 3600)
    await one.shared.save(replace(_ROW, used_unix_ms=_NOW - 60_000))
    await one.lend(replace(_ROW, id="c2"))
    found = await two.found()
    assert found is not None
    assert abs(two.clock.unix_ms() - 60_000 - found.used_unix_ms) < 1000
    assert await two.listed() == {"c1": 2, "c2": 2}
    names = _names(await link.call("KEYS", "*conversation*"))
    assert len(names) == 5
    for name in names:
        left_ms = await link.call("PTTL", name)
        assert isinstance(left_ms, int)
        assert 0 < left_ms <= _LIVES_S * 1000
    await two.shared.delete("ann", "c1")
    left_ms = await link.call("PTTL", "carousel:1:conversation-deleted:ann:c1")
    assert isinstance(left_ms, int)
    assert left_ms > _LIVES_S * 1000


def _names(answer: object) -> list[str]:
    """Names of keys."""
    return [each.decode() for each in answer] if isinstance(answer, list) else []


async def test_lists_and_counts_are_those_of_all_processes(processes: Two) -> None:
    """Protects the list a client pages through, whichever process it asks, with more of them than one call fetches."""
    one, two = processes
    for number in range(120):
        process = (one, two)[number % 2]
        row = replace(_ROW, id=f"c{number}", used_unix_ms=_NOW - number)
        if number % 3:
            await process.shared.save(row)
        else:
            await process.lend(row)
    await one.shared.save(replace(_ROW, owner="bob"))
    lists = [await process.listed() for process in processes]
    assert lists[0] == lists[1] == {f"c{number}": 2 for number in range(120)}
    assert [await process.shared.count("ann", one.oldest_ms) for process in processes] == [120, 120]
    assert await one.shared.count(None, one.oldest_ms) == 61


async def test_an_owner_has_only_so_many_in_all(processes: Two, link: RedisLink) -> None:
    """Protects Redis from one client, by its oldest conversations."""
    one, two = processes
    for number in range(6):
        await (one, two)[number % 2].shared.save(
            replace(_ROW, id=f"c{number}", used_unix_ms=_NOW - number * 10_000)
        )
    await two.lend(replace(_ROW, id="lent", used_unix_ms=_NOW - 100_000))
    await one.shared.crop("ann", 2)
    assert await link.call("ZCARD", "carousel:1:conversations:ann") == 2
    there = _names(await link.call("KEYS", "carousel:1:conversation:*"))
    assert sorted(there) == [f"carousel:1:conversation:ann:c{number}" for number in range(2)]
    assert await link.call("HGET", "carousel:1:conversations-lent:bytes", "all") == b"0"
