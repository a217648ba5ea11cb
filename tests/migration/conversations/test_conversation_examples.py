"""Moving here with conversations: what other programs' documents show, run against the program as users start it."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.migration.conversations.examples import (
    CLIENT,
    CONVERSATION,
    CURL,
    SETTINGS,
    WITH_CONTEXT,
    environment,
    runnable,
)
from tests.support.gateway import Gateway
from tests.support.house import House, Spoken, house
from tests.support.talks import Shown, Talk

_SETTINGS: Final = {"REQUIRE_AUTH": "false", "CONVERSATIONS": "on", **environment(SETTINGS)}
_LIMIT_S: Final = 60.0


class _Response(msgspec.Struct):
    conversation_id: str


@asynccontextmanager
async def _moved(folder: Path) -> AsyncIterator[House]:
    """The program with the documents' settings, and the two lines that moving asks for."""
    async with house(folder, _SETTINGS) as running:
        yield running


def _run(source: str) -> dict[str, object]:
    """Run an example; what it has made."""
    names: dict[str, object] = {}
    exec(compile(source, "example", "exec"), names)  # noqa: S102 - a text of this folder
    client = names["client"]
    getattr(client, "close")()  # noqa: B009 - the example says what it is, not its type
    return names


async def test_the_second_request_remembers_the_first(tmp_path: Path) -> None:
    """Protects programs written for the other one: the id is where they read it, and does what it did."""
    async with _moved(tmp_path) as running:
        source = runnable(CLIENT + CONVERSATION, url=running.server.url)
        names = await asyncio.to_thread(_run, source)
        assert Talk(running).said() == [
            "user: My name is Alice",
            'assistant: You said: "My name is Alice"',
            "user: What's my name?",
        ]
        assert str(names["conversation_id"]).startswith("conv_")


@pytest.mark.needs("curl")
async def test_the_curl_line_continues_a_conversation(tmp_path: Path) -> None:
    """Protects scripts: with an id of ours in the example's place only what is new has to be sent."""
    async with _moved(tmp_path) as running:
        begun = await running.ask(Spoken.CHAT, text="Hello", key="any")
        conversation = msgspec.json.decode(begun.body, type=_Response).conversation_id
        line = runnable(CURL, url=running.server.url, conversation=conversation)
        process = await asyncio.create_subprocess_exec(
            *shlex.split(line.replace("\\\n", " ")), "-s", stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await asyncio.wait_for(process.communicate(), _LIMIT_S)
        assert msgspec.json.decode(printed, type=_Response).conversation_id == conversation
        assert Talk(running).said()[0] == "user: Hello"
        assert Talk(running).said()[-1] == "user: Continue our chat"
        unknown = runnable(CURL, url=running.server.url, conversation="uuid-here")
        process = await asyncio.create_subprocess_exec(
            *shlex.split(unknown.replace("\\\n", " ")), "-s", stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await asyncio.wait_for(process.communicate(), _LIMIT_S)
        assert b"conversation_not_found" in printed


async def test_the_three_addresses_of_conversations_answer(tmp_path: Path) -> None:
    """Protects clients of `POST /v1/conversations`, `GET /v1/conversations` and `GET /v1/conversations/:id`."""
    async with _moved(tmp_path) as running:
        talk = Talk(running, key="any")
        made = await talk.begin(
            model="claude-opus-4-20250514", project_path="my/project", metadata={"a": "b"}
        )
        assert await talk.shown() == made
        _, body = await talk.call("GET", "/v1/conversations")
        listed = msgspec.json.decode(body)
        assert listed["object"] == "list"
        assert listed["conversations"] == [{"id": made.id, "updated_at": made.updated_at}]
        assert msgspec.convert(listed["data"], list[Shown]) == [made]
        answer = await running.send(
            Spoken.CHAT,
            msgspec.json.encode(
                {"conversation_id": made.id, "messages": [{"role": "user", "content": "Hi"}]}
            ),
            key="any",
        )
        assert answer.status == 200
        assert Talk(running).asked().model.startswith("claude-opus-")


async def test_openais_own_sdk_makes_and_finds_conversations(tmp_path: Path) -> None:
    """Protects users of `conversations.create`, `retrieve` and `delete`."""
    source = CLIENT + (
        'made = client.conversations.create(metadata={"topic": "demo"})\n'
        "found = client.conversations.retrieve(made.id)\n"
        "gone = client.conversations.delete(made.id)\n"
        "seen = (made.object, found.id == made.id, found.metadata, found.created_at > 0, gone.deleted)\n"
    )
    async with _moved(tmp_path) as running:
        names = await asyncio.to_thread(_run, runnable(source, url=running.server.url))
        assert names["seen"] == ("conversation", True, {"topic": "demo"}, True, True)


async def test_a_history_in_the_request_itself_arrives_whole(tmp_path: Path) -> None:
    """Protects clients that send everything each time, as the second program's example does."""
    async with _moved(tmp_path) as running:
        answer = await running.send(Spoken.CHAT, WITH_CONTEXT.encode(), key="any")
        assert answer.status == 200
        assert Talk(running).said() == [
            "user: My name is Alice.",
            "assistant: Nice to meet you, Alice!",
            "user: What's my name?",
        ]
        assert Talk(running).asked().system == [{"type": "text", "text": "You are a helpful assistant."}]


async def test_sessions_and_projects_answer_as_the_second_program_lists_them(tmp_path: Path) -> None:
    """Protects those who group their requests: what a session used adds up, over a restart too."""
    async with _moved(tmp_path) as running:
        talk = Talk(running, key="any")
        status, body = await talk.call("POST", "/v1/projects", {"name": "Demo", "description": "Mine"})
        assert status == 201
        project = msgspec.json.decode(body)["id"]
        talk.fields = {"project_id": project}
        first = await talk.say("Hello")
        session = first.headers["x-carousel-session"]
        talk.fields = {"session_id": session, "project_id": project}
        second = await talk.say("Hello again", stream=True)
        assert second.headers["x-carousel-session"] == session
        assert isinstance(running.server, Gateway)
        assert await running.server.stop() == 0
    async with _moved(tmp_path) as running:
        talk = Talk(running, key="any")
        _, body = await talk.call("GET", f"/v1/sessions/{session}")
        shown = msgspec.json.decode(body)
        assert (shown["id"], shown["project_id"], shown["message_count"]) == (session, project, 4)
        assert shown["total_tokens"] > 0
        assert shown["total_cost"] > 0
        _, body = await talk.call("GET", f"/v1/sessions?project_id={project}&page=1&per_page=20")
        listed = msgspec.json.decode(body)
        assert [each["id"] for each in listed["data"]] == [session]
        assert listed["pagination"]["total_items"] == 1
        _, body = await talk.call("GET", "/v1/sessions/stats")
        assert msgspec.json.decode(body)["total_messages"] == 4
