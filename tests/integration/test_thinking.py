"""Thinking blocks over several turns and several credentials: kept, put back, and never edited where they are."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Received, Simulator, Step
from tests.support.gateway import CLIENT_KEY
from tests.support.house import Answer, House, Spoken, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = ("k1", "k2", "k3")
ADAPTIVE, WITH_BUDGET = "claude-sonnet-5-5", "claude-haiku-4-5-20251001"
OTHER_KEY = "canary-another-client-key-0123456789abcdef"
_PATIENT = {
    "API_KEY": f"{CLIENT_KEY},{OTHER_KEY}",
    "RETRY_COUNT": "5",
    "POOL_SAME_FAULT_ATTEMPTS": "5",
    "POOL_BACKOFF_BASE_S": "0",
    "POOL_BUDGET_MAX": "1000",
    "POOL_STRIKES": "1000",
    "POOL_STRIKE_WINDOW_CALLS": "1000",
}
_FAULT = Step("status", status=500)
_KEYS_OF = {f"api-{number}": key for number, key in enumerate(KEYS, 1)}
_TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def strict_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Three keys in front of a Claude that knows every conversation by heart."""
    folder = tmp_path_factory.mktemp("thinking")
    async with house(folder, _PATIENT, keys=KEYS, simulator=Simulator(strict_thinking=True)) as running:
        yield running


@pytest.fixture
def running(strict_house: House) -> House:
    """The same without a memory of what was asked."""
    strict_house.simulator.reset()
    return strict_house


class _Function(msgspec.Struct):
    name: str = ""
    arguments: str = ""


class _Call(msgspec.Struct):
    id: str = ""
    function: _Function = msgspec.field(default_factory=_Function)
    type: str = "function"
    index: int | None = None


class _Said(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] = msgspec.field(default_factory=list)
    reasoning_content: str | None = None
    reasoning_details: list[dict[str, object]] = msgspec.field(default_factory=list)


class _Choice(msgspec.Struct):
    message: _Said = msgspec.field(default_factory=_Said)
    delta: _Said = msgspec.field(default_factory=_Said)


class _Completion(msgspec.Struct):
    choices: list[_Choice]


def _whole(body: bytes) -> _Said:
    return msgspec.json.decode(body, type=_Completion).choices[0].message


def _streamed(body: bytes) -> _Said:
    """What a client makes of the deltas of a stream."""
    said = _Said("", reasoning_content="")
    for frame in body.split(b"\n\n"):
        data = frame.removeprefix(b"data: ")
        if not data or data == b"[DONE]":
            continue
        for choice in msgspec.json.decode(data, type=_Completion).choices:
            delta = choice.delta
            said.content = (said.content or "") + (delta.content or "")
            said.reasoning_content = (said.reasoning_content or "") + (delta.reasoning_content or "")
            said.reasoning_details += delta.reasoning_details
            for call in delta.tool_calls:
                if call.id:
                    said.tool_calls.append(_Call(call.id, _Function(call.function.name)))
                else:
                    said.tool_calls[call.index or 0].function.arguments += call.function.arguments
    assert body.endswith(b"data: [DONE]\n\n")
    return said


