"""Claude Code as a credential: the real program between the server and a simulated Claude."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.dialects.sse import encode_frame
from proxy.simulator import Received, Simulator, Step
from tests.support.canaries.marks import secret
from tests.support.children import children, seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway, gateway
from tests.support.house import MODEL, Answer, House, Spoken, client, house, simulated
from tests.support.soak import sized
from tests.support.talks import CONVERSATION, Talk, conversation_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ADMIN: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
_OPTIONS: Final = "-p --dangerously-skip-permissions /help @/etc/passwd"
_STARTS: Final = sized(full=200, short=20)
_LOGIN: Final = "sk-ant-oat01-canary"
_TOOL: Final[dict[str, object]] = {
    "name": "look_up",
    "description": "Looks something up.",
    "input_schema": {"type": "object", "properties": {"what": {"type": "string"}}},
}


class _Said(msgspec.Struct):
    role: str
    content: list[dict[str, object]]


def entries(_: str) -> list[Mapping[str, object]]:
    """Two keys, of which the second is asked only while the first cannot be."""
    return [
        {"name": "first", "kind": "claude_code", "token": "k1", "max_concurrency": 2},
        {"name": "second", "kind": "claude_code", "token": "k2", "tier": 1},
    ]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps everything."""
    claude_program()
    return tmp_path_factory.mktemp("claude-code")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def started(folder: Path) -> AsyncIterator[House]:
    """A gateway of two Claude Code keys."""
    async with house(folder, credentials=entries) as found:
        yield found
    await seconds_until_none(folder, 5)


@pytest_asyncio.fixture(loop_scope="module")
async def running(started: House) -> House:
    """The same, whose simulated Claude has forgotten what was asked before, and whose keys are all ready."""
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


def body(call: Received) -> dict[str, object]:
    """What such a call held."""
    return msgspec.json.decode(call.body, type=dict[str, object])


async def converse(running: House, messages: list[object], **fields: object) -> dict[str, object]:
    """Ask over Messages, and read the answer."""
    request = {"model": MODEL, "max_tokens": 500, "messages": messages, **fields}
    answer = await running.send(Spoken.MESSAGES, msgspec.json.encode(request))
    assert answer.status == 200, answer.body
    return msgspec.json.decode(answer.body, type=dict[str, object])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("spoken", Spoken)
async def test_a_question_is_answered_in_either_dialect(
    running: House, spoken: Spoken, *, stream: bool
) -> None:
    """Protects the whole way there and back: one call upstream, with the key that the program never sees."""
    answer = await running.ask(spoken, stream=stream, text=_OPTIONS)
    assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "first")
    (call,) = asked(running)
    assert (call.key, call.status) == ("k1", 200)
    assert call.header("authorization") == f"Bearer {secret('k1')}"
    assert (call.header("user-agent") or "").startswith("claude-cli/")
    said = body(call)
    assert said["model"] == MODEL
    (message,) = msgspec.convert(said["messages"], list[dict[str, object]])
    (block,) = msgspec.convert(message["content"], list[dict[str, object]])
    assert block["text"] == _OPTIONS
    assert {"tools", "thinking", "output_config", "context_management"}.isdisjoint(said)


async def test_a_conversation_goes_on_in_the_process_that_holds_it(running: House, folder: Path) -> None:
    """Protects the speed of a conversation, and its history: word for word, whether it is held or told anew."""
    messages: list[object] = [{"role": "user", "content": "one"}]
    for turn in ("two", "three"):
        said = await converse(running, messages, system="Be brief.")
        messages += [{"role": "assistant", "content": said["content"]}, {"role": "user", "content": turn}]
    held = await asyncio.to_thread(children, folder)
    await converse(running, messages, system="Be brief.")
    assert set(await asyncio.to_thread(children, folder)) <= set(held)
    await converse(running, messages, system="Be wordy.")
    warm, cold = [body(call) for call in asked(running)][-2:]
    assert _texts(warm["messages"]) == _texts(cold["messages"])
    assert [text for _, text in _texts(warm["messages"])][::2] == ["one", "two", "three"]
    assert warm["metadata"] != cold["metadata"]
    assert len({str(body(call)["metadata"]) for call in asked(running)}) == 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_its_chat_answers_begin_conversations_by_themselves(running: House, *, stream: bool) -> None:
    """Protects clients that send only what is new after an answer of Claude Code."""
    talk = Talk(running)
    await talk.hear("My name is Alice.", stream=stream)
    assert talk.name.startswith("conv_")
    answer = await talk.say("What is my name?")
    assert conversation_of(answer) == talk.name
    assert talk.said()[::2] == ["user: My name is Alice.", "user: What is my name?"]
    assert len(asked(running)) == 2


