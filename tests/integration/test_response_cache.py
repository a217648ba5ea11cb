"""Answers from memory over real sockets: the same to the client, but for the price."""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

import anthropic
import msgspec
import openai
import pytest

from proxy.simulator import Simulator, Step
from proxy.simulator.script import Pace
from tests.bench.client import connect, post
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY
from tests.support.house import MODEL, House, Spoken, body_of, house, read_answer
from tests.support.talks import CONVERSATION, Talk

_ON: Final = {"CACHE_ENABLED": "true"}
_ALICE, _BOB = (f"test-key-of-{name}-0123456789abcdef" for name in ("alice", "bob"))
_ASKED: Final = 10_000
_CONNECTIONS: Final = 16


class _Cache(msgspec.Struct):
    entries: int
    hits: int
    misses: int


class _Stats(msgspec.Struct):
    requests: int
    errors: int
    tokens: int
    cost_usd: float | None
    cache: _Cache


async def _stats(running: House, key: str) -> _Stats:
    headers = {"authorization": f"Bearer {key}"}
    async with running.session.get(f"{running.server.url}/stats", headers=headers) as answer:
        return msgspec.json.decode(await answer.read(), type=_Stats)


def _ids(data: bytes) -> set[str]:
    """The ids of the answer, in either dialect, whole or streamed."""
    texts = (
        [data]
        if data.startswith(b"{")
        else [line.removeprefix(b"data: ") for line in data.split(b"\n") if line.startswith(b"data: {")]
    )
    found = [msgspec.json.decode(text, type=dict[str, object]) for text in texts]
    found += [one["message"] for one in found if isinstance(one.get("message"), dict)]  # type: ignore[misc]  # looked at
    return {str(one["id"]) for one in found if "id" in one}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("spoken", Spoken)
async def test_the_same_question_is_answered_again_from_memory(
    tmp_path: Path, spoken: Spoken, stream: bool
) -> None:
    """Protects what clients read: the same bytes and headers, under an id of its own, at no cost."""
    async with house(tmp_path, _ON) as running:
        first, *later = [await running.ask(spoken, stream=stream) for _ in range(3)]
        assert [one.headers["x-carousel-cache"] for one in (first, *later)] == ["miss", "hit", "hit"]
        assert [one.headers["x-carousel-attempts"] for one in (first, *later)] == ["1", "0", "0"]
        assert running.calls() == 1
        (name,) = _ids(first.body)
        names = {name}
        for one in later:
            (other,) = _ids(one.body)
            names.add(other)
            assert one.body.replace(other.encode(), name.encode()) == first.body
            for header in ("content-type", "x-carousel-credential"):
                assert one.headers[header] == first.headers[header]
            assert one.headers["x-request-id"] != first.headers["x-request-id"]
        assert len(names) == 3
        stats = await _stats(running, CLIENT_KEY)
        assert (stats.requests, stats.errors, stats.cache) == (3, 0, _Cache(entries=1, hits=2, misses=1))
        alone = await _stats(running, ADMIN_KEY)
        assert alone == stats
        assert stats.tokens < 60


async def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    """Protects clients that want a new answer each time."""
    async with house(tmp_path) as running:
        for _ in range(2):
            assert (await running.ask(Spoken.CHAT)).headers["x-carousel-cache"] == "off"
        assert running.calls() == 2
        assert (await _stats(running, ADMIN_KEY)).cache == _Cache(0, 0, 0)


