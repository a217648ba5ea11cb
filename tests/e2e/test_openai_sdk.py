"""The official OpenAI SDK, sync and async, against the real server: what its users write has to work unchanged."""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec
import openai
import pytest
import pytest_asyncio
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageFunctionToolCall
from openai.types.chat.chat_completion_chunk import ChoiceDelta

from tests.support.sdk import ECHO, MODEL, Judged, OpenAIUser, SmallPool, iterated, judged, saying, told

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUEST_ID_LENGTH: Final = len("req_") + 24
PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Looks something up.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    for name in ("weather", "clock")
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judged]:
    """A gateway in front of a simulated Claude."""
    async with judged(tmp_path_factory.mktemp("openai")) as running:
        yield running


@pytest.fixture(params=[True, False], ids=["sync", "async"])
def sync(request: pytest.FixtureRequest) -> bool:
    """Whether the sync client is used."""
    return bool(request.param)


@pytest.fixture
def user(judge: Judged, sync: bool) -> OpenAIUser:
    """A user whose pool is healthy."""
    return judge.openai(judge.pool(), sync=sync)


def deltas(chunks: list[object]) -> list[ChoiceDelta]:
    """What each chunk with a choice added."""
    return [choice.delta for chunk in chunks for choice in typed(chunk).choices]


def typed(chunk: object) -> ChatCompletionChunk:
    """A chunk as what it is."""
    assert isinstance(chunk, ChatCompletionChunk)
    return chunk


def text_of(chunks: list[object]) -> str:
    """The text of a streamed answer so far."""
    return "".join(delta.content or "" for delta in deltas(chunks))


def finishes(chunks: list[object]) -> list[str]:
    """The finish reasons a streamed answer gave."""
    return [
        choice.finish_reason
        for chunk in chunks
        for choice in typed(chunk).choices
        if choice.finish_reason is not None
    ]


def calls_of(answer: ChatCompletion) -> list[ChatCompletionMessageFunctionToolCall]:
    """The tool calls of an answer."""
    calls = answer.choices[0].message.tool_calls or []
    return [call for call in calls if isinstance(call, ChatCompletionMessageFunctionToolCall)]


async def test_a_whole_answer_has_every_field_users_read(user: OpenAIUser) -> None:
    """Protects text, role, finish reason, model and a usage whose parts add up."""
    answer = await user.asks()
    choice = answer.choices[0]
    assert choice.message.content == ECHO
    assert (choice.message.role, choice.finish_reason, choice.index) == ("assistant", "stop", 0)
    assert (answer.object, answer.model) == ("chat.completion", MODEL)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_a_stream_says_the_same_as_a_whole_answer(user: OpenAIUser) -> None:
    """Protects the chunks: one id, the role once and first, one finish reason and last, no usage unasked."""
    chunks: list[object] = []
    await user.streams(chunks)
    whole = await user.asks()
    assert text_of(chunks) == whole.choices[0].message.content
    assert len({typed(chunk).id for chunk in chunks}) == 1
    assert [delta.role for delta in deltas(chunks)] == ["assistant"] + [None] * (len(chunks) - 1)
    assert finishes(chunks) == ["stop"]
    assert typed(chunks[-1]).choices[0].finish_reason == "stop"
    assert all(typed(chunk).usage is None for chunk in chunks)


async def test_usage_comes_in_a_last_chunk_of_its_own_when_asked_for(user: OpenAIUser) -> None:
    """Protects ``include_usage``, which billing code of clients counts on."""
    chunks: list[object] = []
    await user.streams(chunks, stream_options={"include_usage": True})
    last = typed(chunks[-1])
    assert last.choices == []
    assert last.usage == (await user.asks()).usage
    assert all(typed(chunk).usage is None for chunk in chunks[:-1])


async def test_the_stream_helper_builds_the_answer_a_call_would_have_given(user: OpenAIUser) -> None:
    """Protects the SDK's own accumulator, which checks more of a stream than a plain loop does."""
    events: list[object] = []
    final = await user.is_helped(events)
    whole = await user.asks()
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"
    kinds = [getattr(event, "type", None) for event in events]
    assert kinds.count("content.done") == 1
    assert kinds.count("content.delta") > 1


async def test_tools_are_called_in_parallel(user: OpenAIUser) -> None:
    """Protects several calls in one answer, each with an id of its own and arguments that parse."""
    answer = await user.asks("use both in parallel", tools=TOOLS)
    calls = calls_of(answer)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [call.function.name for call in calls] == ["weather", "clock"]
    assert len({call.id for call in calls}) == 2
    assert [msgspec.json.decode(call.function.arguments) for call in calls] == [{"city": "simulated"}] * 2


