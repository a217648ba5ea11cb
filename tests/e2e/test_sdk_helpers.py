"""The helpers of the official Python SDKs against the real server: answers of a type, and loops of tools."""

from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import anthropic
import pydantic
import pytest
import pytest_asyncio
from anthropic import beta_async_tool, beta_tool
from anthropic.types import TextBlock
from anthropic.types.beta import BetaMessage, BetaTextBlock
from anthropic.types.parsed_message import ParsedMessage
from openai import pydantic_function_tool
from openai.types.chat import ParsedChatCompletion

from tests.support.sdk import (
    ECHO,
    GREETING,
    MODEL,
    AnthropicUser,
    Judged,
    OpenAIUser,
    judged,
    saying,
    told,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEATHER: Final = "What is the weather?"
AFTERWARDS: Final = 'The tools returned: "sunny in simulated"'


class Party(pydantic.BaseModel):
    """What an answer is parsed into."""

    name: str
    guests: list[str]
    open_air: bool


class Weather(pydantic.BaseModel):
    """The arguments of a tool."""

    city: str


PARTY: Final = Party(name="simulated", guests=["simulated"], open_air=True)


class Runner(Protocol):
    """A loop of tools, sync or async."""

    def until_done(self) -> object:
        """Run it to its last answer."""
        ...


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judged]:
    """A gateway in front of a simulated Claude."""
    async with judged(tmp_path_factory.mktemp("helpers")) as running:
        yield running


@pytest.fixture(params=[True, False], ids=["sync", "async"])
def sync(request: pytest.FixtureRequest) -> bool:
    """Whether the sync client is used."""
    return bool(request.param)


@pytest.fixture
def openai_user(judge: Judged, sync: bool) -> OpenAIUser:
    """A user of OpenAI's SDK."""
    return judge.openai(judge.pool(), sync=sync)


@pytest.fixture
def user(judge: Judged, sync: bool) -> AnthropicUser:
    """A user of Anthropic's SDK."""
    return judge.anthropic(judge.pool(), sync=sync)


async def test_openais_parse_gives_the_users_own_type(judge: Judged, openai_user: OpenAIUser) -> None:
    """Protects structured outputs: the strict schema the SDK makes goes upstream, and its JSON comes back whole."""
    parse = openai_user.client.chat.completions.parse
    fields = {"model": MODEL, "messages": [saying(GREETING)], "response_format": Party}
    answer = await told(parse, ParsedChatCompletion, **fields)
    assert answer.choices[0].message.parsed == PARTY
    config = judge.body(openai_user.pool)["output_config"]
    assert isinstance(config, dict)
    assert config["format"]["type"] == "json_schema"
    assert set(config["format"]["schema"]["properties"]) == set(Party.model_fields)


async def test_openais_stream_helper_parses_at_the_end(openai_user: OpenAIUser) -> None:
    """Protects streamed structured outputs, which the helper parses while they come."""
    events: list[object] = []
    final = await openai_user.is_helped(events, response_format=Party)
    assert isinstance(final, ParsedChatCompletion)
    assert final.choices[0].message.parsed == PARTY
    assert [getattr(event, "type", "") for event in events].count("content.done") == 1


async def test_openais_parse_gives_arguments_of_tools_as_the_users_own_type(openai_user: OpenAIUser) -> None:
    """Protects strict tools: the arguments that come back fit the type they were made from."""
    parse = openai_user.client.chat.completions.parse
    tools = [pydantic_function_tool(Weather, name="weather")]
    answer = await told(parse, ParsedChatCompletion, model=MODEL, messages=[saying(WEATHER)], tools=tools)
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == Weather(city="simulated")


async def test_anthropics_parse_gives_the_users_own_type(user: AnthropicUser) -> None:
    """Protects structured outputs of Messages."""
    parse = user.client.messages.parse
    fields = {"model": MODEL, "max_tokens": 1000, "messages": [saying(GREETING)], "output_format": Party}
    answer = await told(parse, ParsedMessage, **fields)
    assert answer.parsed_output == PARTY


async def test_anthropics_stream_helper_parses_at_the_end(user: AnthropicUser) -> None:
    """Protects streamed structured outputs of Messages."""
    final = await user.is_helped([], output_format=Party)
    assert isinstance(final, ParsedMessage)
    assert final.parsed_output == PARTY


async def test_anthropics_text_stream_gives_the_text_and_nothing_else(user: AnthropicUser) -> None:
    """Protects the loop of the SDK's own first example."""
    fields = {"model": MODEL, "max_tokens": 1000, "messages": [saying(GREETING)]}
    if isinstance(user.client, anthropic.AsyncAnthropic):
        async with user.client.messages.stream(**fields) as helped:  # type: ignore[arg-type]  # plain dicts
            pieces = [piece async for piece in helped.text_stream]
    else:
        pieces = await told(_text_pieces, list, client=user.client, fields=fields)
    assert "".join(pieces) == ECHO
    assert len(pieces) > 1


def _text_pieces(client: anthropic.Anthropic, fields: dict[str, object]) -> list[str]:
    with client.messages.stream(**fields) as stream:  # type: ignore[arg-type]  # plain dicts
        return list(stream.text_stream)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_anthropics_tool_runner_goes_from_call_to_answer(
    judge: Judged, user: AnthropicUser, streamed: bool
) -> None:
    """Protects the SDK's own loop, which calls the beta address: the tool runs, the model sees its result."""
    asked: list[str] = []

    def look_up(city: str) -> str:
        """Tells the weather.

        Args:
            city: where.
        """
        asked.append(city)
        return f"sunny in {city}"

    async def look_up_later(city: str) -> str:
        """Tells the weather.

        Args:
            city: where.
        """
        return look_up(city)

    tool = (
        beta_async_tool(look_up_later, name="weather")
        if isinstance(user.client, anthropic.AsyncAnthropic)
        else beta_tool(look_up, name="weather")
    )
    make_runner: Callable[..., Runner] = user.client.beta.messages.tool_runner
    fields = {"model": MODEL, "max_tokens": 1000, "messages": [saying(WEATHER)], "tools": [tool]}
    runner = make_runner(**fields, stream=streamed)
    final = await _run_out(runner)
    assert asked == ["simulated"]
    texts = [block.text for block in final.content if isinstance(block, BetaTextBlock | TextBlock)]
    assert "".join(texts).startswith(AFTERWARDS)
    assert judge.calls(user.pool) == 2


async def _run_out(runner: Runner) -> BetaMessage:
    return await told(_until_done, BetaMessage, runner=runner)


def _until_done(runner: Runner) -> object:
    return runner.until_done()
