"""``claude_options``: the real Claude Code, let do what the operator allows and nothing else."""

import asyncio
import signal
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Received, Step
from proxy.tasks import spawn
from tests.support.children import children, seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, gateway
from tests.support.house import MODEL, Answer, House, Spoken, client, house, simulated, until
from tests.support.pictures import png
from tests.support.tool_calls import calling

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ADMIN: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
_NOTE: Final = "the-purple-heron-7431"
_OUTSIDE: Final = "canary-outside-of-the-root"
_OTHER_KEY: Final = "canary-other-client-key-0123456789abcdef"
_SERVER: Final = """
import json, os, sys
for line in sys.stdin:
    told = json.loads(line)
    if "id" not in told:
        continue
    result = {}
    if told["method"] == "initialize":
        result = {"protocolVersion": told["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "birds", "version": "1"}}
    elif told["method"] == "tools/list":
        result = {"tools": [{"name": "look", "description": "Looks for a bird.",
                             "inputSchema": {"type": "object", "properties": {"what": {"type": "string"}}}}]}
    elif told["method"] == "tools/call":
        text = "found a " + told["params"]["arguments"]["what"] + " with " + os.environ["NET"]
        result = {"content": [{"type": "text", "text": text}]}
    print(json.dumps({"jsonrpc": "2.0", "id": told["id"], "result": result}), flush=True)
"""


