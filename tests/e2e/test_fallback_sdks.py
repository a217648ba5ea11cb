"""The official SDKs over a last resort: what another API answers has to look like any answer of ours."""

from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from anthropic import APIStatusError as MessagesError
from anthropic import AsyncAnthropic
from anthropic.types import ToolUseBlock
from openai import APIError as ChatError
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionToolParam

from proxy.simulator import Step
from tests.support.gateway import CLIENT_KEY, gateway
from tests.support.house import House, client, simulated

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLAUDE: Final = "claude-key"
OTHER: Final = "other-key"
MODEL: Final = "claude-sonnet-5-5"
CHAT_TOOLS: Final[list[ChatCompletionToolParam]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    for name in ("weather", "clock")
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway whose only Claude credential is refused, so that another API answers."""
    async with simulated() as simulator:
        settings = {
            "POOL_JITTER": "0",
            "POOL_STRIKES": "1000",
            "LOG_LEVEL": "warning",
            "ANTHROPIC_BASE_URL": simulator.url,
            "ANTHROPIC_API_KEY": CLAUDE,
            "FALLBACK_API_URL_1": f"{simulator.url}/v1",
            "FALLBACK_API_KEY_1": OTHER,
            "FALLBACK_API_MODEL_1": "gpt-4o",
        }
        simulator.script(CLAUDE, then=Step("status", status=401))
        folder = tmp_path_factory.mktemp("sdks")
        async with gateway(folder, settings) as server, client() as session:
            yield House(server, simulator, session)


@pytest_asyncio.fixture(loop_scope="module")
async def chat(running: House) -> AsyncIterator[AsyncOpenAI]:
    """The OpenAI SDK."""
    async with AsyncOpenAI(base_url=f"{running.server.url}/v1", api_key=CLIENT_KEY, max_retries=0) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def messages(running: House) -> AsyncIterator[AsyncAnthropic]:
    """The Anthropic SDK."""
    async with AsyncAnthropic(base_url=running.server.url, api_key=CLIENT_KEY, max_retries=0) as found:
        yield found


async def test_the_openai_sdk_reads_a_whole_answer(chat: AsyncOpenAI) -> None:
    """Protects text, model, usage and the header that tells who answered."""
    raw = await chat.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "Hello!"}]
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == 'You said: "Hello!" (1 message)'
    assert (answer.choices[0].finish_reason, answer.model) == ("stop", "gpt-4o")
    assert answer.usage is not None
    assert raw.headers["x-carousel-credential"] == "fallback-1"
    assert raw.headers["x-carousel-model"] == "gpt-4o"


@pytest.mark.parametrize("asks", [True, False])
async def test_the_openai_sdks_accumulator_takes_a_stream(chat: AsyncOpenAI, *, asks: bool) -> None:
    """Protects the strictest reader: parallel calls, one role, one end, and no usage unasked."""
    async with chat.chat.completions.stream(
        model=MODEL,
        messages=[{"role": "user", "content": "use both in parallel"}],
        tools=CHAT_TOOLS,
        stream_options={"include_usage": asks},
    ) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == ["weather", "clock"]
    assert final.choices[0].finish_reason == "tool_calls"
    assert (final.usage is not None) is asks
    assert kinds.count("tool_calls.function.arguments.done") == 2


async def test_the_anthropic_sdk_reads_a_whole_answer(messages: AsyncAnthropic) -> None:
    """Protects a translated answer: blocks, usage and the reason of its end."""
    answer = await messages.messages.create(
        model=MODEL, max_tokens=500, system="Be kind.", messages=[{"role": "user", "content": "Hello!"}]
    )
    assert answer.content[0].type == "text"
    assert answer.content[0].text.startswith('You said: "Hello!"')
    assert (answer.stop_reason, answer.model, answer.role) == ("end_turn", "gpt-4o", "assistant")
    assert answer.usage.output_tokens > 0
    assert answer.id.startswith("msg_")


async def test_the_anthropic_sdks_accumulator_goes_through_a_tool_loop(messages: AsyncAnthropic) -> None:
    """Protects agents: calls with whole input, and results that find their calls again on the other side."""
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in ("weather", "clock")]
    history: list[dict[str, object]] = [{"role": "user", "content": "use both in parallel"}]
    async with messages.messages.stream(
        model=MODEL,
        max_tokens=500,
        tools=tools,  # type: ignore[arg-type]  # plain dicts, as users write them
        messages=history,  # type: ignore[arg-type]  # as above
    ) as stream:
        first = await stream.get_final_message()
    calls = [block for block in first.content if isinstance(block, ToolUseBlock)]
    assert ([call.name for call in calls], first.stop_reason) == (["weather", "clock"], "tool_use")
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"{call.name} done"} for call in calls
    ]
    history += [
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
        {"role": "user", "content": results},
    ]
    async with messages.messages.stream(
        model=MODEL,
        max_tokens=500,
        tools=tools,  # type: ignore[arg-type]  # as above
        messages=history,  # type: ignore[arg-type]  # as above
    ) as stream:
        text = await stream.get_final_text()
        final = await stream.get_final_message()
    assert text.startswith('The tools returned: "clock done"')
    assert (final.stop_reason, final.usage.output_tokens > 0) == ("end_turn", True)


async def test_a_broken_answer_is_an_error_to_both(
    running: House, chat: AsyncOpenAI, messages: AsyncAnthropic
) -> None:
    """Protects users from half an answer that their SDK would take for a whole one."""
    cut = Step("cut_at_byte", at_byte=900, how="end")
    running.simulator.script(OTHER, [cut, cut])
    with pytest.raises(ChatError):
        async for _ in await chat.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "one two three four"}], stream=True
        ):
            pass
    with pytest.raises(MessagesError):
        async with messages.messages.stream(
            model=MODEL, max_tokens=500, messages=[{"role": "user", "content": "one two three four"}]
        ) as stream:
            await stream.get_final_message()
    assert not (await running.idle())["fallback-1"].in_flight
