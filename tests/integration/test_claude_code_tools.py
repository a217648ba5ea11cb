"""Tools that a client runs itself, called through Claude Code: the real program before a simulated Claude."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Received, Step
from tests.support.children import seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.gateway import CLIENT_KEY
from tests.support.house import MODEL, House, Spoken, house
from tests.support.tool_calls import calling

pytestmark = pytest.mark.asyncio(loop_scope="module")

_OTHER_KEY: Final = "canary-client-key-of-somebody-else-0123456789"
_SCHEMA: Final = {"type": "object", "properties": {"what": {"type": "string"}}}
_TOOLS: Final = [
    {"name": name, "description": f"Tool {name}.", "input_schema": _SCHEMA}
    for name in ("look_up", "mcp__client__call")
]
_MARK: Final = {"type": "ephemeral"}
_PIXEL: Final = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


class _Message(msgspec.Struct):
    role: str
    content: list[dict[str, object]]


class _Sent(msgspec.Struct):
    """What reached the simulated Claude; `metadata` tells which process it came from."""

    messages: list[_Message]
    metadata: dict[str, str]
    tools: list[dict[str, object]]


def entries(_: str) -> list[Mapping[str, object]]:
    """One key."""
    return [{"name": "one", "kind": "claude_code", "token": "k1"}]


_SETTINGS: Final = {
    "API_KEYS": _OTHER_KEY,
    "CLAUDE_CODE__CLAUDE__MAX_CONCURRENT_SESSIONS": "3",
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def started(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway of one Claude Code key and two clients."""
    claude_program()
    folder = tmp_path_factory.mktemp("claude-code-tools")
    async with house(folder, _SETTINGS, credentials=entries) as found:
        yield found
    await seconds_until_none(folder, 5)


@pytest_asyncio.fixture(loop_scope="module")
async def running(started: House) -> House:
    """The same, whose simulated Claude has forgotten what was asked before."""
    started.simulator.reset()
    return started


def sent(running: House) -> list[_Sent]:
    """What the simulated Claude was asked, in order."""
    return [msgspec.json.decode(one.body, type=_Sent) for one in _asked(running)]


def _asked(running: House) -> list[Received]:
    return [one for one in running.simulator.record.requests if one.path.startswith("/v1/messages")]


def _processes(running: House) -> list[str]:
    return [one.metadata["user_id"] for one in sent(running)]


async def converse(
    running: House, messages: list[object], *, key: str = CLIENT_KEY, stream: bool = False, **fields: object
) -> list[dict[str, object]]:
    """Ask over Messages with both tools, and give what is answered, which is put behind the messages."""
    request = {
        "model": MODEL,
        "max_tokens": 500,
        "messages": messages,
        "tools": _TOOLS,
        "stream": stream,
        **fields,
    }
    answer = await running.send(Spoken.MESSAGES, msgspec.json.encode(request), key=key)
    assert answer.status == 200, answer.body
    content = _streamed(answer.body) if stream else msgspec.json.decode(answer.body, type=_Message).content
    messages.append({"role": "assistant", "content": content})
    return content


def _streamed(body: bytes) -> list[dict[str, object]]:
    """The blocks of a streamed answer."""
    blocks: list[dict[str, object]] = []
    pieces: list[list[str]] = []
    for line in body.splitlines():
        if not line.startswith(b"data: "):
            continue
        event = msgspec.json.decode(line.removeprefix(b"data: "), type=dict[str, object])
        if event["type"] == "content_block_start":
            blocks.append(msgspec.convert(event["content_block"], dict[str, object]))
            pieces.append([])
        elif event["type"] == "content_block_delta":
            delta = msgspec.convert(event["delta"], dict[str, object])
            pieces[-1].append(str(delta.get("text", delta.get("partial_json"))))
    for block, said in zip(blocks, pieces, strict=True):
        if block["type"] == "tool_use":
            block["input"] = msgspec.json.decode("".join(said) or "{}")
        else:
            block["text"] = "".join(said)
    return blocks


def results(content: Sequence[Mapping[str, object]], *answers: object, **fields: object) -> dict[str, object]:
    """The client's message with a result for each call in `content`."""
    calls = [block for block in content if block["type"] == "tool_use"]
    return {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": call["id"], "content": answer, **fields}
            for call, answer in zip(calls, answers, strict=True)
        ],
    }


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_result_goes_to_the_run_that_waits_for_it(running: House, *, stream: bool) -> None:
    """Protects the speed of tool loops, and the client's names: one process throughout, one call a turn."""
    messages: list[object] = [{"role": "user", "content": f"Please look_up a heron. {stream}"}]
    said = await converse(running, messages, stream=stream)
    assert said[-1]["name"] == "look_up"
    messages.append(results(said, "a grey bird"))
    said = await converse(running, messages, stream=stream)
    assert "a grey bird" in str(said[-1]["text"])
    messages.append({"role": "user", "content": "Thank you."})
    await converse(running, messages, stream=stream)
    assert len(set(_processes(running))) == 1
    assert len(_asked(running)) == 3
    last = sent(running)[-1]
    assert last.tools == _TOOLS
    assert last.messages[1].content[-1]["name"] == "look_up"
    assert [message.role for message in last.messages] == ["user", "assistant"] * 2 + ["user"]


