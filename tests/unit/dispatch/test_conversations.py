"""Conversations that are remembered: one turn at a time, bounded, and each for its owner."""

import asyncio
from dataclasses import replace
from typing import Final

import pytest

from proxy.credentials import Credential, Kind
from proxy.dispatch.conversations import Conversations, Spoken, Turn
from proxy.errors import GatewayError, NotFound
from proxy.settings.conversations import ConversationSettings
from proxy.store.base import StoreError
from proxy.store.conversation_memory import ConversationMemory
from proxy.store.conversations import OWNED_MAX, ConversationRow
from proxy.watch import Watch
from tests.support.clock import FakeClock
from tests.support.tables import MemoryTables

_SPOKEN: Final = Spoken(dialect="openai_chat", system="[]", messages='["hello"]', count=2)
_TIMEOUT_S: Final = 1800


class _Desk:
    """A set of conversations, and what they rest on."""

    def __init__(self, **settings: object) -> None:
        self.clock = FakeClock()
        self.tables = MemoryTables()
        self.settings = replace(ConversationSettings(), **settings)  # type: ignore[arg-type]  # each test's own
        self.conversations = self.started()

    def started(self, memory_max_bytes: int = 2**26) -> Conversations:
        """The same after a restart."""
        self.memory = ConversationMemory(memory_max_bytes)
        self.conversations = Conversations(
            self.tables.conversations, self.clock, self.settings, memory=self.memory
        )
        return self.conversations

    async def turn(self, name: str, *, owner: str = "alice", within_s: float = 5.0) -> Turn:
        """The next turn of a conversation."""
        watch = Watch()
        try:
            return await self.conversations.next_turn(owner, name, watch, within_s=within_s)
        finally:
            watch.close()

    async def begun(self, owner: str = "alice", messages: str = '["hello"]') -> str:
        """The id of a new conversation after its first turn."""
        with await self.conversations.first_turn(owner) as turn:
            await turn.keep(replace(_SPOKEN, messages=messages))
        return turn.row.id

    async def went_on(self, name: str, spoken: Spoken = _SPOKEN) -> None:
        """A further turn."""
        with await self.turn(name) as turn:
            await turn.keep(spoken)

    async def stored(self) -> int:
        """How many are on disk."""
        return await self.tables.conversations.count(None, -(2**62))


@pytest.fixture
def desk() -> _Desk:
    """Conversations with the usual settings."""
    return _Desk()


async def test_a_new_conversation_is_in_memory_until_somebody_comes_back_to_it(desk: _Desk) -> None:
    """Protects prompts from resting on disk for clients that never ask for it."""
    name = await desk.begun()
    assert await desk.stored() == 0
    assert (await desk.conversations.found("alice", name)).messages == '["hello"]'
    await desk.went_on(name)
    assert await desk.stored() == 1
    assert desk.memory.size_bytes == 0
    assert (await desk.started().found("alice", name)).message_count == 4


async def test_what_was_made_on_purpose_is_on_disk_at_once(desk: _Desk) -> None:
    """Protects an id a client was given from a restart before its first use."""
    row = await desk.conversations.create("alice", model="m", project_path="a", metadata='{"k":"v"}')
    found = await desk.started().found("alice", row.id)
    assert found == row
    assert (found.model, found.project_path, found.metadata) == ("m", "a", '{"k":"v"}')


async def test_a_turn_that_fails_leaves_everything_as_it_was(desk: _Desk) -> None:
    """Protects the history from half turns, and clients from ids that lead nowhere."""
    name = await desk.begun()
    (await desk.turn(name)).close()
    assert (await desk.conversations.found("alice", name)).message_count == 2
    turn = await desk.conversations.first_turn("alice")
    turn.close()
    with pytest.raises(NotFound):
        await desk.conversations.found("alice", turn.row.id)