@dataclass(slots=True)
class _Talk:
    """An OpenAI client's conversation in which the model thinks and calls a tool.

    Attributes:
        model: who is asked.
        stream: whether answers are streamed.
        keeps_details: whether the client sends ``reasoning_details`` back.
        history: all messages so far.
        answers: all answers so far.
    """

    running: House
    model: str
    stream: bool
    keeps_details: bool = False
    history: list[dict[str, object]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    async def ask(self, *, key: str = CLIENT_KEY) -> _Said:
        """Send the history, and take the answer into it as this client would."""
        fields = {"model": self.model, "messages": self.history, "tools": [_TOOL], "reasoning_effort": "low"}
        body = msgspec.json.encode(fields | ({"stream": True} if self.stream else {}))
        answer = await self.running.send(Spoken.CHAT, body, key=key)
        assert answer.status == 200, answer.body
        said = (_streamed if self.stream else _whole)(answer.body)
        spoken: dict[str, object] = {"role": "assistant", "content": said.content}
        if said.tool_calls:
            calls = msgspec.convert(msgspec.to_builtins(said.tool_calls), list[dict[str, object]])
            spoken["tool_calls"] = [{**call, "index": 0} for call in calls]
        if self.keeps_details:
            spoken["reasoning_details"] = said.reasoning_details
        self.history.append(spoken)
        self.answers.append(answer)
        return said

    async def look(self, text: str) -> _Said:
        """A question that makes the model call its tool, and the tool's result for the next one."""
        self.history.append({"role": "user", "content": f"Please look: {text}"})
        said = await self.ask()
        assert [call.function.name for call in said.tool_calls] == ["look"]
        self.history.append({"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "nothing"})
        return said

    @property
    def home(self) -> str:
        """The key that gave the last answer."""
        return _KEYS_OF[self.answers[-1].headers["x-carousel-credential"]]


def _sent_thinking(received: Received) -> list[tuple[str, str]]:
    """Text and signature of every thinking block an upstream call carried, each at the begin of its turn."""
    found = []
    for turn in msgspec.json.decode(received.body)["messages"]:
        blocks = turn["content"]
        for place, block in enumerate(blocks):
            if block["type"] == "thinking":
                assert place == 0
                found.append((block["thinking"], block["signature"]))
    return found


def _proofs(said: _Said) -> list[tuple[object, object]]:
    return [(detail["text"], detail["signature"]) for detail in said.reasoning_details]


@pytest.mark.parametrize("model", [ADAPTIVE, WITH_BUDGET])
@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
@pytest.mark.parametrize("keeps_details", [False, True], ids=["forgetful", "careful"])
async def test_a_tool_loop_thinks_on_while_it_goes_round_all_keys(
    running: House, model: str, stream: bool, keeps_details: bool
) -> None:
    """Protects thinking with tools, whether the client keeps it or not, on whichever credential the next turn falls."""
    talk = _Talk(running, model, stream, keeps_details)
    thoughts: list[tuple[object, object]] = []
    for round_, only in enumerate(KEYS):
        thoughts += _proofs(await talk.look(f"{model} {stream} {keeps_details} {round_}"))
        for key in KEYS:
            running.simulator.script(key, then=None if key == only else _FAULT)
        last = await talk.ask()
        for key in KEYS:
            running.simulator.script(key)
        assert talk.home == only
        assert (last.content or "").startswith("The tools returned")
        received = running.simulator.record.requests[-1]
        assert msgspec.json.decode(received.body)["thinking"]["type"] in {"adaptive", "enabled"}
        assert _sent_thinking(received) == thoughts
        if keeps_details:
            thoughts += _proofs(last)
    assert {one.status for one in running.simulator.record.requests} == {200, 500}
    assert len(thoughts) == (6 if keeps_details else 3)


async def test_a_client_that_keeps_its_details_needs_no_memory_of_ours(running: House) -> None:
    """Protects careful clients from a restart: another client key's memory has nothing of this conversation."""
    talk = _Talk(running, ADAPTIVE, stream=True, keeps_details=True)
    first = await talk.look("careful")
    await talk.ask(key=OTHER_KEY)
    assert _sent_thinking(running.simulator.record.requests[-1]) == _proofs(first)
    forgetful = _Talk(running, ADAPTIVE, stream=False)
    await forgetful.look("forgetful")
    await forgetful.ask(key=OTHER_KEY)
    assert _sent_thinking(running.simulator.record.requests[-1]) == []


@pytest.mark.parametrize("model", [ADAPTIVE, WITH_BUDGET])
@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
@pytest.mark.parametrize("keeps_details", [False, True], ids=["forgetful", "careful"])
async def test_thinking_a_changed_conversation_makes_unreadable_is_left_out_once(
    running: House, model: str, stream: bool, keeps_details: bool
) -> None:
    """Protects clients that edit their history: one more call at the same key, and nobody is blamed."""
    talk = _Talk(running, model, stream, keeps_details)
    await talk.look(f"{model} {stream} {keeps_details}")
    before = await running.credentials()
    talk.history[0]["content"] = f"Please look at something else: {model} {stream} {keeps_details}"
    await talk.ask()
    refused, answered = running.simulator.record.requests[-2:]
    assert (refused.status, answered.status) == (400, 200)
    assert refused.key == answered.key
    assert _sent_thinking(refused)
    assert not _sent_thinking(answered)
    headers = talk.answers[-1].headers
    assert headers["x-carousel-attempts"] == "2"
    assert ("reasoning_details" in headers.get("x-carousel-dropped", "")) is keeps_details
    after = await running.idle()
    assert [view.failed for view in after.values()] == [view.failed for view in before.values()]
    if not keeps_details:
        talk.history.append({"role": "user", "content": "More"})
        await talk.ask()
        assert running.simulator.record.requests[-2:] == [answered, running.simulator.record.requests[-1]]


def _messages_body(history: list[dict[str, object]], *, stream: bool) -> bytes:
    """A Messages client's request, with spaces and an order of its own."""
    tool = {"name": "look", "input_schema": {"type": "object"}}
    thinking = {"type": "adaptive", "display": "summarized"}
    parts = {"messages": history, "thinking": thinking, "tools": [tool]}
    fields = b",\n ".join(b'"%b" : %b' % (name.encode(), msgspec.json.encode(parts[name])) for name in parts)
    return b'{ %b , "max_tokens":1000, "model":"%b","stream":%b }' % (
        fields,
        ADAPTIVE.encode(),
        b"true" if stream else b"false",
    )


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
async def test_a_messages_clients_thinking_passes_every_key_byte_for_byte(
    running: House, stream: bool
) -> None:
    """Protects what signatures are bound to: between credentials nothing is edited, whoever answers in the end."""
    history: list[dict[str, object]] = [{"role": "user", "content": f"Please look, {stream}"}]
    first = await running.send(Spoken.MESSAGES, _messages_body(history, stream=False))
    content = msgspec.json.decode(first.body)["content"]
    assert [block["type"] for block in content] == ["thinking", "text", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": content[-1]["id"], "content": "nothing"}
    history += [{"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    body = _messages_body(history, stream=stream)
    running.simulator.record.clear()
    for key in KEYS:
        running.simulator.script(key, [_FAULT])
    answer = await running.send(Spoken.MESSAGES, body)
    assert answer.status == 200
    received = running.simulator.record.requests
    assert {one.key for one in received} == set(KEYS)
    assert {one.body for one in received} == {body}
    assert "x-carousel-dropped" not in answer.headers


async def test_a_messages_clients_refused_thinking_is_the_clients_to_mend(running: House) -> None:
    """Protects its history from any change of ours: the API's own words go to the client."""
    history: list[dict[str, object]] = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "?", "signature": "EqQB"}]},
        {"role": "user", "content": "More"},
    ]
    answer = await running.send(Spoken.MESSAGES, _messages_body(history, stream=False))
    assert answer.status == 400
    assert answer.error.error.message.startswith(
        "messages.1.content.0: Invalid `signature` in `thinking` block"
    )
    assert len(running.simulator.record.requests) == 1