async def test_parallel_calls_get_what_the_client_answered_block_for_block(running: House) -> None:
    """Protects pictures, errors and words beside results, which no protocol between us and the program has to hold."""
    messages: list[object] = [{"role": "user", "content": "Please use both in parallel."}]
    said = await converse(running, messages)
    calls = [block for block in said if block["type"] == "tool_use"]
    assert [call["name"] for call in calls] == ["look_up", "mcp__client__call"]
    answer = results(said, [{"type": "image", "source": _PIXEL}], "it broke")
    found = msgspec.convert(answer["content"], list[dict[str, object]])
    found[1]["is_error"] = True
    found.append({"type": "text", "text": "Mind the heron."})
    messages.append({"role": "user", "content": found})
    await converse(running, messages)
    first, second = sent(running)
    assert first.metadata == second.metadata
    told = second.messages[-1].content
    assert [block["type"] for block in told] == ["tool_result", "tool_result", "text"]
    assert told[0]["content"] == [{"type": "image", "source": _PIXEL}]
    assert told[1]["is_error"] is True
    assert told[2] == {"type": "text", "text": "Mind the heron.", "cache_control": _MARK}
    assert [block["name"] for block in second.messages[1].content if block["type"] == "tool_use"] == [
        "look_up",
        "mcp__client__call",
    ]


async def test_calls_after_calls_stay_in_one_run(running: House) -> None:
    """Protects agents, which call tool after tool before they answer: a run that goes on can wait again."""
    calls = [
        calling(MODEL, "look_up", {"what": what}, f"toolu_{what}") for what in ("stork", "egret", "ibis")
    ]
    running.simulator.script("k1", [Step("slow_bytes", stream_body=one, bytes_per_s=10**6) for one in calls])
    messages: list[object] = [{"role": "user", "content": "What do birds eat?"}]
    for answer in ("frogs", "fish", "crabs"):
        said = await converse(running, messages)
        messages.append(results(said, answer))
    assert "crabs" in str(await converse(running, messages))
    assert len(set(_processes(running))) == 1
    told = [block["content"] for message in sent(running)[-1].messages[2::2] for block in message.content]
    assert told == [[{"type": "text", "text": text}] for text in ("frogs", "fish", "crabs")]


async def test_results_of_somebody_else_resume_no_run(running: House) -> None:
    """Protects a client's run from whoever has learned of its calls: their answer comes from their words."""
    messages: list[object] = [{"role": "user", "content": "Please look_up a crane."}]
    said = await converse(running, messages)
    messages.append(results(said, "a bird"))
    theirs = [*messages]
    assert "a bird" in str(await converse(running, theirs, key=_OTHER_KEY))
    assert "a bird" in str(await converse(running, messages))
    first, stranger, owner = _processes(running)
    assert owner == first
    assert stranger != first


async def test_results_that_do_not_fit_the_calls_are_refused(running: House) -> None:
    """Protects conversations from the results that the program makes up where the client has forgotten one."""
    messages: list[object] = [{"role": "user", "content": "Please use both in parallel, again."}]
    said = await converse(running, messages)
    calls = [block for block in said if block["type"] == "tool_use"]
    stranger = {"type": "tool_use", "id": "toolu_stranger"}
    for wrong, named in (
        (results(calls[:1], "one"), calls[1]),
        (results([*calls, stranger], *"abc"), stranger),
    ):
        request = {"model": MODEL, "max_tokens": 500, "messages": [*messages, wrong], "tools": _TOOLS}
        answer = await running.send(Spoken.MESSAGES, msgspec.json.encode(request))
        assert (answer.status, answer.error.error.type) == (400, "invalid_request_error")
        assert str(named["id"]) in answer.error.error.message
    assert len(_asked(running)) == 1


async def test_results_are_answered_from_the_history_after_a_restart(tmp_path: Path) -> None:
    """Protects clients from losing a tool loop with the process that began it."""
    messages: list[object] = [{"role": "user", "content": "Please look_up an egret."}]
    async with house(tmp_path, credentials=entries) as before:
        said = await converse(before, messages)
    await seconds_until_none(tmp_path, 5)
    messages.append(results(said, "a white bird"))
    async with house(tmp_path, credentials=entries) as after:
        assert "a white bird" in str(await converse(after, messages))
        (only,) = sent(after)
        assert [block["type"] for message in only.messages for block in message.content] == [
            "text",
            "text",
            "tool_use",
            "tool_result",
        ]
        assert only.messages[1].content[-1]["name"] == "look_up"
        messages.append({"role": "user", "content": "And look_up another one."})
        said = await converse(after, messages)
        messages.append(results(said, "a black bird"))
        assert "a black bird" in str(await converse(after, messages))
        assert len(set(_processes(after))) == 1


async def test_a_client_that_never_returns_gives_its_place_to_others(tmp_path: Path) -> None:
    """Protects everybody else: a run that waits holds a process only as long as nobody needs it."""
    settings = {"CLAUDE_CODE__CLAUDE__MAX_CONCURRENT_SESSIONS": "1"}
    async with house(tmp_path, settings, credentials=entries) as found:
        messages: list[object] = [{"role": "user", "content": "Please look_up an ibis."}]
        said = await converse(found, messages)
        await converse(found, [{"role": "user", "content": "Hello!"}], system="Another conversation.")
        messages.append(results(said, "a curved beak"))
        async with asyncio.timeout(20):
            assert "a curved beak" in str(await converse(found, messages))
        assert len(set(_processes(found))) == 3