@pytest.mark.parametrize("name", ["conv_" + "0" * 32, "conv_", "", "x" * 300, "conv_" + "0" * 31 + "\n"])
async def test_what_is_not_there_or_anothers_is_not_found(desk: _Desk, name: str) -> None:
    """Protects conversations from guessing and from each other's clients, who are all told the same."""
    mine = await desk.begun()
    for owner, wanted in (("alice", name), ("bob", mine)):
        with pytest.raises(NotFound) as caught:
            await desk.turn(wanted, owner=owner)
        assert (caught.value.param, caught.value.code) == ("conversation_id", "conversation_not_found")
        with pytest.raises(NotFound):
            await desk.conversations.delete(owner, wanted)
    assert "Busy: 0" in repr(desk.conversations)


async def test_a_history_ends_a_while_after_its_last_use_wherever_it_rests(desk: _Desk) -> None:
    """Protects what was said from resting longer than was promised."""
    fresh, named = await desk.begun(), await desk.begun()
    await desk.went_on(named)
    desk.clock.advance(_TIMEOUT_S - 1)
    await desk.went_on(named)
    assert len(await desk.conversations.listed("alice")) == 2
    desk.clock.advance(1)
    with pytest.raises(NotFound):
        await desk.conversations.found("alice", fresh)
    assert [line.id for line in await desk.conversations.listed("alice")] == [named]
    await desk.conversations.sweep()
    assert (desk.memory.size_bytes, await desk.stored()) == (0, 1)
    desk.clock.advance(_TIMEOUT_S)
    await desk.conversations.sweep()
    assert await desk.stored() == 0


async def test_the_turns_of_a_conversation_wait_for_each_other(desk: _Desk) -> None:
    """Protects a history from two turns that know nothing of each other, in the order in which they came."""
    name = await desk.begun()
    first = await desk.turn(name)
    order: list[int] = []

    async def later(number: int) -> None:
        with await desk.turn(name) as turn:
            order.append(number)
            await turn.keep(replace(_SPOKEN, messages=turn.row.messages[:-1] + f',"{number}"]'))

    waiting = asyncio.gather(*[later(number) for number in range(3)])
    await asyncio.sleep(0)
    assert order == []
    first.close()
    first.close()
    await waiting
    assert order == [0, 1, 2]
    assert (await desk.conversations.found("alice", name)).messages == '["hello","0","1","2"]'
    assert "Busy: 0" in repr(desk.conversations)


async def test_who_waits_too_long_is_told_to_come_again(desk: _Desk) -> None:
    """Protects clients from waiting for an answer that may take an hour, and the queue from those that gave up."""
    name = await desk.begun()
    first = await desk.turn(name)
    with pytest.raises(GatewayError) as caught:
        await desk.turn(name, within_s=0.01)
    assert (caught.value.status, caught.value.code, caught.value.should_retry) == (
        409,
        "conversation_busy",
        True,
    )
    first.close()
    (await desk.turn(name)).close()
    assert "Busy: 0" in repr(desk.conversations)


async def test_a_client_that_leaves_while_it_waits_holds_up_nobody(desk: _Desk) -> None:
    """Protects a conversation from turns nobody waits for any more."""
    name = await desk.begun()
    first = await desk.turn(name)
    waiting = asyncio.gather(desk.turn(name))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.close()
    (await desk.turn(name)).close()
    assert "Busy: 0" in repr(desk.conversations)


async def test_a_deleted_conversation_does_not_come_back_with_the_turn_under_way(desk: _Desk) -> None:
    """Protects those who want what they said forgotten."""
    name = await desk.begun()
    turn = await desk.turn(name)
    await desk.conversations.delete("alice", name)
    await turn.keep(_SPOKEN)
    turn.close()
    with pytest.raises(NotFound):
        await desk.conversations.found("alice", name)
    assert (await desk.stored(), desk.memory.size_bytes) == (0, 0)


async def test_a_history_that_grew_too_large_ends_the_conversation(desk: _Desk) -> None:
    """Protects clients from a conversation that has silently forgotten what was just said."""
    name = await desk.begun()
    await desk.went_on(name)
    with await desk.turn(name) as turn:
        await turn.forget()
    with pytest.raises(NotFound):
        await desk.conversations.found("alice", name)


