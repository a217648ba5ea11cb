"""Conversations of OpenAI clients find their beginning in the prompt cache, though nobody of them marks it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
import pytest
import pytest_asyncio

from tests.support.house import MODEL, House, Spoken, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = ("k1", "k2", "k3")
TURNS = 10
_WORDS = "the quick brown fox jumps over the lazy dog and runs away again. " * 100
_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cached_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Three keys, each of an organization with a cache of its own."""
    async with house(tmp_path_factory.mktemp("cache"), keys=KEYS) as running:
        yield running


@pytest.fixture
def running(cached_house: House) -> House:
    """The same with nothing cached."""
    cached_house.simulator.reset()
    return cached_house


class _Details(msgspec.Struct):
    cached_tokens: int
    cache_write_tokens: int


class _Usage(msgspec.Struct):
    prompt_tokens: int
    prompt_tokens_details: _Details


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _Call(msgspec.Struct):
    id: str
    function: _Function
    type: str = "function"


class _Said(msgspec.Struct, omit_defaults=True):
    role: str = ""
    content: str | None = None
    tool_calls: list[_Call] = msgspec.field(default_factory=list)


class _Choice(msgspec.Struct):
    message: _Said


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage


class _Chunk(msgspec.Struct):
    usage: _Usage | None = None


def _streamed_usage(body: bytes) -> _Usage:
    """The one usage a stream tells."""
    found = [
        chunk.usage
        for data in body.replace(b"data: [DONE]\n\n", b"").split(b"\n\n")
        if data
        and (chunk := msgspec.json.decode(data.removeprefix(b"data: "), type=_Chunk)).usage is not None
    ]
    assert len(found) == 1
    return found[0]


@dataclass(slots=True)
class _Talk:
    """One conversation.

    Attributes:
        name: tells it from the others.
        system: the instructions.
        history: what was said.
        usages: of each answer.
    """

    running: House
    name: str
    system: str
    stream: bool = False
    tools: bool = False
    history: list[dict[str, object]] = field(default_factory=list)
    usages: list[_Usage] = field(default_factory=list)

    async def turn(self, text: str) -> _Said:
        """Say something and take the answer into the history; results of tools follow by themselves."""
        self.history.append({"role": "user", "content": text})
        said = await self._ask()
        if said.tool_calls:
            result: dict[str, object] = {
                "role": "tool",
                "tool_call_id": said.tool_calls[0].id,
                "content": _WORDS[:800],
            }
            self.history.append(result)
            said = await self._ask()
        return said

    async def _ask(self) -> _Said:
        system = {"role": "system", "content": f"{self.name}. {self.system}"}
        fields: dict[str, object] = {"model": MODEL, "messages": [system, *self.history]}
        if self.tools:
            fields["tools"] = [_TOOL]
        if self.stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        answer = await self.running.send(Spoken.CHAT, msgspec.json.encode(fields))
        assert answer.status == 200, answer.body
        if self.stream:
            self.usages.append(_streamed_usage(answer.body))
            said = _Said("assistant", f"Answer {len(self.history)}.")
        else:
            completion = msgspec.json.decode(answer.body, type=_Completion)
            self.usages.append(completion.usage)
            said = completion.choices[0].message
        self.history.append(msgspec.convert(msgspec.to_builtins(said), dict[str, object]))
        return said

    def read_share(self) -> float:
        """Tokens read from the cache, as a part of all that a call of the same conversation had sent before.

        The first call is left out: as long as a conversation has not gone on, nothing is written.
        """
        read = sum(usage.prompt_tokens_details.cached_tokens for usage in self.usages)
        return read / sum(usage.prompt_tokens for usage in self.usages[1:-1])


def _marks(running: House) -> list[int]:
    return [one.body.count(b'"cache_control"') for one in running.simulator.record.requests]


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "streamed"])
async def test_ten_turns_read_nine_tenths_of_what_can_be_read(running: House, stream: bool) -> None:
    """Protects the nine tenths of the price that a cached prefix saves, over three organizations."""
    talk = _Talk(running, f"streamed {stream}", _WORDS, stream)
    for number in range(TURNS):
        await talk.turn(f"Question {number}. {_WORDS[:600]}")
    assert talk.read_share() >= 0.9
    assert talk.usages[0].prompt_tokens_details == _Details(0, 0)
    assert talk.usages[1].prompt_tokens_details.cache_write_tokens > 0
    assert _marks(running) == [0, *[3] * (TURNS - 1)]
    assert len(running.simulator.record.requests_per_key) == 1


async def test_a_tool_loop_reads_its_beginning_as_well(running: House) -> None:
    """Protects agents, whose conversations grow by results instead of questions."""
    talk = _Talk(running, "tools", _WORDS, tools=True)
    for number in range(TURNS // 2):
        await talk.turn(f"Please look, {number}. {_WORDS[:300]}")
    assert len(talk.usages) == TURNS
    assert talk.read_share() >= 0.9
    assert max(_marks(running)) <= 4


async def test_short_conversations_and_first_turns_carry_no_mark(running: House) -> None:
    """Protects small talk, and questions that stay the only one, from paying for a cache nobody reads."""
    talk = _Talk(running, "short", "Be brief.")
    for number in range(4):
        await talk.turn(f"Question {number}.")
    await _Talk(running, "long", _WORDS).turn("Only this.")
    assert _marks(running) == [0] * 5
    assert all(usage.prompt_tokens_details == _Details(0, 0) for usage in talk.usages)


async def test_a_client_that_marks_for_itself_keeps_its_marks_and_gets_no_others(running: House) -> None:
    """Protects the client's own plan for its cache."""
    mark = {"type": "ephemeral", "ttl": "1h"}
    system = {"role": "system", "content": [{"type": "text", "text": _WORDS, "cache_control": mark}]}
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    body = {"model": MODEL, "messages": [system, *history, {"role": "user", "content": "c"}]}
    usages = []
    for _ in range(2):
        answer = await running.send(Spoken.CHAT, msgspec.json.encode(body))
        usages.append(msgspec.json.decode(answer.body, type=_Completion).usage.prompt_tokens_details)
    assert _marks(running) == [1, 1]
    assert usages[0].cache_write_tokens == usages[1].cached_tokens > 0


async def test_an_operator_can_do_without_marks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Protects those who pay for no cache."""
    folder = tmp_path_factory.mktemp("off")
    async with house(folder, {"AUTO_CACHE": "false"}, keys=KEYS[:1]) as running:
        talk = _Talk(running, "off", _WORDS)
        for number in range(3):
            await talk.turn(f"Question {number}.")
        assert _marks(running) == [0, 0, 0]