class _Place:
    """A folder with an allowed root in it, and something outside of that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.work = self.root / "work"
        self.work.mkdir(parents=True)
        (self.work / "note.txt").write_text(_NOTE)
        (self.work / "dot.png").write_bytes(png(2, 2))
        (folder / "outside.txt").write_text(_OUTSIDE)
        (self.work / "link.txt").symlink_to(folder / "outside.txt")
        script = folder / "birds.py"
        script.write_text(_SERVER)
        servers = {
            "birds": {"command": sys.executable, "args": ["-IS", str(script)], "env": {"NET": "a net"}}
        }
        file = folder / "servers.json"
        file.write_bytes(msgspec.json.encode({"mcpServers": servers}))
        file.chmod(0o600)
        self.settings = {
            "API_KEY": f"{CLIENT_KEY},{_OTHER_KEY}",
            "CLAUDE_CODE_ROOTS": str(self.root),
            "CLAUDE_CODE_TOOLS": "Read,Write,Bash",
            "CLAUDE_CODE__MCP__CONFIG_FILE": str(file),
            "CLAUDE_CODE_MCP": "birds",
        }


def entries(_: str) -> list[Mapping[str, object]]:
    """Two keys, of which the second is asked only while the first cannot be."""
    return [
        {"name": "first", "kind": "claude_code", "token": "k1", "max_concurrency": 2},
        {"name": "second", "kind": "claude_code", "token": "k2", "tier": 1},
    ]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> _Place:
    """Where everything lies."""
    claude_program()
    return _Place(tmp_path_factory.mktemp("claude-options"))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def started(place: _Place) -> AsyncIterator[House]:
    """A gateway whose operator allows some."""
    async with house(place.folder, place.settings, credentials=entries) as found:
        yield found
    await seconds_until_none(place.folder, 5)


@pytest_asyncio.fixture(loop_scope="module")
async def running(started: House) -> House:
    """The same, whose simulated Claude has forgotten what was asked before."""
    started.simulator.reset()
    for name, view in (await started.idle()).items():
        if view.word() != "ready":
            reset = f"{started.server.url}/admin/pool/{name}/reset"
            async with started.session.post(reset, headers=_ADMIN) as response:
                assert response.status == 200
    return started


def asked(running: House) -> list[Received]:
    """The Messages calls that reached the simulated Claude."""
    return [one for one in running.simulator.record.requests if one.path.startswith("/v1/messages")]


async def ask(
    running: House,
    options: Mapping[str, object],
    text: str = "Hello!",
    *,
    spoken: Spoken = Spoken.CHAT,
    stream: bool = False,
    key: str = CLIENT_KEY,
    **fields: object,
) -> Answer:
    """Ask with these options."""
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "claude_options": options,
        **({"max_tokens": 500} if spoken is Spoken.MESSAGES else {}),
        **({"stream": True} if stream else {}),
        **fields,
    }
    return await running.send(spoken, msgspec.json.encode(request), key=key)


def content(answer: Answer) -> str:
    """What a whole chat answer says."""
    assert answer.status == 200, answer.body
    found = msgspec.json.decode(answer.body, type=dict[str, object])
    (choice,) = msgspec.convert(found["choices"], list[dict[str, object]])
    return str(msgspec.convert(choice["message"], dict[str, object])["content"])


def calls(running: House, tool: str, **arguments: object) -> None:
    """Have the model call a tool first, and then say what that returned."""
    running.simulator.script("k1", [Step(stream_body=calling(MODEL, tool, arguments))])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("spoken", Spoken)
async def test_a_tool_is_used_below_the_root_and_one_answer_told(
    running: House, place: _Place, spoken: Spoken, *, stream: bool
) -> None:
    """Protects what the options are for: the file is read here, and the client sees one answer without the call."""
    calls(running, "Read", file_path=str(place.work / "note.txt"))
    options = {"tools": ["Read"], "working_dir": str(place.work)}
    answer = await ask(running, options, spoken=spoken, stream=stream)
    assert answer.status == 200, answer.body
    assert _NOTE.encode() in answer.body
    assert b"tool_use" not in answer.body
    assert b"tool_calls" not in answer.body
    assert len(asked(running)) == 2
    assert len(answer.headers["x-carousel-session"]) == 36
    assert "x-carousel-dropped" not in answer.headers


@pytest.mark.parametrize("name", ["link.txt", "../../outside.txt"])
async def test_nothing_outside_the_directory_is_read(running: House, place: _Place, name: str) -> None:
    """Protects the files of the machine from a model that is talked into reading them."""
    calls(running, "Read", file_path=f"{place.work}/{name}")
    answer = await ask(running, {"tools": ["Read"], "working_dir": str(place.work)})
    assert "denied" in content(answer)
    assert _OUTSIDE.encode() not in answer.body + b"".join(call.body for call in asked(running))


async def test_nothing_outside_the_directory_is_written(running: House, place: _Place) -> None:
    """Protects the machine from a model that is talked into writing; inside it may."""
    options = {"tools": ["Write"], "working_dir": str(place.work)}
    calls(running, "Write", file_path=str(place.folder / "new.txt"), content="x")
    content(await ask(running, options))
    assert not (place.folder / "new.txt").exists()
    calls(running, "Write", file_path=str(place.work / "new.txt"), content="x")
    content(await ask(running, options))
    assert (place.work / "new.txt").read_text() == "x"


async def test_what_a_tool_starts_knows_no_secret(running: House, place: _Place) -> None:
    """Protects the keys of the server, which are not in the environment of what it starts."""
    calls(running, "Bash", command="env", description="Show the environment")
    content(await ask(running, {"tools": ["Bash"], "working_dir": str(place.work)}))
    said = asked(running)[-1].body.decode()
    assert "PATH=" in said
    assert CLIENT_KEY not in said
    assert "ANTHROPIC_API_KEY=the-listener-has-it" in said


@pytest.mark.parametrize("how", ["name", "told"])
async def test_an_mcp_server_of_the_operator_is_called(running: House, place: _Place, how: str) -> None:
    """Protects servers that requests name, by name or in full, and their environment."""
    told = msgspec.json.decode((place.folder / "servers.json").read_bytes())
    calls(running, "mcp__birds__look", what="heron")
    assert "found a heron with a net" in content(
        await ask(running, {"mcp_config": "birds" if how == "name" else told})
    )


async def test_files_and_images_are_put_before_the_question(running: House, place: _Place) -> None:
    """Protects what is shown to the model: a text under its path, an image as an image."""
    options = {"files": ["note.txt"], "images": [str(place.work / "dot.png")], "working_dir": str(place.work)}
    content(await ask(running, options))
    (call,) = asked(running)
    body = msgspec.json.decode(call.body)
    document, image, text, *_ = body["messages"][0]["content"]
    assert (document["type"], document["title"], document["source"]["data"]) == (
        "document",
        "note.txt",
        _NOTE,
    )
    assert (image["type"], image["source"]["media_type"]) == ("image", "image/png")
    assert text["text"].strip() == "Hello!"


async def test_a_session_is_gone_on_with_by_its_id_and_as_the_latest(running: House, place: _Place) -> None:
    """Protects sessions: what was said and done is known, and nobody else's is."""
    calls(running, "Read", file_path=str(place.work / "note.txt"))
    first = await ask(running, {"tools": ["Read"], "working_dir": str(place.work)}, "Read it.")
    session = first.headers["x-carousel-session"]
    assert msgspec.json.decode(first.body)["session_id"] == session
    for options in ({"session_id": session}, {"continue": True, "working_dir": str(place.work)}):
        running.simulator.reset()
        again = await ask(running, options, "And now?")
        assert again.headers["x-carousel-session"] == session
        assert "And now?" in content(again)
        (call,) = asked(running)
        assert _NOTE.encode() in call.body
        assert b"Read it." in call.body
    running.simulator.reset()
    stolen = await ask(running, {"session_id": session}, key=_OTHER_KEY)
    assert (stolen.status, stolen.error.error.param) == (404, "claude_options.session_id")
    nothing = await ask(running, {"continue": True, "working_dir": str(place.work)}, key=_OTHER_KEY)
    assert (nothing.status, nothing.error.error.param) == (404, "claude_options.continue")
    assert asked(running) == []


