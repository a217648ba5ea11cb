"""OpenAI's Agents SDK against the real server: agents with tools, whole and streamed, over either of OpenAI's APIs."""

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Final

import agents
import openai
import pytest
import pytest_asyncio
from agents import (
    Agent,
    ModelSettings,
    OpenAIProvider,
    RunConfig,
    Runner,
    SQLiteSession,
    Tool,
    ToolCallItem,
    ToolCallOutputItem,
    function_tool,
)
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from pydantic import BaseModel

from proxy.simulator import Step
from tests.support.sdk import ECHO, GREETING, MODEL, Judged, SmallPool, judged

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH: Final = "use both in parallel"


class Api(StrEnum):
    """By which of OpenAI's APIs the SDK asks."""

    RESPONSES = "/v1/responses"
    CHAT = "/v1/chat/completions"


class How(StrEnum):
    """How an answer comes."""

    WHOLE = "whole"
    STREAMED = "streamed"


class Party(BaseModel):
    """What a structured answer is read as."""

    name: str
    guests: list[str]


class Ran(BaseModel):
    """A run that has ended.

    Attributes:
        output: what the agent said in the end, or the type it was asked for.
        called: the tools it called, in order.
        returned: what they returned.
        text: what came of the answers' texts piece by piece; empty where nothing was streamed.
        requests: model calls of the run.
        input_tokens: of all of them.
    """

    output: str | Party
    called: list[str]
    returned: list[str]
    text: str
    requests: int
    input_tokens: int


class Tools:
    """Tools of an agent, which know how they were called."""

    def __init__(self) -> None:
        self.cities: list[str] = []

    @property
    def both(self) -> list[Tool]:
        """The tools."""

        def weather(city: str) -> str:
            """What the weather is like in a city."""
            self.cities.append(city)
            return f"sunny in {city}"

        async def clock(city: str) -> str:
            """What time it is in a city."""
            self.cities.append(city)
            return f"noon in {city}"

        return [function_tool(weather), function_tool(clock)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judged]:
    """A gateway in front of a simulated Claude."""
    async with judged(tmp_path_factory.mktemp("agents")) as running:
        yield running


@pytest.fixture(params=Api)
def api(request: pytest.FixtureRequest) -> Api:
    """The API that is used."""
    return Api(request.param)


@pytest_asyncio.fixture(loop_scope="module")
async def means(judge: Judged, api: Api) -> AsyncIterator["Means"]:
    """A pool that is healthy, and how its user's agents reach it."""
    pool = judge.pool()
    async with AsyncOpenAI(
        base_url=f"{judge.server.url}/v1", api_key=pool.client_key, max_retries=0
    ) as client:
        yield Means(pool, client, api)


class Means:
    """How the agents of one user reach the gateway."""

    def __init__(self, pool: SmallPool, client: AsyncOpenAI, api: Api) -> None:
        self.pool = pool
        provider = OpenAIProvider(openai_client=client, use_responses=api is Api.RESPONSES)
        self._config = RunConfig(model_provider=provider, tracing_disabled=True)

    async def run(
        self, agent: Agent[None], text: str, how: How = How.WHOLE, session: SQLiteSession | None = None
    ) -> Ran:
        """Let an agent work until it has its answer."""
        if how is How.WHOLE:
            return _ran(await Runner.run(agent, text, run_config=self._config, session=session), "")
        result = Runner.run_streamed(agent, text, run_config=self._config, session=session)
        pieces = [
            event.data.delta
            async for event in result.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]
        return _ran(result, "".join(pieces))


def _ran(result: agents.result.RunResultBase, text: str) -> Ran:
    items = result.new_items
    usage = result.context_wrapper.usage
    return Ran(
        output=result.final_output,
        called=[item.tool_name or "" for item in items if isinstance(item, ToolCallItem)],
        returned=[str(item.output) for item in items if isinstance(item, ToolCallOutputItem)],
        text=text,
        requests=usage.requests,
        input_tokens=usage.input_tokens,
    )


def agent(**fields: object) -> Agent[None]:
    """An agent."""
    return Agent(name="Tester", model=MODEL, **fields)  # type: ignore[arg-type]  # the fields are those of Agent


@pytest.mark.parametrize("how", How)
async def test_an_agent_answers(judge: Judged, means: Means, how: How) -> None:
    """Protects the first thing users of the SDK do: instructions, an answer, and its usage."""
    kind = agent(instructions="Be kind.", model_settings=ModelSettings(include_usage=True))
    ran = await means.run(kind, GREETING, how)
    assert isinstance(ran.output, str)
    assert ran.output.startswith('You said: "Hello, gateway!"')
    assert ran.text == (ran.output if how is How.STREAMED else "")
    assert ran.requests == judge.calls(means.pool) == 1
    assert ran.input_tokens > 0
    assert "Be kind." in str(judge.body(means.pool)["system"])


@pytest.mark.parametrize("how", How)
@pytest.mark.parametrize("reasoning", [None, Reasoning(effort="low", summary="auto")], ids=["", "reasoning"])
async def test_an_agent_calls_its_tools_and_ends_with_the_models_words(
    judge: Judged, means: Means, how: How, reasoning: Reasoning | None
) -> None:
    """Protects the loop of the SDK: it runs both tools, sends what they return, and takes the answer to that."""
    tools = Tools()
    settings = ModelSettings(reasoning=reasoning, parallel_tool_calls=True)
    ran = await means.run(agent(tools=tools.both, model_settings=settings), BOTH, how)
    assert ran.called == ["weather", "clock"]
    assert tools.cities == ["simulated", "simulated"]
    assert ran.returned == ["sunny in simulated", "noon in simulated"]
    assert isinstance(ran.output, str)
    assert 'The tools returned: "sunny in simulated", "noon in simulated"' in ran.output
    assert ran.requests == judge.calls(means.pool) == 2


@pytest.mark.parametrize("how", How)
async def test_an_agents_answer_has_the_type_it_was_asked_for(means: Means, how: How) -> None:
    """Protects structured answers: the schema the SDK makes reaches the model, and its JSON is read."""
    ran = await means.run(agent(output_type=Party), GREETING, how)
    assert ran.output == Party(name="simulated", guests=["simulated"])


async def test_a_session_goes_on(means: Means) -> None:
    """Protects what the SDK keeps by itself and sends again: our items come back as it stored them."""
    session = SQLiteSession("test")
    try:
        tools = Tools()
        first = await means.run(agent(tools=tools.both), BOTH, session=session)
        assert first.called == ["weather", "clock"]
        second = await means.run(agent(tools=tools.both), GREETING, session=session)
        assert isinstance(second.output, str)
        assert second.output.startswith('You said: "Hello, gateway!" (5 messages')
    finally:
        session.close()


@pytest.mark.parametrize("how", How)
async def test_a_refusal_reaches_whoever_runs_the_agent(judge: Judged, api: Api, how: How) -> None:
    """Protects programs that catch the SDK's errors: the class and the message are those of the refusal."""
    pool = judge.pool(then=Step("status", status=400, message="prompt is too long"))
    async with AsyncOpenAI(
        base_url=f"{judge.server.url}/v1", api_key=pool.client_key, max_retries=0
    ) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await Means(pool, client, api).run(agent(), ECHO, how)
    assert "prompt is too long" in str(caught.value)
