"""The official OpenAI SDK's Responses, sync and async, against the real server: what users write works unchanged."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from openai.types.responses import (
    ParsedResponse,
    Response,
    ResponseCustomToolCall,
    ResponseFunctionToolCall,
    ResponseReasoningItem,
)
from openai.types.responses.input_token_count_response import InputTokenCountResponse
from pydantic import BaseModel

from proxy.simulator import Step
from tests.support.gateway import CLIENT_KEY, gateway
from tests.support.house import configuration, simulated
from tests.support.sdk import ECHO, GREETING, MODEL, Judged, OpenAIUser, helped, iterated, judged, told

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOOLS: Final = [
    {
        "type": "function",
        "name": name,
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": False,
    }
    for name in ("weather", "clock")
]


class City(BaseModel):
    """What a structured answer is read as."""

    name: str
    inhabitants: int


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judged]:
    """A gateway in front of a simulated Claude."""
    async with judged(tmp_path_factory.mktemp("responses")) as running:
        yield running


@pytest.fixture(params=[True, False], ids=["sync", "async"])
def sync(request: pytest.FixtureRequest) -> bool:
    """Whether the sync client is used."""
    return bool(request.param)


@pytest.fixture
def user(judge: Judged, sync: bool) -> OpenAIUser:
    """A user whose pool is healthy."""
    return judge.openai(judge.pool(), sync=sync)


def _asked(fields: Mapping[str, object]) -> dict[str, object]:
    return {"model": MODEL, "input": GREETING, **fields}


async def create(user: OpenAIUser, **fields: object) -> Response:
    """A whole response."""
    return await told(user.client.responses.create, Response, **_asked(fields))


async def streamed(user: OpenAIUser, into: list[object], **fields: object) -> ParsedResponse[object]:
    """A streamed response through the SDK's helper, as the whole it makes of it."""
    method = user.client.responses.stream
    return await helped(method, ParsedResponse, into, "get_final_response", **_asked(fields))


def calls_of(response: Response) -> list[ResponseFunctionToolCall]:
    """The calls of functions in a response."""
    return [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]


async def test_a_whole_response_has_every_field_users_read(user: OpenAIUser) -> None:
    """Protects text, status, model and a usage whose parts add up."""
    response = await create(user, metadata={"a": "b"}, instructions="Be kind.")
    assert response.output_text.startswith('You said: "Hello, gateway!"')
    assert (response.object, response.status, response.model) == ("response", "completed", MODEL)
    assert (response.error, response.incomplete_details) == (None, None)
    assert (response.metadata, response.instructions) == ({"a": "b"}, "Be kind.")
    assert response.usage is not None
    assert response.usage.input_tokens > 0
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


async def test_a_stream_says_the_same_as_a_whole_response(user: OpenAIUser) -> None:
    """Protects the events as a plain loop sees them: typed, numbered, and with the whole at their end."""
    events: list[object] = []
    await iterated(user.client.responses.create, events, stream=True, **_asked({}))
    numbers = [getattr(event, "sequence_number", None) for event in events]
    assert numbers == list(range(len(events)))
    kinds = [getattr(event, "type", "") for event in events]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    deltas = [
        getattr(event, "delta", "") for event in events if "output_text.delta" in getattr(event, "type", "")
    ]
    assert "".join(deltas) == ECHO
    assert getattr(events[-1], "response").output_text == ECHO  # noqa: B009 - one of many types


async def test_the_stream_helper_builds_the_response_a_call_would_have_given(user: OpenAIUser) -> None:
    """Protects the SDK's own accumulator, which checks more of a stream than a plain loop does."""
    events: list[object] = []
    final = await streamed(user, events, tools=TOOLS, input="use both in parallel")
    assert [call.name for call in calls_of(final)] == ["weather", "clock"]
    whole = await create(user, tools=TOOLS, input="use both in parallel")
    assert [call.arguments for call in calls_of(final)] == [call.arguments for call in calls_of(whole)]
    assert len({call.call_id for call in calls_of(final)}) == 2


@pytest.mark.parametrize("how", ["whole", "streamed"])
@pytest.mark.parametrize("stored", [True, False], ids=["by id", "by items"])
async def test_a_function_loop_runs_from_call_to_answer(
    judge: Judged, user: OpenAIUser, how: str, stored: bool
) -> None:
    """Protects what agents do: all items back, or only the results after the response's id, and thinking with both."""
    question = {"role": "user", "content": "use both in parallel"}
    fields: dict[str, object] = {"tools": TOOLS, "reasoning": {"effort": "low", "summary": "auto"}}
    if not stored:
        fields |= {"store": False, "include": ["reasoning.encrypted_content"]}
    if how == "whole":
        first = await create(user, input=[question], **fields)
    else:
        first = await streamed(user, [], input=[question], **fields)
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"result of {call.name}"}
        for call in calls_of(first)
    ]
    if stored:
        last = await create(user, input=results, previous_response_id=first.id, **fields)
    else:
        items = [item.to_dict() for item in first.output]
        last = await create(user, input=[question, *items, *results], **fields)
    assert last.output_text.startswith('The tools returned: "result of weather", "result of clock"')
    messages = judge.body(user.pool)["messages"]
    assert isinstance(messages, list)
    assert messages[1]["content"][0]["type"] == "thinking"