@pytest.mark.parametrize("status", [429, 401])
async def test_the_next_key_runs_where_one_is_refused(running: House, place: _Place, status: int) -> None:
    """Protects runs from the limits and the troubles of a single key, and a session from belonging to one."""
    begun = await ask(running, {"working_dir": str(place.work)}, "Mind the heron.")
    assert begun.headers["x-carousel-credential"] == "first"
    running.simulator.script("k1", then=Step("status", status=status, headers={"retry-after": "1"}))
    answer = await ask(running, {"session_id": begun.headers["x-carousel-session"]})
    assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "second")
    assert b"Mind the heron." in asked(running)[-1].body


@pytest.mark.parametrize(
    ("options", "param", "status"),
    [
        ({"tools": ["Read", "Edit"]}, "claude_options.tools[1]", 403),
        ({"working_dir": "/etc"}, "claude_options.working_dir", 403),
        ({"files": ["/etc/passwd"]}, "claude_options.files[0]", 403),
        ({"mcp_config": {"mcpServers": {"x": {"command": "sh"}}}}, "claude_options.mcp_config", 403),
        ({"auto_allow_permissions": True}, "claude_options.auto_allow_permissions", 403),
        ({"debug": True}, "claude_options.debug", 403),
        ({"session_id": "Read it."}, "claude_options.session_id", 404),
        ({"output_format": "xml"}, "claude_options.output_format", 400),
    ],
)
async def test_what_is_not_allowed_is_refused_before_anything_starts(
    running: House, place: _Place, options: Mapping[str, object], param: str, status: int
) -> None:
    """Protects the machine: no process is started, no call made, no credential blamed."""
    for spoken in Spoken:
        answer = await ask(running, options, spoken=spoken)
        assert answer.status == status, answer.body
        assert param.encode() in answer.body
    assert asked(running) == []
    assert {view.word() for view in (await running.credentials()).values()} == {"ready"}


async def test_a_clients_own_tools_and_files_go_together(running: House, place: _Place) -> None:
    """Protects tool loops that have a file beside them: one process, and each request's files after its results."""
    options = {"files": ["note.txt"], "working_dir": str(place.work)}
    tool = {"name": "look_up", "input_schema": {"type": "object", "properties": {"what": {"type": "string"}}}}
    running.simulator.script("k1", [Step(stream_body=calling(MODEL, "look_up", {"what": "it"}))])
    first = await ask(running, options, "Look it up.", spoken=Spoken.MESSAGES, tools=[tool])
    assert "x-carousel-session" not in first.headers
    said = msgspec.json.decode(first.body)["content"]
    (call,) = [block for block in said if block["type"] == "tool_use"]
    assert call["name"] == "look_up"
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "a tern"}
    messages: list[dict[str, object]] = [
        {"role": "user", "content": "Look it up."},
        {"role": "assistant", "content": said},
        {"role": "user", "content": [result]},
    ]
    again = await ask(running, options, spoken=Spoken.MESSAGES, tools=[tool], messages=messages)
    assert b"a tern" in again.body
    last = msgspec.json.decode(asked(running)[-1].body)
    assert [block["type"] for block in last["messages"][-1]["content"]] == ["tool_result", "document"]
    assert last["tools"] == [tool]


async def test_images_by_url_are_refused_and_as_data_shown(running: House) -> None:
    """Protects images no directory here holds; and the network of the server, which fetches nothing unasked."""
    data = f"data:image/png;base64,{b64encode(png(2, 2)).decode()}"
    content(await ask(running, {"images": [data]}))
    block, *_ = msgspec.json.decode(asked(running)[-1].body)["messages"][0]["content"]
    assert (block["type"], block["source"]["media_type"]) == ("image", "image/png")
    refused = await ask(running, {"images": [data, "https://images.example/a.png"]})
    assert (refused.status, refused.error.error.param) == (400, "claude_options.images[1]")
    assert "IMAGE_FETCH" in refused.error.error.message