async def test_answers_of_other_kinds_begin_none_beside_it(tmp_path: Path) -> None:
    """Protects prompts that a plain key answers from being kept, also where Claude Code could have answered."""

    def both(_: str) -> list[Mapping[str, object]]:
        return [
            {"name": "plain", "key": "k1"},
            {"name": "code", "kind": "claude_code", "token": "k2", "tier": 1},
        ]

    async with house(tmp_path, credentials=both) as found:
        for stream in (False, True):
            answer = await found.ask(Spoken.CHAT, stream=stream)
            assert answer.headers["x-carousel-credential"] == "plain"
            assert CONVERSATION not in answer.headers
            assert b"conversation_id" not in answer.body
            found.simulator.script("k1", then=Step("status", status=402))
            answer = await found.ask(Spoken.CHAT, stream=stream)
            assert answer.headers["x-carousel-credential"] == "code"
            assert answer.headers[CONVERSATION].startswith("conv_")
            found.simulator.script("k1")
            async with found.session.post(
                f"{found.server.url}/admin/pool/plain/reset", headers=_ADMIN
            ) as reset:
                assert reset.status == 200
        assert CONVERSATION not in (await found.ask(Spoken.MESSAGES)).headers


async def test_what_the_program_has_no_option_for_is_put_into_its_request(running: House) -> None:
    """Protects the client's limits, tools and formats on their way around the program."""
    schema = {"type": "object", "additionalProperties": False}
    output = {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
    fields: dict[str, object] = {
        "stop_sequences": ["END"],
        "tools": [_TOOL],
        "tool_choice": {"type": "auto"},
        "output_config": output,
        "thinking": {"type": "adaptive"},
    }
    await converse(running, [{"role": "user", "content": "Hello!"}], **fields)
    (call,) = asked(running)
    said = body(call)
    assert {name: said[name] for name in fields} == fields
    assert said["max_tokens"] == 500


async def test_a_tool_the_client_runs_is_called_and_its_result_goes_back(running: House) -> None:
    """Protects tool calls: the program knows nothing of the tool, and adds no word of its own."""
    call_block = {"type": "tool_use", "id": "toolu_01", "name": "look_up", "input": {"what": "it"}}
    messages: list[object] = [
        {"role": "user", "content": "Look it up."},
        {"role": "assistant", "content": [call_block]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_01", "content": "a heron"}],
        },
    ]
    said = await converse(running, messages, tools=[_TOOL])
    assert "a heron" in str(said["content"])
    (call,) = asked(running)
    sent = msgspec.convert(body(call)["messages"], list[_Said])
    assert [block["type"] for message in sent for block in message.content] == [
        "text",
        "tool_use",
        "tool_result",
    ]
    assert sent[1].content == [call_block]
    assert "cache_control" in sent[2].content[0]


@pytest.mark.parametrize("stop_reason", ["max_tokens", "refusal", "model_context_window_exceeded"])
async def test_whatever_ends_an_answer_one_call_is_made(running: House, stop_reason: str) -> None:
    """Protects the owner's money, and the answer, from what the program would ask by itself afterwards."""
    running.simulator.script("k1", [Step(do="success", stop_reason=stop_reason, text="Half of")])
    said = await converse(running, [{"role": "user", "content": "Hello!"}])
    assert said["stop_reason"] == stop_reason
    assert len(asked(running)) == 1


@pytest.mark.parametrize(("status", "word"), [(429, "cooling(rate_limit)"), (401, "cooling(auth)")])
async def test_the_next_key_answers_where_one_is_refused(running: House, status: int, word: str) -> None:
    """Protects clients from the limits and the troubles of a single key."""
    running.simulator.script("k1", [Step(do="status", status=status, headers={"retry-after": "60"})])
    answer = await running.ask(Spoken.CHAT)
    assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "second")
    assert answer.headers["x-carousel-attempts"] == "2"
    assert [(call.key, call.status) for call in asked(running)] == [("k1", status), ("k2", 200)]
    views = await running.credentials()
    assert (views["first"].word(), views["second"].word()) == (word, "ready")


async def test_an_answer_that_breaks_off_is_no_whole_one(running: House) -> None:
    """Protects clients from the end that the program makes up where an answer breaks."""
    running.simulator.script("k1", [Step(do="slow_bytes", stream_body=_half_an_answer(), bytes_per_s=2000)])
    answer = await running.ask(Spoken.MESSAGES, stream=True)
    assert b"content_block_delta" in answer.body
    assert b"message_stop" not in answer.body
    assert answer.last_frame_error.error.type == "api_error"


async def test_the_version_and_the_processes_are_told(running: House) -> None:
    """Protects whoever watches the server."""
    await running.ask(Spoken.CHAT)
    async with running.session.get(f"{running.server.url}/health") as response:
        found = await response.json()
    assert found["claude_version"].count(".") == 2
    assert found["active_sessions"] >= 1


