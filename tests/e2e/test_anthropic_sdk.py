"""The official Anthropic SDK, sync and async, against the real server: what its users write has to work unchanged."""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Final

import anthropic
import msgspec
import pytest
import pytest_asyncio
from anthropic.types import (
    Message,
    MessageTokensCount,
    ModelInfo,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    SignatureDelta,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
)

from tests.support.sdk import (
    ECHO,
    MODEL,
    AnthropicUser,
    Judged,
    SmallPool,
    iterated,
    judged,
    saying,
    told,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUEST_ID_LENGTH: Final = len("req_") + 24
PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOLS: Final = [
    {
        "name": name,
        "description": "Looks something up.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    for name in ("weather", "clock")
]
THOUGHT: Final = "The user wrote 15 characters. I shall repeat them."


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judged]:
    """A gateway in front of a simulated Claude."""
    async with judged(tmp_path_factory.mktemp("anthropic")) as running:
        yield running


@pytest.fixture(params=[True, False], ids=["sync", "async"])
def sync(request: pytest.FixtureRequest) -> bool:
    """Whether the sync client is used."""
    return bool(request.param)


@pytest.fixture
def user(judge: Judged, sync: bool) -> AnthropicUser:
    """A user whose pool is healthy."""
    return judge.anthropic(judge.pool(), sync=sync)


def text_of(answer: Message) -> str:
    """The text of a whole answer."""
    return "".join(block.text for block in answer.content if isinstance(block, TextBlock))


def streamed_text(events: list[object]) -> str:
    """The text of a streamed answer."""
    deltas = [event.delta for event in events if isinstance(event, RawContentBlockDeltaEvent)]
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def calls_of(answer: Message) -> list[ToolUseBlock]:
    """The tool calls of an answer."""
    return [block for block in answer.content if isinstance(block, ToolUseBlock)]


async def test_a_whole_answer_has_every_field_users_read(user: AnthropicUser) -> None:
    """Protects text, role, stop reason, model and usage."""
    answer = await user.asks()
    assert text_of(answer) == ECHO
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", MODEL)
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert answer.id.startswith("msg_")
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


async def test_a_stream_says_the_same_as_a_whole_answer(user: AnthropicUser) -> None:
    """Protects the order of events, the text, and the usage at the end."""
    events: list[object] = []
    await user.streams(events)
    whole = await user.asks()
    kinds = [str(getattr(event, "type", "")) for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert streamed_text(events) == text_of(whole)
    assert isinstance(events[0], RawMessageStartEvent)
    assert isinstance(events[-2], RawMessageDeltaEvent)
    assert events[0].message.usage.input_tokens == whole.usage.input_tokens
    assert events[-2].usage.output_tokens == whole.usage.output_tokens
    assert events[-2].delta.stop_reason == "end_turn"


async def test_the_stream_helper_builds_the_message_a_call_would_have_given(user: AnthropicUser) -> None:
    """Protects the SDK's own accumulator, which most users read streams through."""
    events: list[object] = []
    final = await user.is_helped(events)
    whole = await user.asks()
    assert final.model_dump(exclude={"id"}) == whole.model_dump(exclude={"id"})
    assert [getattr(event, "type", None) for event in events].count("text") > 1


async def test_tools_are_called_in_parallel(user: AnthropicUser) -> None:
    """Protects several calls in one answer, each with an id of its own."""
    answer = await user.asks("use both in parallel", tools=TOOLS)
    calls = calls_of(answer)
    assert answer.stop_reason == "tool_use"
    assert [call.name for call in calls] == ["weather", "clock"]
    assert len({call.id for call in calls}) == 2
    assert [call.input for call in calls] == [{"city": "simulated"}] * 2


async def test_streamed_tool_calls_add_up(user: AnthropicUser) -> None:
    """Protects a block for each call, and arguments that join to JSON."""
    events: list[object] = []
    final = await user.is_helped(events, "use both in parallel", tools=TOOLS)
    starts = [
        event.content_block
        for event in events
        if isinstance(event, RawContentBlockStartEvent) and isinstance(event.content_block, ToolUseBlock)
    ]
    assert [start.name for start in starts] == ["weather", "clock"]
    assert [call.id for call in calls_of(final)] == [start.id for start in starts]
    assert [call.input for call in calls_of(final)] == [{"city": "simulated"}] * 2


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_tool_loop_runs_from_call_to_answer(user: AnthropicUser, streamed: bool) -> None:
    """Protects what agents do: the content goes back as it came, with the results behind it."""
    text = "use both in parallel"
    asked = await (user.is_helped([], text, tools=TOOLS) if streamed else user.asks(text, tools=TOOLS))
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"result of {call.name}"}
        for call in calls_of(asked)
    ]
    turns = [
        saying(text),
        {"role": "assistant", "content": asked.content},
        {"role": "user", "content": results},
    ]
    answer = await user.asks(tools=TOOLS, messages=turns)
    assert text_of(answer).startswith('The tools returned: "result of weather", "result of clock"')
    assert answer.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "auto"}, []),
        ({"type": "none"}, []),
        ({"type": "any"}, ["weather"]),
        ({"type": "tool", "name": "clock"}, ["clock"]),
    ],
    ids=["auto", "none", "any", "named"],
)
async def test_every_tool_choice_is_carried(
    judge: Judged, user: AnthropicUser, choice: dict[str, object], called: list[str]
) -> None:
    """Protects the four forms of ``tool_choice``, upstream and in what comes back."""
    answer = await user.asks(tools=TOOLS, tool_choice=choice)
    assert judge.body(user.pool)["tool_choice"] == choice
    assert [call.name for call in calls_of(answer)] == called