async def test_a_client_that_runs_tools_itself_brings_no_others(running: House, place: _Place) -> None:
    """Protects clients from calls that nobody would answer."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    answer = await ask(running, {"tools": ["Read"], "working_dir": str(place.work)}, tools=[tool])
    assert (answer.status, answer.error.error.param) == (400, "tools")


async def test_the_result_can_be_had_as_json_and_as_a_line_a_message(running: House, place: _Place) -> None:
    """Protects clients that read what the program's own command line prints."""
    options: dict[str, object] = {"tools": ["Read"], "working_dir": str(place.work)}
    calls(running, "Read", file_path=str(place.work / "note.txt"))
    result = msgspec.json.decode(content(await ask(running, {**options, "output_format": "json"})))
    assert (result["type"], result["num_turns"], _NOTE in result["result"]) == ("result", 2, True)
    calls(running, "Read", file_path=str(place.work / "note.txt"))
    lines = content(await ask(running, {**options, "output_format": "stream-json"})).splitlines()
    kinds = [msgspec.json.decode(line)["type"] for line in lines]
    assert (kinds[0], kinds[-1], kinds.count("user")) == ("system", "result", 1)
    assert "cwd" not in msgspec.json.decode(lines[0])


async def _turn(running: House, conversation: str, text: str) -> Answer:
    """A further turn of a conversation, without options."""
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "conversation_id": conversation,
    }
    return await running.send(Spoken.CHAT, msgspec.json.encode(request))


async def test_sessions_and_projects_outlive_the_server_and_servers_join_by_themselves(
    tmp_path: Path,
) -> None:
    """Protects what was said from a restart, and plain requests where the operator has servers join all."""
    place = await asyncio.to_thread(_Place, tmp_path)
    settings = {**place.settings, "CLAUDE_CODE__MCP__ENABLED": "true"}
    async with house(tmp_path, settings, credentials=entries) as found:
        headers = {"authorization": f"Bearer {CLIENT_KEY}"}
        url = f"{found.server.url}/v1/projects"
        async with found.session.post(url, json={"name": "birds"}, headers=headers) as response:
            project = await response.json()
        (Path(project["path"]) / "plan.txt").write_text("count the herons")
        calls(found, "Read", file_path=f"{project['path']}/plan.txt")
        first = await ask(
            found, {"tools": ["Read"], "files": ["plan.txt"]}, "Mind the heron.", project_id=project["id"]
        )
        assert "count the herons" in content(first)
        name = msgspec.json.decode(first.body)["conversation_id"]
        content(await _turn(found, name, "Mind the tern."))
        # it is written down when the program has ended, a moment after its answer
        await until(lambda: any((tmp_path / "data" / "claude-sessions").glob("*/*.jsonl")))
    async with house(tmp_path, settings, credentials=entries) as found:
        options = {"session_id": first.headers["x-carousel-session"]}
        again = await ask(found, options, "And now?", project_id=project["id"])
        assert "And now?" in content(again)
        assert b"Mind the heron." in asked(found)[-1].body
        latest = await ask(found, {"continue": True}, project_id=project["id"])
        assert latest.headers["x-carousel-session"] == options["session_id"]
        found.simulator.reset()
        calls(found, "mcp__birds__look", what="heron")
        joined = await _turn(found, name, "Look!")
        assert "found a heron with a net" in content(joined)
        assert b"Mind the tern." in asked(found)[0].body
    await seconds_until_none(tmp_path, 5)


def _words(folder: Path) -> str:
    """The command lines of all that runs there."""
    found = []
    for pid in children(folder):
        with suppress(OSError):
            found.append(Path(f"/proc/{pid}/cmdline").read_text())
    return " ".join(found)


async def test_nothing_a_run_has_started_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    """Protects the machine from what tools and MCP servers would leave behind."""
    claude_program()
    place = await asyncio.to_thread(_Place, tmp_path)
    file = tmp_path / "sessions.json"
    async with simulated() as simulator, client() as session:
        file.write_bytes(msgspec.json.encode({"credentials": entries("")}))
        file.chmod(0o600)
        settings = {**place.settings, "SESSIONS_FILE": str(file), "ANTHROPIC_BASE_URL": simulator.url}
        async with gateway(tmp_path, settings) as running:
            found = House(running, simulator, session)
            command = f"{sys.executable} -c 'import time; time.sleep(600)'; true"
            calls(found, "Bash", command=command, description="Wait")
            options = {"tools": ["Bash"], "mcp_config": "birds", "working_dir": str(place.work)}
            asking = spawn(ask(found, options), name="ask")
            await until(lambda: all(word in _words(tmp_path) for word in ("birds.py", "time.sleep(600)")))
            await running.stop(signal.SIGKILL)
            await seconds_until_none(tmp_path, 5)
            await asyncio.gather(asking, return_exceptions=True)
