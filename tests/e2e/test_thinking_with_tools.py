"""Thinking and tools together, as users of the official SDKs write it."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec
import pytest
import pytest_asyncio
from anthropic.types import ToolUseBlock
from openai.types.chat import ChatCompletion

from tests.support.sdk import Judged, judged, saying

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUESTION: Final = saying("What is the weather?")
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Final = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
THOUGHT: Final = "The user wrote 20 characters. I shall repeat them."


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judged]:
    """A gateway in front of a simulated Claude."""
    async with judged(tmp_path_factory.mktemp("thinking")) as running:
        yield running


@pytest.fixture(params=[True, False], ids=["sync", "async"])
def sync(request: pytest.FixtureRequest) -> bool:
    """Whether the sync client is used."""
    return bool(request.param)


def _sent_back(body: dict[str, object]) -> dict[str, object]:
    """The first block of the assistant's turn, as it went upstream."""
    messages = msgspec.convert(body["messages"], list[dict[str, object]])
    return msgspec.convert(messages[1]["content"], list[dict[str, object]])[0]


def _turn(answer: ChatCompletion, how: str) -> dict[str, object]:
    """The assistant's turn as a user puts it into the history: the whole object, or its calls alone."""
    message = answer.choices[0].message.to_dict()
    if how == "whole":
        return message
    return {name: message[name] for name in ("role", "content", "tool_calls")}


@pytest.mark.parametrize("how", ["whole", "calls alone"])
@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "streamed"])
async def test_openais_users_get_their_tools_used_by_a_model_that_thinks_on(
    judge: Judged, sync: bool, streamed: bool, how: str
) -> None:
    """Protects tool loops of users who know nothing of signatures, and of those who send back all they got."""
    user = judge.openai(judge.pool(), sync=sync)
    fields: dict[str, object] = {"tools": TOOLS, "reasoning_effort": "high"}
    if streamed:
        answer = await user.is_helped([], messages=[QUESTION], **fields)
    else:
        answer = await user.asks(messages=[QUESTION], **fields)
    message = answer.choices[0].message
    assert message.tool_calls is not None
    (detail,) = (message.model_extra or {})["reasoning_details"]
    assert (detail["type"], detail["text"]) == ("reasoning.text", THOUGHT)
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    last = await user.asks(messages=[QUESTION, _turn(answer, how), result], **fields)
    assert (last.choices[0].message.content or "").startswith('The tools returned: "sunny"')
    thought = {"type": "thinking", "thinking": THOUGHT, "signature": detail["signature"]}
    assert _sent_back(judge.body(user.pool)) == thought


async def test_anthropics_users_send_their_thinking_back_themselves(judge: Judged, sync: bool) -> None:
    """Protects the blocks as the SDK writes them."""
    user = judge.anthropic(judge.pool(), sync=sync)
    fields: dict[str, object] = {
        "tools": [{"name": "weather", "input_schema": SCHEMA}],
        "thinking": {"type": "adaptive", "display": "summarized"},
    }
    answer = await user.asks(messages=[QUESTION], **fields)
    call = answer.content[-1]
    assert isinstance(call, ToolUseBlock)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns = [
        QUESTION,
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    last = await user.asks(messages=turns, **fields)
    assert last.stop_reason == "end_turn"
    assert _sent_back(judge.body(user.pool)) == answer.content[0].to_dict()