async def test_its_own_model_is_listed_and_answers(running: House) -> None:
    """Protects clients that name no model but the program."""
    answer = await running.ask(Spoken.CHAT, model="claude-code")
    assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "first")
    (call,) = asked(running)
    assert str(body(call)["model"]).startswith("claude-")
    headers = {"authorization": f"Bearer {CLIENT_KEY}"}
    async with running.session.get(f"{running.server.url}/v1/models", headers=headers) as response:
        assert "claude-code" in {one["id"] for one in (await response.json())["data"]}


def _half_an_answer() -> bytes:
    message: dict[str, object] = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "half of it "},
    }
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(delta for _ in range(8)),
    ]
    return b"".join(encode_frame(msgspec.json.encode(event), str(event["type"])) for event in events)


def _texts(messages: object) -> list[tuple[str, object]]:
    found = msgspec.convert(messages, list[_Said])
    return [(message.role, block.get("text")) for message in found for block in message.content]


def logins(url: str) -> list[Mapping[str, object]]:
    """A login token, which the program itself goes out with."""
    return [{"name": "mine", "kind": "claude_code", "token": _LOGIN, "base_url": url}]


async def test_a_login_goes_out_by_itself_once_and_tells_its_limits(tmp_path: Path) -> None:
    """Protects a person's own login: no key of ours on its calls, one call a question, its limits known."""
    claude_program()
    async with house(tmp_path, {"RETRY_COUNT": "0"}, credentials=logins) as found:
        found.simulator.script(_LOGIN, [Step(do="success", stop_reason="max_tokens", text="Half of")])
        said = await converse(found, [{"role": "user", "content": "Hello!"}], stop_sequences=["END"])
        assert said["stop_reason"] == "max_tokens"
        (call,) = asked(found)
        assert (call.key, call.header("x-api-key")) == (_LOGIN, None)
        assert (body(call)["stop_sequences"], body(call)["max_tokens"]) == (["END"], 500)
        half = Step(do="slow_bytes", stream_body=_half_an_answer(), bytes_per_s=2000)
        found.simulator.script(_LOGIN, [half, Step(do="status", status=429)])
        cut = await found.ask(Spoken.MESSAGES, stream=True)
        assert b"message_stop" not in cut.body
        assert cut.last_frame_error.error.type == "api_error"
        assert (await found.ask(Spoken.MESSAGES)).status == 429
        assert (await found.credentials())["mine"].word() == "cooling(rate_limit)"
    await seconds_until_none(tmp_path / "data", 5)


async def _cancelled(found: House, after_s: float) -> Answer | None:
    try:
        async with asyncio.timeout(after_s):
            return await found.ask(Spoken.MESSAGES, stream=True, text="Hello!")
    except TimeoutError:
        return None


@pytest.mark.long
async def test_starts_broken_off_anywhere_leave_no_process(tmp_path: Path) -> None:
    """Protects the machine from children of requests nobody waits for."""
    claude_program()
    settings = {"CLAUDE_CODE__CLAUDE__USE_INTERACTIVE_SESSIONS": "false"}
    chance = random.Random(7)
    async with house(tmp_path, settings, credentials=entries) as found:
        for _ in range(_STARTS // 4):
            await asyncio.gather(*(_cancelled(found, chance.uniform(0.0, 1.5)) for _ in range(4)))
        await seconds_until_none(tmp_path / "data", 10)
        assert (await found.idle()).keys() == {"first", "second"}


async def _warm_gateway(folder: Path, simulator: Simulator, running: Gateway) -> None:
    async with client() as session:
        found = House(running, simulator, session)
        assert (await found.ask(Spoken.CHAT)).status == 200
    assert len(await asyncio.to_thread(children, folder / "data")) >= 2


async def test_no_process_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    """Protects the machine from orphans, which nobody would ever end."""
    claude_program()
    file = tmp_path / "sessions.json"
    async with simulated() as simulator:
        file.write_bytes(msgspec.json.encode({"credentials": entries("")}))
        file.chmod(0o600)
        settings = {"SESSIONS_FILE": str(file), "ANTHROPIC_BASE_URL": simulator.url}
        async with gateway(tmp_path, settings) as running:
            await _warm_gateway(tmp_path, simulator, running)
            await running.stop(signal.SIGKILL)
            await seconds_until_none(tmp_path / "data", 5)
        async with gateway(tmp_path, settings) as running:
            await _warm_gateway(tmp_path, simulator, running)
            (folder,) = (tmp_path / "data" / "claude-code").iterdir()
            assert (folder / "lock").exists()
            assert await running.stop() == 0
            assert await asyncio.to_thread(children, tmp_path / "data") == []
            assert list((tmp_path / "data" / "claude-code").iterdir()) == []