async def test_calls_come_one_at_a_time_when_parallel_ones_are_forbidden(user: AnthropicUser) -> None:
    """Protects ``disable_parallel_tool_use``."""
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    answer = await user.asks("use both in parallel", tools=TOOLS, tool_choice=choice)
    assert len(calls_of(answer)) == 1


async def test_an_image_arrives_byte_for_byte(user: AnthropicUser) -> None:
    """Protects images given in base64."""
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
    parts = [{"type": "image", "source": source}, {"type": "text", "text": "Look"}]
    answer = await user.asks(messages=[{"role": "user", "content": parts}])
    assert f"1 image: image/png 1x1 {len(PNG)} bytes" in text_of(answer)


async def test_a_stop_sequence_ends_the_answer_and_is_named(user: AnthropicUser) -> None:
    """Protects ``stop_sequences`` and both fields that tell of one."""
    answer = await user.asks("one STOP two", stop_sequences=["STOP"])
    assert text_of(answer) == 'You said: "one '
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "STOP")


async def test_a_spent_token_limit_says_so(user: AnthropicUser) -> None:
    """Protects telling a cut answer from a finished one, whole and streamed."""
    assert (await user.asks(max_tokens=2)).stop_reason == "max_tokens"
    assert (await user.is_helped([], max_tokens=2)).stop_reason == "max_tokens"


@pytest.mark.parametrize(
    "system", ["Be kind.", [{"type": "text", "text": "Be kind."}]], ids=["text", "blocks"]
)
async def test_a_system_prompt_goes_upstream_as_it_was_written(
    judge: Judged, user: AnthropicUser, system: object
) -> None:
    """Protects both forms of the field."""
    answer = await user.asks(system=system)
    assert judge.body(user.pool)["system"] == system
    assert "system 8 bytes" in text_of(answer)


async def test_a_conversation_keeps_its_turns(judge: Judged, user: AnthropicUser) -> None:
    """Protects earlier turns from any edit."""
    turns = [saying("One"), saying("Two", "assistant"), saying("Three")]
    answer = await user.asks(messages=turns)
    assert judge.body(user.pool)["messages"] == turns
    assert text_of(answer).startswith('You said: "Three" (3 messages')


async def test_thinking_comes_signed_before_the_answer_and_can_be_sent_back(user: AnthropicUser) -> None:
    """Protects thinking blocks, whole and streamed, and the turn after them."""
    thinking = {"type": "adaptive", "display": "summarized"}
    answer = await user.asks(thinking=thinking)
    first = answer.content[0]
    assert isinstance(first, ThinkingBlock)
    assert first.thinking == THOUGHT
    assert first.signature
    assert text_of(answer) == ECHO
    turns = [saying("Hello"), {"role": "assistant", "content": answer.content}, saying("More")]
    assert (await user.asks(messages=turns, thinking=thinking)).stop_reason == "end_turn"
    events: list[object] = []
    await user.streams(events, thinking=thinking)
    deltas = [event.delta for event in events if isinstance(event, RawContentBlockDeltaEvent)]
    assert "".join(delta.thinking for delta in deltas if isinstance(delta, ThinkingDelta)) == THOUGHT
    assert [delta.signature for delta in deltas if isinstance(delta, SignatureDelta)] == [first.signature]


