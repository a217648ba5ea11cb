"""Tool loops of the official SDKs through Claude Code: the real program waits while their users run the tools."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec
import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.support.children import seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.gateway import CLIENT_KEY
from tests.support.house import MODEL, House, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SCHEMA: Final[dict[str, object]] = {"type": "object", "properties": {"what": {"type": "string"}}}
_FUNCTION: Final = {"name": "look_up", "description": "Looks something up.", "parameters": _SCHEMA}
_QUESTION: Final = "Please look_up this, twice in parallel."


def entries(_: str) -> list[Mapping[str, object]]:
    """One key."""
    return [{"name": "one", "kind": "claude_code", "token": "k1"}]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def started(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway of one Claude Code key."""
    claude_program()
    folder = tmp_path_factory.mktemp("claude-code-sdks")
    async with house(folder, credentials=entries) as found:
        yield found
    await seconds_until_none(folder, 5)


@pytest_asyncio.fixture(loop_scope="module")
async def running(started: House) -> House:
    """The same, whose simulated Claude has forgotten what was asked before."""
    started.simulator.reset()
    return started


class _Sent(msgspec.Struct):
    metadata: dict[str, str]


def _one_run(running: House) -> bool:
    """Whether both calls came from one process."""
    sent = [msgspec.json.decode(one.body, type=_Sent) for one in running.simulator.record.requests]
    return len(sent) == 2 and sent[0].metadata == sent[1].metadata


async def test_the_openai_sdk_runs_a_loop_of_parallel_calls(running: House) -> None:
    """Protects users of Chat Completions: ids and arguments go there and back, and the run goes on."""
    async with AsyncOpenAI(base_url=f"{running.server.url}/v1", api_key=CLIENT_KEY, max_retries=0) as client:
        create = client.chat.completions.with_raw_response.create
        fields: dict[str, object] = {"model": MODEL, "tools": [{"type": "function", "function": _FUNCTION}]}
        messages: list[object] = [{"role": "user", "content": _QUESTION}]
        first = (await create(messages=messages, **fields)).parse()  # type: ignore[call-overload]  # plain objects
        calls = first.choices[0].message.tool_calls
        assert [call.function.name for call in calls] == ["look_up", "look_up"]
        messages.append(first.choices[0].message.model_dump(exclude_none=True))
        for call, answer in zip(calls, ("a heron", "a stork"), strict=True):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": answer})
        second = (await create(messages=messages, **fields)).parse()  # type: ignore[call-overload]  # plain objects
    assert 'The tools returned: "a heron", "a stork"' in second.choices[0].message.content
    assert _one_run(running)


async def test_the_openai_sdk_streams_a_loop_of_the_responses_api(running: House) -> None:
    """Protects users of Responses, who send only what is new behind the id of a response."""
    async with AsyncOpenAI(base_url=f"{running.server.url}/v1", api_key=CLIENT_KEY, max_retries=0) as client:
        fields: dict[str, object] = {"model": MODEL, "tools": [{"type": "function", **_FUNCTION}]}
        given: object = _QUESTION
        texts = []
        for _ in range(2):
            stream = await client.responses.create(input=given, stream=True, **fields)  # type: ignore[call-overload]  # plain objects
            done = next(
                one for one in [event async for event in stream] if one.type == "response.completed"
            ).response
            given = [
                {"type": "function_call_output", "call_id": item.call_id, "output": "an egret"}
                for item in done.output
                if item.type == "function_call"
            ]
            fields["previous_response_id"] = done.id
            texts.append(done.output_text)
    assert 'The tools returned: "an egret", "an egret"' in texts[-1]
    assert _one_run(running)


async def test_the_anthropic_sdk_streams_a_loop(running: House) -> None:
    """Protects users of Messages: what the SDK has put together goes back as it is, and the run goes on."""
    tool = {"name": "look_up", "description": "Looks something up.", "input_schema": _SCHEMA}
    async with AsyncAnthropic(base_url=running.server.url, api_key=CLIENT_KEY, max_retries=0) as client:
        messages: list[object] = [{"role": "user", "content": _QUESTION}]
        texts = []
        for _ in range(2):
            fields: dict[str, object] = {"model": MODEL, "max_tokens": 500, "tools": [tool]}
            async with client.messages.stream(messages=messages, **fields) as stream:  # type: ignore[arg-type]  # plain objects
                said = await stream.get_final_message()
            messages.append({"role": "assistant", "content": [one.model_dump() for one in said.content]})
            calls = [one for one in said.content if one.type == "tool_use"]
            results = [{"type": "tool_result", "tool_use_id": one.id, "content": "an ibis"} for one in calls]
            messages.append({"role": "user", "content": results})
            texts.append(str(said.content))
    assert 'The tools returned: "an ibis", "an ibis"' in texts[-1]
    assert _one_run(running)
