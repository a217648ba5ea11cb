"""Conversations, sessions and projects of several replicas with a Redis between them: any of them goes on with any."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Pace, Simulator, Step
from tests.support.children import seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.gateway import CLIENT_KEY, Gateway
from tests.support.house import House, Spoken, eventually, until
from tests.support.real_redis import PROGRAM, RealRedis, real_redis, replicas
from tests.support.talks import CONVERSATION, Shown, Talk

pytestmark = pytest.mark.needs(PROGRAM)

_BOB: Final = "canary-another-client-key-0123456789abcdef"
_SETTINGS: Final = {"API_KEY": f"{CLIENT_KEY},{_BOB}", "CONVERSATIONS": "on", "QUEUE_WAIT_S": "2"}


class _List(msgspec.Struct):
    data: list[Shown]
    has_more: bool
    last_id: str | None


class _Session(msgspec.Struct):
    message_count: int
    total_tokens: int


@asynccontextmanager
async def _two(
    folder: Path, simulator: Simulator | None = None, **settings: str
) -> AsyncIterator[tuple[RealRedis, House, House]]:
    """Two replicas with a folder each, and their Redis."""
    async with (
        real_redis(folder) as redis,
        replicas(folder, redis, 2, {**_SETTINGS, **settings}, simulator=simulator) as (one, two),
    ):
        yield redis, one, two


def _at(talk: Talk, running: House) -> Talk:
    """The same conversation at another replica."""
    return Talk(running, talk.spoken, talk.name, talk.key, talk.fields)


async def _status(talk: Talk, method: str = "GET") -> int:
    return (await talk.call(method, f"/v1/conversations/{talk.name}"))[0]


async def _degraded(running: House) -> bool:
    async with running.session.get(f"{running.server.url}/health") as answer:
        return bool((await answer.json())["degraded"])


async def _is(running: House, *, degraded: bool) -> bool:
    return await _degraded(running) is degraded


def _database(folder: Path, number: int) -> bytes:
    """All that a replica has on disk of its database."""
    return b"".join(path.read_bytes() for path in (folder / f"replica-{number}/data").glob("carousel.db*"))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("spoken", Spoken)
async def test_a_conversation_goes_on_at_any_replica_and_rests_on_disk_from_the_second_turn_on(
    tmp_path: Path, spoken: Spoken, *, stream: bool
) -> None:
    """Protects clients from a balancer that knows nothing of conversations, and prompts nobody came back to."""
    async with _two(tmp_path) as (_, one, two):
        talk = Talk(one, spoken, by_header=True, name="new")
        answer = await talk.say("My name is Alice.", stream=stream)
        talk.name, talk.by_header = answer.headers[CONVERSATION], False
        assert not any(b"My name is Alice." in _database(tmp_path, number) for number in range(2))
        there = _at(talk, two)
        await there.hear("What is my name?", stream=stream)
        assert there.said() == [
            "user: My name is Alice.",
            'assistant: You said: "My name is Alice."',
            "user: What is my name?",
        ]
        assert [b"My name is Alice." in _database(tmp_path, number) for number in range(2)] == [False, True]
        await talk.hear("Once more.", stream=stream)
        assert len(talk.said()) == 5
        assert [(await _at(talk, running).shown()).message_count for running in (one, two)] == [6, 6]


async def test_what_claude_code_carried_at_one_replica_goes_on_at_another(tmp_path: Path) -> None:
    """Protects a conversation whose process, and whose session on disk, another machine has."""
    claude_program()

    def logins(_: str) -> list[Mapping[str, object]]:
        return [{"name": "code", "kind": "claude_code", "token": "k1"}]

    async with (
        real_redis(tmp_path) as redis,
        replicas(tmp_path, redis, 2, credentials=logins) as (one, two),
    ):
        talk = Talk(one)
        await talk.hear("My name is Alice.")
        name = talk.name
        there = _at(talk, two)
        await there.hear("What is my name?")
        await talk.hear("Once more.")
        assert (talk.name, there.name) == (name, name)
        assert talk.said()[::2] == ["user: My name is Alice.", "user: What is my name?", "user: Once more."]
        assert [(await _at(talk, running).shown()).message_count for running in (one, two)] == [6, 6]
    await seconds_until_none(tmp_path, 5)


async def test_what_one_replica_made_another_lists_pages_and_shows_to_its_owner_alone(tmp_path: Path) -> None:
    """Protects ids that were handed out, the pages of a list, and conversations from other clients."""
    async with _two(tmp_path) as (_, one, two):
        talks = [Talk(running) for running in (one, two, one)]
        for talk in talks:
            await talk.begin(metadata={"topic": "names"})
            await talk.hear("Hello.")
        for running in (one, two):
            found, after = list[str](), ""
            while True:
                status, body = await Talk(running).call("GET", f"/v1/conversations?limit=2{after}")
                assert status == 200
                page = msgspec.json.decode(body, type=_List)
                found += [shown.id for shown in page.data]
                assert {(shown.message_count, shown.metadata["topic"]) for shown in page.data} == {
                    (2, "names")
                }
                if not page.has_more:
                    break
                after = f"&after={page.last_id}"
            assert found == [talk.name for talk in reversed(talks)]
            theirs = Talk(running, name=talks[0].name, key=_BOB)
            assert [await _status(theirs, method) for method in ("GET", "DELETE")] == [404, 404]
            assert (await theirs.say("What was it?")).status == 404
            status, body = await theirs.call("GET", "/v1/conversations")
            assert msgspec.json.decode(body, type=_List).data == []
        assert await _status(talks[0]) == 200


async def test_two_turns_at_once_are_answered_one_after_the_other_or_refused(tmp_path: Path) -> None:
    """Protects a history from two turns that know nothing of each other, from the very first one on."""
    simulator = Simulator()
    async with _two(tmp_path, simulator) as (_, one, two):
        simulator.script("*", [Step("delay", seconds=1.0)])
        begun = Talk(one)
        async with one.opened(Spoken.CHAT, begun.body("First.", stream=True)) as first:
            talk = Talk(two, name=first.headers[CONVERSATION])
            assert len(await asyncio.gather(talk.hear("Second."), first.read())) == 2
        assert talk.said() == ["user: First.", 'assistant: You said: "First."', "user: Second."]
        simulator.script("*", [Step("delay", seconds=0.5)])
        asked = asyncio.gather(*(_at(talk, running).hear("And?") for running in (one, two, one, two)))
        await asked
        shown = await talk.shown()
        assert shown.message_count == 12
        # the one that comes while another takes longer than it may wait
        simulator.script("*", [Step("success", pace=Pace(tokens_per_s=1, events=100))])
        async with one.opened(Spoken.CHAT, _at(talk, one).body("Long.", stream=True)) as long:
            await long.content.readany()
            refused = await _at(talk, two).say("Refused.")
            assert (refused.status, refused.error.error.code) == (409, "conversation_busy")
            assert refused.headers["x-should-retry"] == "true"
        simulator.script("*", [])
        # who left holds up nobody
        await _at(talk, two).hear("Again.")
        assert (await talk.shown()).message_count == 14


async def test_a_deletion_beats_the_turn_that_is_under_way_elsewhere(tmp_path: Path) -> None:
    """Protects those who want what they said forgotten, at whatever replica they say so."""
    simulator = Simulator()
    async with _two(tmp_path, simulator) as (_, one, two):
        talk = Talk(one)
        await talk.begin()
        await talk.hear("Remember this.")
        simulator.script("*", [Step("delay", seconds=0.7)])
        under_way = asyncio.create_task(talk.say("Not this."))  # noqa: TID251 - a test's own
        calls = simulator.record.requests_total
        await until(lambda: simulator.record.requests_total > calls)
        assert await _status(_at(talk, two), "DELETE") == 200
        assert await _status(talk) == 404
        assert (await under_way).status == 200
        for number, running in enumerate((one, two)):
            assert await _status(_at(talk, running)) == 404
            assert (await _at(talk, running).say("Still there?")).status == 404
            rows = sqlite3.connect(tmp_path / f"replica-{number}/data/carousel.db")
            assert rows.execute("SELECT count(*) FROM conversations").fetchall() == [(0,)]
            rows.close()


async def test_a_turn_that_was_acknowledged_outlives_the_replica_that_answered_it(tmp_path: Path) -> None:
    """Protects what was said from `kill -9` of the replica that heard it, in the moment in which it has answered."""
    async with _two(tmp_path) as (_, one, two):
        talk = Talk(one)
        for number in range(3):
            await talk.hear(f"Turn {number}.")
        assert isinstance(one.server, Gateway)
        await one.server.stop(signal.SIGKILL)
        there = _at(talk, two)
        await there.hear("And now?")
        assert [line for line in there.said() if line.startswith("user")] == [
            *("user: Turn 0.", "user: Turn 1.", "user: Turn 2.", "user: And now?"),
        ]


async def test_a_redis_that_is_away_and_comes_back_empty_costs_nobody_a_conversation(tmp_path: Path) -> None:
    """Protects conversations, projects and totals: each replica goes on with its own, and tells them afterwards."""
    async with _two(tmp_path) as (redis, one, two):
        lent, kept, gone = Talk(one), Talk(one), Talk(one)
        for talk in (lent, kept, gone):
            await talk.hear("Before.")
        await kept.hear("Twice.")
        project = await _made(one, "/v1/projects", {"name": "demo"})
        kept.fields = {"session_id": "total"}
        await redis.kill()
        for running in (one, two):
            await eventually(partial(_is, running, degraded=True))
        await kept.hear("Meanwhile.")
        during = Talk(one)
        await during.hear("Begun meanwhile.")
        assert await _status(gone, "DELETE") == 200
        refused = await _at(kept, two).say("Here?")
        assert (refused.status, refused.error.error.code) == (404, "conversation_not_found")
        await redis.start()
        for running in (one, two):
            await eventually(partial(_is, running, degraded=False))

        async def known() -> bool:
            return [await _status(_at(talk, two)) for talk in (lent, kept, during)] == [200] * 3

        await eventually(known)
        there = _at(kept, two)
        await there.hear("After.")
        assert [line for line in there.said() if line.startswith("user")] == [
            *("user: Before.", "user: Twice.", "user: Meanwhile.", "user: After."),
        ]
        assert await _status(_at(gone, two)) == 404
        for running in (one, two):
            assert (await Talk(running).call("GET", f"/v1/projects/{project}"))[0] == 200

            async def counted(running: House = running) -> bool:
                return await _counted(running, "total") == 4

            await eventually(counted)


async def test_projects_and_sessions_are_those_of_all_replicas(tmp_path: Path) -> None:
    """Protects requests that name a project, and totals, from depending on the replica they reach."""
    async with _two(tmp_path) as (_, one, two):
        project = await _made(one, "/v1/projects", {"name": "demo", "path": "demo"})
        session = await _made(two, "/v1/sessions", {"project_id": project, "title": "Work"})
        status, _ = await Talk(two).call("POST", "/v1/projects", {"name": "other", "path": "demo"})
        assert status == 409
        for running in (one, two):
            talk = Talk(running, fields={"session_id": session})
            assert (await talk.say("Hello.")).headers["x-carousel-session"] == session
        for running in (one, two):

            async def counted(running: House = running) -> bool:
                return await _counted(running, session) == 4

            await eventually(counted)
            for path in (f"/v1/projects/{project}", f"/v1/sessions?project_id={project}"):
                status, body = await Talk(running).call("GET", path)
                assert (status, project.encode() in body) == (200, True)
            assert (await Talk(running, key=_BOB).call("GET", f"/v1/projects/{project}"))[0] == 404
        for path in (f"/v1/sessions/{session}", f"/v1/projects/{project}"):
            assert (await Talk(one).call("DELETE", path))[0] == 200
            assert [(await Talk(running).call("GET", path))[0] for running in (one, two)] == [404, 404]


async def _made(running: House, path: str, body: dict[str, object]) -> str:
    status, said = await Talk(running).call("POST", path, body)
    assert status == 201, said
    return str(msgspec.json.decode(said, type=dict[str, object])["id"])


async def _counted(running: House, session: str) -> int:
    """How many messages a session has had."""
    status, said = await Talk(running).call("GET", f"/v1/sessions/{session}")
    return msgspec.json.decode(said, type=_Session).message_count if status == 200 else 0