async def test_streamed_tool_calls_add_up(user: OpenAIUser) -> None:
    """Protects indexes without gaps, ids and names given once, and arguments that join to JSON."""
    chunks: list[object] = []
    await user.streams(chunks, "use both in parallel", tools=TOOLS)
    parts = [part for delta in deltas(chunks) for part in delta.tool_calls or []]
    assert sorted({part.index for part in parts}) == [0, 1]
    for index, name in enumerate(("weather", "clock")):
        mine = [part for part in parts if part.index == index]
        functions = [part.function for part in mine if part.function is not None]
        assert [function.name for function in functions if function.name] == [name]
        assert sum(part.id is not None for part in mine) == 1
        joined = "".join(function.arguments or "" for function in functions)
        assert msgspec.json.decode(joined) == {"city": "simulated"}
    assert finishes(chunks) == ["tool_calls"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_tool_loop_runs_from_call_to_answer(user: OpenAIUser, streamed: bool) -> None:
    """Protects what agents do: the answer's message goes back as it came, with the results behind it."""
    text = "use both in parallel"
    asked = await (user.is_helped([], text, tools=TOOLS) if streamed else user.asks(text, tools=TOOLS))
    message = asked.choices[0].message.model_dump(exclude_none=True, exclude={"parsed"})
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"result of {call.function.name}"}
        for call in calls_of(asked)
    ]
    answer = await user.asks(tools=TOOLS, messages=[saying(text), message, *results])
    said = answer.choices[0].message.content or ""
    assert said.startswith('The tools returned: "result of weather", "result of clock"')
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("choice", "upstream", "called"),
    [
        ("auto", {"type": "auto"}, []),
        ("none", {"type": "none"}, []),
        ("required", {"type": "any"}, ["weather"]),
        ({"type": "function", "function": {"name": "clock"}}, {"type": "tool", "name": "clock"}, ["clock"]),
    ],
    ids=["auto", "none", "required", "named"],
)
async def test_every_tool_choice_is_carried(
    judge: Judged, user: OpenAIUser, choice: object, upstream: dict[str, object], called: list[str]
) -> None:
    """Protects the four forms of ``tool_choice``, upstream and in what comes back."""
    answer = await user.asks(tools=TOOLS, tool_choice=choice)
    assert judge.body(user.pool)["tool_choice"] == upstream
    assert [call.function.name for call in calls_of(answer)] == called


async def test_calls_come_one_at_a_time_when_parallel_ones_are_forbidden(user: OpenAIUser) -> None:
    """Protects ``parallel_tool_calls=False``."""
    answer = await user.asks("use both in parallel", tools=TOOLS, parallel_tool_calls=False)
    assert len(calls_of(answer)) == 1


async def test_an_image_arrives_byte_for_byte(user: OpenAIUser) -> None:
    """Protects images given as a data URL."""
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = await user.asks(messages=[{"role": "user", "content": parts}])
    said = answer.choices[0].message.content or ""
    assert "1 image: image/png" in said
    assert f"{len(PNG)} bytes" in said


async def test_a_stop_sequence_ends_the_answer(user: OpenAIUser) -> None:
    """Protects ``stop`` and its finish reason."""
    answer = await user.asks("one STOP two", stop=["STOP"])
    assert answer.choices[0].message.content == 'You said: "one '
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_spent_token_limit_says_length(user: OpenAIUser, field: str) -> None:
    """Protects both names of the limit, and that a cut answer is told from a finished one."""
    answer = await user.asks(**{field: 2})
    chunks: list[object] = []
    await user.streams(chunks, **{field: 2})
    assert answer.choices[0].finish_reason == "length"
    assert finishes(chunks) == ["length"]


async def test_system_and_developer_messages_are_instructions(judge: Judged, user: OpenAIUser) -> None:
    """Protects both roles: each a block of its own, none of them a turn."""
    await user.asks(messages=[saying("Be kind.", "system"), saying("Be brief.", "developer"), saying("Hi")])
    system = judge.body(user.pool)["system"]
    assert isinstance(system, list)
    assert [block["text"] for block in system] == ["Be kind.", "Be brief."]
    assert len(msgspec.convert(judge.body(user.pool)["messages"], list[object])) == 1