async def test_a_think_suffix_asks_for_thinking(judge: Judged, user: AnthropicUser) -> None:
    """Protects clients that can choose nothing but the model's name."""
    answer = await user.asks(model=f"{MODEL}-think")
    assert isinstance(answer.content[0], ThinkingBlock)
    assert judge.body(user.pool)["model"] == MODEL


async def test_tokens_are_counted_without_asking_for_an_answer(judge: Judged, user: AnthropicUser) -> None:
    """Protects ``count_tokens``, which has to agree with what an answer then costs."""
    counted = await told(
        user.client.messages.count_tokens,
        MessageTokensCount,
        model=MODEL,
        messages=[saying("Hello, gateway!")],
    )
    assert counted.input_tokens == (await user.asks()).usage.input_tokens
    paths = [one.path for one in judge.simulator.record.requests if one.key in user.pool.keys]
    assert paths == ["/v1/messages/count_tokens", "/v1/messages"]


async def test_models_are_listed_page_by_page_and_found(user: AnthropicUser) -> None:
    """Protects model pickers: the SDK follows every page; an alias is found under its target's name."""
    models: list[object] = []
    await iterated(user.client.models.list, models, limit=5)
    ids = [model.id for model in models if isinstance(model, ModelInfo)]
    assert MODEL in ids
    assert len(ids) == len(set(ids)) > 5
    assert (await told(user.client.models.retrieve, ModelInfo, model_id=MODEL)).id == MODEL
    assert (await told(user.client.models.retrieve, ModelInfo, model_id="sonnet")).id == "claude-sonnet-5-5"


async def raw(user: AnthropicUser, **fields: object) -> tuple[Mapping[str, str], bytes]:
    """An answer's headers, and the answer as it came."""
    asked = {"model": MODEL, "max_tokens": 1000, "messages": [saying("Hello")], **fields}
    answer = await told(user.client.messages.with_raw_response.create, object, **asked)
    response = (
        answer.http_response
        if isinstance(answer, anthropic.APIResponse | anthropic.AsyncAPIResponse)
        else None
    )
    assert response is not None
    return response.headers, response.content


async def test_headers_say_who_answered(user: AnthropicUser) -> None:
    """Protects the request id under both names, and our own headers."""
    headers, _ = await raw(user)
    assert headers["request-id"] == headers["x-request-id"]
    assert headers["request-id"].startswith("req_")
    assert len(headers["request-id"]) == REQUEST_ID_LENGTH
    assert headers["x-carousel-credential"] in user.pool.names
    assert headers["x-carousel-attempts"] == "1"
    assert "x-carousel-model" not in headers
    assert ((await user.asks())._request_id or "").startswith("req_")


async def test_a_retired_name_is_answered_by_its_successor(judge: Judged, user: AnthropicUser) -> None:
    """Protects old configurations, and that the client is told which model it got."""
    headers, body = await raw(user, model="claude-3-5-sonnet-20241022")
    assert headers["x-carousel-model"] == "claude-sonnet-5-5"
    assert judge.body(user.pool)["model"] == "claude-sonnet-5-5"
    assert msgspec.json.decode(body)["type"] == "message"


async def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(
    judge: Judged, user: AnthropicUser
) -> None:
    """Protects the first mistake everybody makes from being a riddle."""
    with pytest.raises(anthropic.NotFoundError) as caught:
        await user.asks(model="gpt-17")
    assert caught.value.type == "not_found_error"
    assert "claude-sonnet-5-5" in (caught.value.api_message or "")
    assert judge.calls(user.pool) == 0


async def test_the_address_below_hf_serves_the_same(judge: Judged, sync: bool) -> None:
    """Protects clients that were set up for a Hugging Face Space."""
    assert text_of(await judge.anthropic(judge.pool(), sync=sync, prefix="/hf").asks()) == ECHO


async def test_a_wrong_key_is_an_authentication_error(judge: Judged, sync: bool) -> None:
    """Protects the one error that means: look at your key."""
    stranger = SmallPool("canary-no-such-client-key-0123456789", ("", ""), ("", ""))
    with pytest.raises(anthropic.AuthenticationError) as caught:
        await judge.anthropic(stranger, sync=sync).asks()
    assert caught.value.type == "authentication_error"
    assert stranger.client_key not in str(caught.value)
