"""The official OpenAI SDK and the forms it knows: parsed answers, functions, plain-text tools, prompts, deployments."""

from collections.abc import AsyncIterator

import openai
import pydantic
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionMessageCustomToolCall, ChatCompletionUserMessageParam
from openai.types.chat.completion_create_params import Function

from tests.support.gateway import CLIENT_KEY
from tests.support.house import House, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "claude-opus-5"


class Inner(pydantic.BaseModel):
    """A part of an answer."""

    name: str = pydantic.Field(min_length=2)


class Thing(pydantic.BaseModel):
    """An answer a program reads."""

    title: str
    count: int = pydantic.Field(ge=1, le=5)
    inner: Inner
    more: list[Inner]
    note: str | None


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway in front of a simulated Claude."""
    async with house(tmp_path_factory.mktemp("openai-forms"), keys=("k1",)) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def client(running: House) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK's client."""
    async with openai.AsyncOpenAI(
        api_key=CLIENT_KEY, base_url=f"{running.server.url}/v1", max_retries=0
    ) as found:
        yield found


async def test_an_answer_is_parsed_into_a_model(client: openai.AsyncOpenAI) -> None:
    """``parse`` sends a strict schema with bounds, and reads the answer into the class."""
    answer = await client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": "Hi"}], response_format=Thing
    )
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Thing)
    assert parsed.inner.name == "simulated"


async def test_a_streamed_answer_is_parsed_into_a_model(client: openai.AsyncOpenAI) -> None:
    """The same while it comes."""
    async with client.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": "Hi"}], response_format=Thing
    ) as stream:
        answer = await stream.get_final_completion()
    assert isinstance(answer.choices[0].message.parsed, Thing)


async def test_a_strict_tools_arguments_are_parsed(client: openai.AsyncOpenAI) -> None:
    """With the tool the SDK makes of a class."""
    answer = await client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Use Thing"}],
        tools=[openai.pydantic_function_tool(Thing)],
    )
    call = (answer.choices[0].message.tool_calls or [])[0]
    assert isinstance(call.function.parsed_arguments, Thing)


async def test_functions_of_the_old_style(client: openai.AsyncOpenAI) -> None:
    """Asked for, answered, and their result taken back."""
    functions: list[Function] = [{"name": "look", "parameters": {"type": "object", "properties": {}}}]
    question: ChatCompletionUserMessageParam = {"role": "user", "content": "look"}
    answer = await client.chat.completions.create(
        model=MODEL, messages=[question], functions=functions, function_call={"name": "look"}
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "function_call"
    called = choice.message.function_call
    assert called is not None
    assert called.name == "look"
    after = await client.chat.completions.create(
        model=MODEL,
        messages=[
            question,
            {"role": "assistant", "function_call": {"name": called.name, "arguments": called.arguments}},
            {"role": "function", "name": "look", "content": "green"},
        ],
        functions=functions,
    )
    assert "green" in (after.choices[0].message.content or "")


async def test_functions_of_the_old_style_streamed(client: openai.AsyncOpenAI) -> None:
    """In pieces of ``function_call``."""
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "look"}],
        functions=[{"name": "look", "parameters": {"type": "object", "properties": {}}}],
        function_call={"name": "look"},
        stream=True,
    )
    chunks = [chunk async for chunk in stream]
    calls = [chunk.choices[0].delta.function_call for chunk in chunks if chunk.choices[0].delta.function_call]
    assert [call.name for call in calls if call.name] == ["look"]
    assert "".join(call.arguments or "" for call in calls) == "{}"
    assert chunks[-1].choices[0].finish_reason == "function_call"


async def test_a_tool_that_takes_plain_text(client: openai.AsyncOpenAI) -> None:
    """Its call holds the text itself."""
    answer = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "run"}],
        tools=[{"type": "custom", "custom": {"name": "run", "description": "Runs a program."}}],
        tool_choice={"type": "custom", "custom": {"name": "run"}},
    )
    call = (answer.choices[0].message.tool_calls or [])[0]
    assert isinstance(call, ChatCompletionMessageCustomToolCall)
    assert (call.custom.name, call.custom.input) == ("run", "simulated")


async def test_text_completions(client: openai.AsyncOpenAI) -> None:
    """Whole and streamed."""
    answer = await client.completions.create(model=MODEL, prompt="Hello", max_tokens=50)
    assert answer.choices[0].text.startswith('You said: "Hello"')
    assert answer.usage is not None
    stream = await client.completions.create(
        model=MODEL, prompt="Hello", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == answer.choices[0].text
    assert chunks[-1].usage is not None


async def test_azures_client(running: House) -> None:
    """It names the model in the address and its key in a header of its own."""
    async with openai.AsyncAzureOpenAI(
        api_key=CLIENT_KEY, azure_endpoint=running.server.url, api_version="2024-10-21", max_retries=0
    ) as client:
        answer = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hi"}]
        )
    assert answer.model == MODEL
    assert answer.choices[0].message.content


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
    ],
)
async def test_what_is_impossible_is_refused_by_name(
    client: openai.AsyncOpenAI, fields: dict[str, object], param: str
) -> None:
    """As the SDK's own error class."""
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(  # type: ignore[call-overload]  # fields as users send them
            model=MODEL, messages=[{"role": "user", "content": "Hi"}], **fields
        )
    assert refused.value.param == param