async def test_a_conversation_keeps_its_turns(judge: Judged, user: OpenAIUser) -> None:
    """Protects the order and the speakers of earlier turns."""
    turns = [saying("One"), saying("Two", "assistant"), saying("Three")]
    answer = await user.asks(messages=turns)
    sent = msgspec.convert(judge.body(user.pool)["messages"], list[dict[str, object]])
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert (answer.choices[0].message.content or "").startswith('You said: "Three" (3 messages')


async def test_thinking_is_told_apart_from_the_answer(user: OpenAIUser) -> None:
    """Protects ``reasoning_content``, whole and streamed, and the answer beside it."""
    answer = await user.asks(reasoning_effort="high")
    message = answer.choices[0].message
    thought = (message.model_extra or {})["reasoning_content"]
    assert thought == "The user wrote 15 characters. I shall repeat them."
    assert message.content == ECHO
    chunks: list[object] = []
    await user.streams(chunks, reasoning_effort="high")
    parts = [(delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas(chunks)]
    assert "".join(parts) == thought
    assert text_of(chunks) == message.content


async def test_a_think_suffix_asks_for_thinking_in_the_text(judge: Judged, user: OpenAIUser) -> None:
    """Protects clients that can choose nothing but the model's name."""
    answer = await user.asks(model=f"{MODEL}-think")
    assert judge.body(user.pool)["model"] == MODEL
    assert (answer.choices[0].message.content or "").startswith("<think>")
    assert "</think>" in (answer.choices[0].message.content or "")


async def test_models_are_listed_and_found(user: OpenAIUser) -> None:
    """Protects model pickers; an alias is found under its target's name."""
    models: list[object] = []
    await iterated(user.client.models.list, models)
    ids = [model.id for model in models if isinstance(model, Model)]
    assert MODEL in ids
    assert (await told(user.client.models.retrieve, Model, model=MODEL)).id == MODEL
    assert (await told(user.client.models.retrieve, Model, model="sonnet")).id == "claude-sonnet-5-5"


async def raw(user: OpenAIUser, **fields: object) -> tuple[Mapping[str, str], ChatCompletion]:
    """An answer's headers, and the answer."""
    asked = {"model": MODEL, "messages": [saying("Hello")], **fields}
    answer = await told(user.client.chat.completions.with_raw_response.create, object, **asked)
    headers, parse = getattr(answer, "headers"), getattr(answer, "parse")  # noqa: B009 - sync and async differ
    parsed = parse()
    assert isinstance(parsed, ChatCompletion)
    return headers, parsed


async def test_headers_say_who_answered(user: OpenAIUser) -> None:
    """Protects the request id that support asks for, and our own headers."""
    headers, answer = await raw(user, temperature=0.2)
    assert headers["x-request-id"].startswith("req_")
    assert len(headers["x-request-id"]) == REQUEST_ID_LENGTH
    assert headers["x-carousel-credential"] in user.pool.names
    assert headers["x-carousel-attempts"] == "1"
    assert headers["x-carousel-dropped"] == "temperature"
    assert "x-carousel-model" not in headers
    assert answer._request_id == headers["x-request-id"]


async def test_a_retired_name_is_answered_by_its_successor(judge: Judged, user: OpenAIUser) -> None:
    """Protects old configurations, and that the client is told which model it got."""
    headers, answer = await raw(user, model="claude-3-5-sonnet-20241022")
    assert headers["x-carousel-model"] == "claude-sonnet-5-5"
    assert judge.body(user.pool)["model"] == "claude-sonnet-5-5"
    assert answer.choices[0].message.content


async def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(
    judge: Judged, user: OpenAIUser
) -> None:
    """Protects the first mistake everybody makes from being a riddle."""
    with pytest.raises(openai.NotFoundError) as caught:
        await user.asks(model="gpt-17")
    assert caught.value.code == "model_not_found"
    assert "claude-sonnet-5-5" in caught.value.message
    assert judge.calls(user.pool) == 0


async def test_the_address_below_hf_serves_the_same(judge: Judged, sync: bool) -> None:
    """Protects clients that were set up for a Hugging Face Space."""
    answer = await judge.openai(judge.pool(), sync=sync, prefix="/hf").asks()
    assert answer.choices[0].message.content == ECHO


async def test_a_wrong_key_is_an_authentication_error(judge: Judged, sync: bool) -> None:
    """Protects the one error that means: look at your key."""
    stranger = SmallPool("canary-no-such-client-key-0123456789", ("", ""), ("", ""))
    with pytest.raises(openai.AuthenticationError) as caught:
        await judge.openai(stranger, sync=sync).asks()
    assert caught.value.code == "invalid_api_key"
    assert stranger.client_key not in str(caught.value)