async def test_memory_is_bounded_and_the_oldest_go_first(desk: _Desk) -> None:
    """Protects the process from clients that begin conversations without end."""
    conversations = desk.started(memory_max_bytes=10_000)
    names = [await desk.begun(messages=f'["{"x" * 1000}"]') for _ in range(10)]
    assert desk.memory.size_bytes <= 10_000
    kept = [line.id for line in await conversations.listed("alice")]
    assert set(kept) == set(names[-len(kept) :])
    assert 0 < len(kept) < 10


async def test_an_owner_has_only_so_many_on_disk(desk: _Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the disk from one client, by its oldest conversations."""
    assert OWNED_MAX == 1000
    monkeypatch.setattr("proxy.dispatch.conversations.OWNED_MAX", 3)
    made = []
    for _ in range(5):
        desk.clock.advance(1)
        made.append((await desk.conversations.create("alice", model="", project_path="", metadata="{}")).id)
    desk.clock.advance(1)
    begun = await desk.begun()
    await desk.went_on(begun)
    assert {line.id for line in await desk.conversations.listed("alice")} == {*made[-2:], begun}


async def test_a_store_that_cannot_write_costs_nobody_the_history(desk: _Desk) -> None:
    """Protects going conversations from a full disk: memory stands in until it can be written again."""
    name = await desk.begun()
    await desk.went_on(name)
    turn = await desk.turn(name)
    desk.tables.problem = StoreError("full")
    await turn.keep(replace(_SPOKEN, messages='["newest"]'))
    turn.close()
    assert (await desk.conversations.found("alice", name)).messages == '["newest"]'
    desk.tables.problem = None
    await desk.went_on(name, replace(_SPOKEN, messages='["after"]'))
    assert (await desk.started().found("alice", name)).message_count == 8


async def test_a_store_that_cannot_be_used_is_told_as_such(desk: _Desk) -> None:
    """Protects clients from taking a broken disk for a conversation that ended."""
    name = await desk.begun()
    await desk.went_on(name)
    desk.tables.problem = StoreError("broken")
    conversations = desk.conversations
    for asked in (
        desk.turn(name),
        conversations.found("alice", name),
        conversations.listed("alice"),
        conversations.create("alice", model="", project_path="", metadata="{}"),
        conversations.delete("alice", name),
    ):
        with pytest.raises(GatewayError) as caught:
            await asked
        assert (caught.value.status, caught.value.code) == (503, "not_kept")
    assert await conversations.count("alice") == 0
    await conversations.sweep()
    await conversations.drop("alice", name)


async def test_those_in_memory_and_on_disk_are_counted_together(desk: _Desk) -> None:
    """Protects the number that clients and operators see."""
    await desk.begun()
    await desk.went_on(await desk.begun())
    await desk.begun("bob")
    counts = [await desk.conversations.count(owner) for owner in ("alice", "bob", None)]
    assert counts == [2, 1, 3]


@pytest.mark.parametrize(
    ("mode", "begins", "begins_with_code"),
    [("on", True, True), ("auto", False, True), ("off", False, False)],
)
def test_conversations_begin_by_themselves_as_the_operator_says(
    mode: str, *, begins: bool, begins_with_code: bool
) -> None:
    """Protects prompts of API users; Claude Code's users expect to be remembered, also by one that comes later."""
    conversations = _Desk(mode=mode).conversations
    api = Credential(name="a", kind=Kind.ANTHROPIC, secret=None, base_url="")
    code = replace(api, kind=Kind.CLAUDE_CODE)
    assert conversations.begins is begins
    conversations.follow([api, code])
    assert conversations.begins is begins_with_code
    conversations.follow([api])
    assert conversations.begins is begins


async def test_what_is_remembered_is_swept_while_the_server_runs(desk: _Desk) -> None:
    """Protects the promise that histories are deleted, on a server nobody restarts."""
    old = ConversationRow(owner="alice", id="conv_1", created_unix_ms=0, used_unix_ms=0)
    await desk.tables.conversations.save(old)
    running = desk.conversations.run()
    await anext(running)
    async with asyncio.timeout(5):
        while await desk.stored():  # noqa: ASYNC110 - only the store shows it
            await asyncio.sleep(0.001)
    with pytest.raises(StopAsyncIteration):
        await anext(running)
