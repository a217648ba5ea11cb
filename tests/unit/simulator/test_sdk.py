"""The official SDK as a judge of the shapes."""

import base64
import struct
from collections.abc import AsyncIterator

import anthropic
import pytest
from anthropic import AsyncAnthropic

from proxy.simulator import Simulator, Step
from tests.unit.simulator.client import MODEL

_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 10, 20) + b"\x08\x06\x00\x00\x00"


@pytest.fixture
async def claude(simulator: Simulator) -> AsyncIterator[AsyncAnthropic]:
    """A client that tries once."""
    async with AsyncAnthropic(base_url=simulator.url, api_key="k", max_retries=0) as client:
        yield client


async def test_the_sdk_reads_a_message(claude: AsyncAnthropic) -> None:
    """Every required field is there."""
    message = await claude.messages.create(
        model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
    )
    assert message.content[0].type == "text"
    assert (message.stop_reason, message.usage.input_tokens, message.model) == ("end_turn", 1, MODEL)
    assert (message._request_id or "").startswith("req_sim_")


async def test_the_sdk_reads_a_stream(claude: AsyncAnthropic) -> None:
    """With thinking, and with the two calls of a parallel tool use."""
    async with claude.messages.stream(
        model=MODEL,
        max_tokens=1000,
        thinking={"type": "adaptive", "display": "summarized"},
        tools=[
            {"name": "look", "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}},
            {"name": "find", "input_schema": {"type": "object"}},
        ],
        messages=[{"role": "user", "content": "in parallel"}],
    ) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    thinking, _, look, find = message.content
    assert thinking.type == "thinking"
    assert thinking.signature.startswith("sim.")
    assert look.type == find.type == "tool_use"
    assert (look.name, look.input, find.name, find.input) == ("look", {"n": 1}, "find", {})
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens_details is not None


async def test_the_sdk_finishes_a_tool_loop(claude: AsyncAnthropic) -> None:
    """What it got back, thinking included, is taken as history."""
    tools: list[anthropic.types.ToolParam] = [{"name": "look", "input_schema": {"type": "object"}}]
    messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": "look"}]
    first = await claude.messages.create(
        model=MODEL, max_tokens=1000, tools=tools, messages=messages, thinking={"type": "adaptive"}
    )
    call = first.content[-1]
    assert call.type == "tool_use"
    messages.append({"role": "assistant", "content": first.content})
    messages.append(
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}
    )
    second = await claude.messages.create(model=MODEL, max_tokens=1000, tools=tools, messages=messages)
    assert second.content[0].type == "text"
    assert second.content[0].text == 'The tools returned: "sunny" (3 messages, 1 tool)'


async def test_the_sdk_sends_images(claude: AsyncAnthropic) -> None:
    """The echo tells what arrived."""
    data = base64.b64encode(_PNG).decode()
    message = await claude.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
                    {"type": "text", "text": "What is it?"},
                ],
            }
        ],
    )
    assert message.content[0].type == "text"
    assert "1 image: image/png 10x20 29 bytes" in message.content[0].text


async def test_the_sdk_pages_through_the_models(claude: AsyncAnthropic) -> None:
    """All of them, once each."""
    ids = [model.id async for model in claude.models.list(limit=4)]
    assert len(ids) == len(set(ids)) == 19
    assert (await claude.models.retrieve("claude-haiku-4-5")).display_name == "Claude Haiku 4.5"


async def test_the_sdk_counts_tokens(claude: AsyncAnthropic) -> None:
    """The same estimate as in the usage."""
    counted = await claude.messages.count_tokens(
        model=MODEL, messages=[{"role": "user", "content": "x" * 40}]
    )
    assert counted.input_tokens == 10


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
async def test_the_sdk_raises_its_own_class_for_a_status(
    simulator: Simulator, claude: AsyncAnthropic, status: int, error: type[anthropic.APIStatusError]
) -> None:
    """The envelope is understood."""
    simulator.script("k", [Step("status", status=status)])
    with pytest.raises(error) as caught:
        await claude.messages.create(model=MODEL, max_tokens=1, messages=[{"role": "user", "content": "a"}])
    assert (caught.value.request_id or "").startswith("req_sim_")