async def test_a_text_tool_is_called_with_text(judge: Judged, user: OpenAIUser) -> None:
    """Protects custom tools: the SDK gets the text, not the JSON it came in."""
    response = await create(user, tools=[{"type": "custom", "name": "patch"}], input="use patch")
    (call,) = [item for item in response.output if isinstance(item, ResponseCustomToolCall)]
    assert call.name == "patch"
    assert not call.input.startswith("{")
    assert judge.calls(user.pool) == 1


async def test_reasoning_is_summed_up_when_asked(user: OpenAIUser) -> None:
    """Protects the reasoning item, and its seal for those who ask for it alone."""
    fields = {"reasoning": {"effort": "high", "summary": "auto"}}
    plain = await create(user, **fields)
    thought = plain.output[0]
    assert isinstance(thought, ResponseReasoningItem)
    assert thought.summary[0].text == "The user wrote 15 characters. I shall repeat them."
    assert thought.encrypted_content is None
    sealed = (await create(user, include=["reasoning.encrypted_content"], **fields)).output[0]
    assert isinstance(sealed, ResponseReasoningItem)
    assert sealed.encrypted_content


async def test_a_structured_answer_is_parsed(user: OpenAIUser) -> None:
    """Protects ``parse``, and the same through the stream helper."""
    whole = await told(user.client.responses.parse, ParsedResponse, text_format=City, **_asked({}))
    assert isinstance(whole.output_parsed, City)
    assert isinstance((await streamed(user, [], text_format=City)).output_parsed, City)


async def test_a_response_is_read_listed_counted_and_deleted(user: OpenAIUser) -> None:
    """Protects the SDK's calls about a stored response."""
    responses = user.client.responses
    made = await create(user)
    assert (await told(responses.retrieve, Response, response_id=made.id)).output_text == made.output_text
    items: list[object] = []
    await iterated(responses.input_items.list, items, response_id=made.id, limit=1)
    assert [getattr(item, "role", None) for item in items] == ["user"]
    asked = {"model": MODEL, "input": "More", "previous_response_id": made.id}
    counted = await told(responses.input_tokens.count, InputTokenCountResponse, **asked)
    assert counted.input_tokens > 0
    await told(responses.delete, object, response_id=made.id)
    with pytest.raises(openai.NotFoundError):
        await told(responses.retrieve, Response, response_id=made.id)
    with pytest.raises(openai.BadRequestError) as caught:
        await create(user, previous_response_id=made.id)
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


async def test_a_cut_answer_is_incomplete(user: OpenAIUser) -> None:
    """Protects users from taking a cut answer for a finished one."""
    response = await create(user, max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


async def test_a_stream_that_breaks_off_raises(judge: Judged, sync: bool) -> None:
    """Protects users from half an answer: the SDK raises with the message, in a loop and in its helper."""
    broken = judge.openai(judge.pool(then=Step("error_event_mid")), sync=sync)
    events: list[object] = []
    with pytest.raises(openai.APIError) as caught:
        await iterated(broken.client.responses.create, events, stream=True, **_asked({}))
    assert caught.value.message
    assert getattr(events[0], "type", "") == "response.created"
    with pytest.raises(openai.APIError):
        await streamed(broken, [])


@pytest.mark.parametrize(
    ("status", "raised"),
    [(529, openai.InternalServerError), (429, openai.RateLimitError), (400, openai.BadRequestError)],
)
async def test_errors_raise_the_documented_class(
    judge: Judged, sync: bool, status: int, raised: type[openai.APIStatusError]
) -> None:
    """Protects users who catch them."""
    user = judge.openai(judge.pool(then=Step("status", status=status)), sync=sync)
    with pytest.raises(raised):
        await create(user)


async def test_a_conversation_goes_on_over_a_restart(tmp_path: Path) -> None:
    """Protects users from an update of the server in the middle of what they say."""
    async with simulated() as claude:
        settings = configuration(tmp_path, claude, ("k1", "k2"), None)
        last = None
        for turn in ("One", "Two", "Three"):
            async with (
                gateway(tmp_path, settings) as server,
                AsyncOpenAI(api_key=CLIENT_KEY, base_url=f"{server.url}/v1", max_retries=0) as sdk,
            ):
                last = await sdk.responses.create(
                    model=MODEL, input=turn, previous_response_id=last.id if last is not None else None
                )
                await server.stop()
        assert last is not None
        assert last.output_text == 'You said: "Three" (5 messages)'
