"""Histories rest for their owner alone, for a time."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from proxy.store import SqliteStore
from proxy.store.conversations import (
    ConversationLine,
    ConversationRow,
    ConversationVersion,
    OwnConversations,
)

_ROW: Final = ConversationRow(
    owner="alice",
    id="conv_1",
    dialect="openai_chat",
    model="m",
    project_path="a/b",
    metadata='{"k":"v"}',
    system='["s"]',
    messages='["\\u0000é"]',
    message_count=2,
    created_unix_ms=1000,
    used_unix_ms=2000,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An open store."""
    opened = await SqliteStore.open(tmp_path / "data/carousel.db")
    yield opened
    await opened.close()


@pytest.fixture
def conversations(store: SqliteStore) -> OwnConversations:
    """Its conversations."""
    return store.conversations


async def test_what_was_saved_is_found_after_a_restart(tmp_path: Path) -> None:
    """Protects going conversations from the end of the program."""
    path = tmp_path / "data/carousel.db"
    first = await SqliteStore.open(path)
    await first.conversations.save(_ROW)
    await first.close()
    second = await SqliteStore.open(path)
    assert await second.conversations.find("alice", "conv_1", 0) == _ROW
    await second.close()


async def test_a_later_state_takes_the_place_of_an_earlier_one(conversations: OwnConversations) -> None:
    """Protects the history from being written beside itself, and what a conversation began with from turns."""
    await conversations.save(_ROW)
    later = replace(_ROW, messages='["b"]', system="[]", message_count=4, used_unix_ms=3000)
    await conversations.save(replace(later, model="other", metadata="{}", created_unix_ms=7))
    assert await conversations.find("alice", "conv_1", 0) == later
    assert await conversations.count("alice", 0) == 1


async def test_another_owners_conversation_and_an_old_one_are_not_there(
    conversations: OwnConversations,
) -> None:
    """Protects what was said from other clients, and from anybody after its time."""
    await conversations.save(_ROW)
    assert await conversations.find("bob", "conv_1", 0) is None
    assert await conversations.find("alice", "conv_1", 2000) is None
    assert await conversations.lines("bob", 0) == ()
    assert await conversations.lines("alice", 2000) == ()
    assert await conversations.lines("alice", 1999) == (
        ConversationLine(
            id="conv_1", metadata='{"k":"v"}', message_count=2, created_unix_ms=1000, used_unix_ms=2000
        ),
    )
    assert not await conversations.delete("bob", "conv_1")
    assert await conversations.delete("alice", "conv_1")
    assert await conversations.find("alice", "conv_1", 0) is None


async def test_those_of_one_or_of_all_are_counted(conversations: OwnConversations) -> None:
    """Protects the numbers operators and clients see."""
    for number, owner in enumerate(("alice", "alice", "bob")):
        await conversations.save(replace(_ROW, owner=owner, id=f"conv_{number}", used_unix_ms=number))
    assert [await conversations.count(owner, -1) for owner in ("alice", "bob", "carol", None)] == [2, 1, 0, 3]
    assert await conversations.count(None, 1) == 1


async def test_old_ones_are_deleted_some_at_a_time(conversations: OwnConversations) -> None:
    """Protects everybody else from waiting for a great clearing away."""
    for number in range(250):
        await conversations.save(replace(_ROW, id=f"conv_{number}", used_unix_ms=number))
    assert await conversations.forget(229)
    assert await conversations.count(None, -1) == 50
    assert not await conversations.forget(229)
    assert await conversations.count(None, -1) == 20


async def test_an_owner_has_only_so_many(conversations: OwnConversations) -> None:
    """Protects the disk from a client that begins conversations without end, and others from its doing so."""
    for number in range(5):
        await conversations.save(replace(_ROW, id=f"conv_{number}", used_unix_ms=number))
        await conversations.save(replace(_ROW, owner="bob", id=f"conv_{number}", used_unix_ms=number))
    await conversations.crop("alice", 2)
    assert {line.id for line in await conversations.lines("alice", -1)} == {"conv_3", "conv_4"}
    assert await conversations.count("bob", -1) == 5


async def test_versions_are_told_of_those_that_live_the_latest_first(conversations: OwnConversations) -> None:
    """Protects what other processes compare: nothing that is over, and of too much what was used last."""
    for number in range(4):
        await conversations.save(replace(_ROW, id=f"c{number}", message_count=number, used_unix_ms=number))
    assert await conversations.versions(0, 2) == (
        ConversationVersion("alice", "c3", 3, 3),
        ConversationVersion("alice", "c2", 2, 2),
    )


async def test_an_older_state_is_dropped_and_a_newer_one_is_not(conversations: OwnConversations) -> None:
    """Protects a turn that was kept while its older state was being compared."""
    await conversations.save(_ROW)
    await conversations.drop(ConversationVersion("alice", "conv_1", _ROW.message_count - 1, 0))
    assert await conversations.find("alice", "conv_1", 0) == _ROW
    await conversations.drop(ConversationVersion("alice", "conv_1", _ROW.message_count, 0))
    assert await conversations.find("alice", "conv_1", 0) is None
