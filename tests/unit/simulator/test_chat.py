"""The simulated OpenAI-compatible API, judged by the official SDK and by its own ledger."""

from collections.abc import AsyncIterator

import msgspec
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionToolParam

from proxy.simulator import EndedBy, Insert, Pace, Simulator, Step
from tests.unit.simulator.client import Answer
from tests.unit.simulator.client import ask as asked_raw

MODEL = "gpt-4o"
HELLO: list[dict[str, str]] = [{"role": "user", "content": "Hello"}]
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}},
        },
    }
    for name in ("look", "find")
]


@pytest.fixture
async def other(simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    """A client that tries once."""
    async with AsyncOpenAI(base_url=f"{simulator.url}/v1", api_key="k", max_retries=0) as client:
        yield client


async def _ask(simulator: Simulator, **fields: object) -> Answer:
    body = {"model": MODEL, "messages": HELLO, **fields}
    return await asked_raw(
        simulator, body, path="/v1/chat/completions", key="", headers={"authorization": "Bearer k"}
    )


async def test_the_sdk_reads_an_answer(other: AsyncOpenAI, simulator: Simulator) -> None:
    """Every required field is there, and the ledger has the call under its key."""
    answer = await other.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}])
    choice = answer.choices[0]
    assert choice.message.content == 'You said: "Hello" (1 message)'
    assert (choice.finish_reason, answer.model, answer.object) == ("stop", MODEL, "chat.completion")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert (answer._request_id or "").startswith("req_sim_")
    assert dict(simulator.record.requests_per_key) == {"k": 1}


@pytest.mark.parametrize("asks", [True, False])
async def test_the_sdk_reads_a_stream(other: AsyncOpenAI, *, asks: bool) -> None:
    """Parallel calls by index, one finish reason, and usage in a last chunk only where it was asked for."""
    stream = await other.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "in parallel"}],
        tools=TOOLS,
        stream=True,
        stream_options={"include_usage": asks},
    )
    chunks = [chunk async for chunk in stream]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    calls = [call for choice in choices for call in choice.delta.tool_calls or ()]
    arguments = dict.fromkeys((0, 1), "")
    for call in calls:
        arguments[call.index] += (call.function.arguments if call.function is not None else None) or ""
    assert arguments == {0: '{"n":1}', 1: '{"n":1}'}
    assert [call.function.name for call in calls if call.id and call.function] == ["look", "find"]
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["tool_calls"]
    assert (chunks[-1].usage is not None, not chunks[-1].choices) == (asks, asks)


async def test_a_tool_loop_and_an_image_are_taken(other: AsyncOpenAI) -> None:
    """A history as clients send it back is understood."""
    answer = await other.chat.completions.create(
        model=MODEL,
        tools=TOOLS,
        messages=[
            {"role": "system", "content": "Be kind."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "Rain"},
        ],
    )
    assert (answer.choices[0].message.content or "").startswith('The tools returned: "Rain"')


async def test_models_are_listed_in_openais_shape(other: AsyncOpenAI) -> None:
    """The same path answers Anthropic's clients in theirs."""
    names = [model.id async for model in other.models.list()]
    assert MODEL in names
    assert "claude-opus-5-5" in names


_CALLS = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": 5},
        {"cache_control": {"type": "ephemeral"}},
        {"thinking": {"type": "adaptive"}},
        {"claude_options": {}},
        {"messages": []},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user", "content": "x", "reasoning_details": []}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]}]},
        {"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]},
        {"messages": [{"role": "assistant", "tool_calls": _CALLS}, {"role": "user", "content": "x"}]},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"stream_options": {"include_usage": True}},
        {"tool_choice": "auto"},
        {"tools": TOOLS, "tool_choice": "any"},
        {"max_completion_tokens": "x"},
    ],
)
async def test_what_openai_would_refuse_is_refused(simulator: Simulator, fields: dict[str, object]) -> None:
    """A field of Anthropic's that slips through is seen by a test."""
    answer = await _ask(simulator, **fields)
    assert answer.status == 400
    error = msgspec.convert(answer.json()["error"], dict[str, str | None])
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}


async def test_an_unknown_model_is_not_found(other: AsyncOpenAI) -> None:
    """With the code clients look for."""
    with pytest.raises(openai.NotFoundError) as caught:
        await other.chat.completions.create(model="gpt-none", messages=[{"role": "user", "content": "Hi"}])
    assert caught.value.code == "model_not_found"


async def test_no_key_is_told_in_the_same_envelope(simulator: Simulator) -> None:
    """Not in Anthropic's."""
    body = {"model": MODEL, "messages": HELLO}
    answer = await asked_raw(simulator, body, path="/v1/chat/completions", key="")
    assert answer.status == 401
    assert msgspec.convert(answer.json()["error"], dict[str, str | None])["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (429, "rate_limit_error", "rate_limit_exceeded"),
        (500, "server_error", None),
        (503, "service_unavailable_error", "server_is_overloaded"),
        (403, "permission_error", None),
    ],
)
async def test_scripted_errors_are_in_openais_words(
    simulator: Simulator, status: int, kind: str, code: str | None
) -> None:
    """The same step gives each API's own envelope."""
    simulator.script("k", [Step("status", status=status)])
    answer = await _ask(simulator)
    error = msgspec.convert(answer.json()["error"], dict[str, str | None])
    assert (answer.status, error["type"], error["code"]) == (status, kind, code)
    assert "anthropic-organization-id" not in answer.headers


async def test_an_error_in_a_stream_is_a_frame_without_a_name(simulator: Simulator) -> None:
    """As OpenAI's clients read it."""
    simulator.script("k", [Step("error_event_mid", type="server_error", message="no")])
    answer = await _ask(simulator, stream=True)
    last = answer.body.rstrip().rpartition(b"data: ")[2]
    assert msgspec.json.decode(last)["error"]["message"] == "no"
    assert b"event:" not in answer.body
    assert b"[DONE]" not in answer.body


@pytest.mark.parametrize(
    "step", [Step("slice", sizes=(7,)), Step("one_byte_chunks"), Step(pace=Pace(tokens_per_s=1000))]
)
async def test_streams_come_cut_and_at_a_pace(simulator: Simulator, step: Step) -> None:
    """The behaviours of the other API hold here too."""
    plain = (await _ask(simulator, stream=True)).body
    simulator.script("k", [step])
    assert (await _ask(simulator, stream=True)).body.count(b"data: ") == plain.count(b"data: ")
    assert simulator.record.requests[-1].ended_by is EndedBy.SERVER


async def test_a_silent_stream_is_kept_alive_with_comments(simulator: Simulator) -> None:
    """An event without data would break OpenAI's clients."""
    simulator.script("k", [Step("pings_only", seconds=3.0)])
    answer = await _ask(simulator, stream=True)
    assert answer.body.startswith(b": ping\n\n")
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_steps_change_what_is_said(simulator: Simulator) -> None:
    """Text, usage, finish reason and raw frames."""
    simulator.script(
        "k",
        [
            Step(text="Said.", usage={"prompt_tokens": 7}, stop_reason="refusal"),
            Step(text="Said.", insert=(Insert(0, ": odd\n\n"),)),
        ],
    )
    answer = (await _ask(simulator)).json()
    (choice,) = msgspec.convert(answer["choices"], list[dict[str, object]])
    assert choice["finish_reason"] == "content_filter"
    assert msgspec.convert(choice["message"], dict[str, object])["content"] == "Said."
    assert msgspec.convert(answer["usage"], dict[str, object])["prompt_tokens"] == 7
    assert (await _ask(simulator, stream=True)).body.startswith(b": odd\n\n")