async def test_conversations_and_chance_are_asked_for_each_time(tmp_path: Path) -> None:
    """Protects turns of a conversation, and whoever sets a temperature."""
    plain = msgspec.json.decode(body_of(Spoken.CHAT, stream=False), type=dict[str, object])
    async with house(tmp_path, _ON) as running:
        for fields, headers in (({"temperature": 0.5}, {}), ({}, {"session-id": "abc"})):
            for _ in range(2):
                asked = msgspec.json.encode({**plain, **fields})
                answer = await running.send(Spoken.CHAT, asked, headers=headers)
                assert answer.headers["x-carousel-cache"] == "off"
        assert running.calls() == 4
        assert (await _stats(running, ADMIN_KEY)).cache == _Cache(0, 0, 0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("by_header", [False, True], ids=["by body", "by header"])
@pytest.mark.parametrize("spoken", Spoken)
async def test_a_named_conversation_is_never_answered_from_memory(
    tmp_path: Path, spoken: Spoken, *, by_header: bool, stream: bool
) -> None:
    """Protects conversations: each turn is asked for, remembered, and kept for nobody, however equal it looks."""
    async with house(tmp_path, _ON) as running:
        talks = [Talk(running, spoken, by_header=by_header) for _ in range(2)]
        plain = Talk(running, spoken)
        assert (await plain.say("Hello!", stream=stream)).headers["x-carousel-cache"] == "miss"
        for talk in talks:
            await talk.begin()
            assert (await talk.say("Hello!", stream=stream)).headers["x-carousel-cache"] == "off"
            assert (await talk.shown()).message_count == 2
        assert (await plain.say("Hello!", stream=stream)).headers["x-carousel-cache"] == "hit"
        # as the gateway sends it, with all that was said, it is no question that memory knows either
        assert (await talks[0].say("And?", stream=stream)).headers["x-carousel-cache"] == "off"
        assert (await talks[1].say("And?", stream=stream)).headers["x-carousel-cache"] == "off"
        assert running.calls() == 5
        assert (await _stats(running, CLIENT_KEY)).cache == _Cache(entries=1, hits=1, misses=1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_where_every_chat_begins_a_conversation_none_is_answered_from_memory(
    tmp_path: Path, *, stream: bool
) -> None:
    """Protects who asks the same twice from two conversations of one name; Messages, which begin none, are kept."""
    async with house(tmp_path, {**_ON, "CONVERSATIONS": "on"}) as running:
        chats = [await running.ask(Spoken.CHAT, stream=stream) for _ in range(2)]
        assert [one.headers["x-carousel-cache"] for one in chats] == ["off", "off"]
        assert len({one.headers[CONVERSATION] for one in chats}) == 2
        messages = [await running.ask(Spoken.MESSAGES, stream=stream) for _ in range(2)]
        assert [one.headers["x-carousel-cache"] for one in messages] == ["miss", "hit"]
        assert running.calls() == 3


async def test_no_answer_of_one_key_ever_reaches_another(tmp_path: Path) -> None:
    """Protects clients from each other: 10,000 equal questions of two keys, whose answers differ."""
    simulator = Simulator()
    simulator.script("k1", then=Step(text="for-alice"))
    simulator.script("k2", then=Step(text="for-bob"))

    async def ask(port: int, key: str, mine: bytes, others: bytes) -> None:
        said = bytearray()
        connection = await connect(port, said.extend)
        for number in range(_ASKED // _CONNECTIONS):
            spoken = (Spoken.CHAT, Spoken.MESSAGES)[number % 2]
            request = post(spoken.value, body_of(spoken, stream=number % 3 == 0), key, {})
            assert await connection.ask(request) == 200
            assert mine in said
            assert others not in said
            said.clear()
        connection.close()

    async with house(
        tmp_path,
        {**_ON, "API_KEY": f"{_ALICE},{_BOB}"},
        credentials=lambda _: [
            {"name": "one", "key": "k1", "clients": ["env-1"]},
            {"name": "two", "key": "k2", "clients": ["env-2"]},
        ],
        simulator=simulator,
    ) as running:
        port = int(running.server.url.rpartition(":")[2])
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS // 2):
                group.create_task(ask(port, _ALICE, b"for-alice", b"for-bob"))
                group.create_task(ask(port, _BOB, b"for-bob", b"for-alice"))
        # one call for each dialect, whole and streamed
        assert (running.calls("k1"), running.calls("k2")) == (4, 4)
        for key in (_ALICE, _BOB):
            stats = await _stats(running, key)
            assert stats.requests == _ASKED // 2
            assert (stats.cache.entries, stats.cache.hits + stats.cache.misses) == (4, _ASKED // 2)
            assert stats.cache.misses == 4


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_first_client_that_leaves_does_not_cut_those_who_joined(
    tmp_path: Path, spoken: Spoken
) -> None:
    """Protects those who wait for the same answer."""
    simulator = Simulator(pace=Pace(tokens_per_s=20, events=20))
    body = body_of(spoken, stream=True)
    async with house(tmp_path, _ON, simulator=simulator) as running:
        async with contextlib.AsyncExitStack() as opened:
            first, *joined = [
                await opened.enter_async_context(running.opened(spoken, body)) for _ in range(4)
            ]
            for one in (first, *joined):
                # it has a part of the answer, so it waits for the rest of it
                assert await one.content.readany()
            first.close()
            answers = [await read_answer(one) for one in joined]
        end = b"data: [DONE]\n\n" if spoken is Spoken.CHAT else b'"message_stop"}\n\n'
        assert all(one.body.replace(b" ", b"").endswith(end.replace(b" ", b"")) for one in answers)
        assert {one.headers["x-carousel-cache"] for one in answers} == {"hit"}
        assert running.calls() == 1
        await running.idle()


async def test_the_last_client_to_leave_ends_the_upstream_call(tmp_path: Path) -> None:
    """Protects the bill from answers that nobody reads."""
    simulator = Simulator()
    simulator.script("*", then=Step("stall_mid", after=3))
    body = body_of(Spoken.MESSAGES, stream=True)
    async with house(tmp_path, _ON, simulator=simulator) as running:
        async with running.opened(Spoken.MESSAGES, body) as one, running.opened(Spoken.MESSAGES, body) as two:
            await one.content.readany()
            await two.content.readany()
            one.close()
            two.close()
        await running.idle()
        assert running.calls() == 1


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_fault_in_a_shared_stream_is_told_to_all_and_asked_again_later(
    tmp_path: Path, spoken: Spoken
) -> None:
    """Protects clients from a broken answer that looks whole, at once or out of memory."""
    simulator = Simulator(pace=Pace(first_token_delay_s=0.3))
    simulator.script("*", [Step("error_event_mid", after=4)])
    async with house(tmp_path, _ON, simulator=simulator) as running:
        broken = await asyncio.gather(*(running.ask(spoken, stream=True) for _ in range(4)))
        for one in broken:
            assert one.last_frame_error.error.message
            assert b"[DONE]" not in one.body
            assert b"message_stop" not in one.body
        assert running.calls() == 1
        healed = await running.ask(spoken, stream=True)
        assert healed.headers["x-carousel-cache"] == "miss"
        assert running.calls() == 2


async def test_a_shared_question_that_fails_is_one_failure_for_all(tmp_path: Path) -> None:
    """Protects the upstream from a crowd that tries what has just failed, and the next client from an old error."""
    simulator = Simulator(pace=Pace(first_token_delay_s=0.3))
    simulator.script("*", [Step("delay", seconds=0.3, next=Step("status", status=400, message="no"))])
    async with house(tmp_path, _ON, simulator=simulator) as running:
        refused = await asyncio.gather(*(running.ask(Spoken.CHAT) for _ in range(4)))
        assert {(one.status, one.error.error.message) for one in refused} == {(400, "no")}
        assert len({one.error.request_id for one in refused}) == 4
        assert running.calls() == 1
        stats = await _stats(running, ADMIN_KEY)
        assert (stats.requests, stats.errors, stats.cache) == (4, 4, _Cache(entries=0, hits=0, misses=1))
        assert (await running.ask(Spoken.CHAT)).status == 200


async def test_the_official_sdks_read_a_repeated_stream(tmp_path: Path) -> None:
    """Protects the clients most people use."""
    async with house(tmp_path, _ON) as running:
        url, messages = running.server.url, [{"role": "user", "content": "Hello"}]
        texts = []
        async with (
            anthropic.AsyncAnthropic(api_key=CLIENT_KEY, base_url=url) as claude,
            openai.AsyncOpenAI(api_key=CLIENT_KEY, base_url=f"{url}/v1") as chat,
        ):
            for _ in range(2):
                async with claude.messages.stream(model=MODEL, max_tokens=50, messages=messages) as stream:  # type: ignore[arg-type]  # plain messages
                    texts.append((await stream.get_final_message()).content[0].text)  # type: ignore[union-attr]  # a text
            for _ in range(2):
                told = await chat.chat.completions.create(model=MODEL, messages=messages)  # type: ignore[arg-type]  # plain messages
                texts.append(told.choices[0].message.content)
        assert len(set(texts)) == 1
        assert running.calls() == 2
