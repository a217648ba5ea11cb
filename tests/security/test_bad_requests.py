"""Thousands of wrong requests as raw bytes over the socket: each is refused by name, and nothing of ours fails."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from tests.security.wire import Answer, ask
from tests.support.bad_requests import BadRequest, Json, bad_requests
from tests.support.house import House, house
from tests.support.soak import sized

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS: Final = sized(full=20_000, short=2_000)
AT_ONCE: Final = 4
MODEL: Final = "claude-opus-5"
PNG: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT: Final[Json] = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"x"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "sunny"}]},
        {"role": "user", "content": "Go on"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "weather", "description": "Tells.", "parameters": SCHEMA}}
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "max_completion_tokens": 50,
    "reasoning_effort": "low",
    "stop": ["STOP"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "n": 1,
    "temperature": 0.5,
    "top_p": 1,
    "response_format": {"type": "text"},
    "logit_bias": {"1": 1},
    "metadata": {"a": "b"},
    "user": "u",
    "seed": 1,
}
CONVERSATION: Final[Json] = {
    "model": MODEL,
    "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "x"}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": False, "content": "sunny"},
                {"type": "text", "text": "Go on"},
            ],
        },
    ],
    "tools": [{"name": "weather", "description": "Tells.", "input_schema": SCHEMA}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {"effort": "low"},
}
MESSAGES: Final[Json] = {
    **CONVERSATION,
    "max_tokens": 50,
    "stop_sequences": ["STOP"],
    "stream": False,
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
}
CHAT_PATH: Final = "/v1/chat/completions"
MESSAGES_PATH: Final = "/v1/messages"
COUNT_PATH: Final = "/v1/messages/count_tokens"
SOUND: Final[dict[str, Json]] = {CHAT_PATH: CHAT, MESSAGES_PATH: MESSAGES, COUNT_PATH: CONVERSATION}
# what a mistake in one field can be told of
NO_JSON: Final = (
    "The request body could not be parsed as JSON",
    "The request body is not valid JSON",
    "The request is nested too deeply",
)
UNKNOWN: Final = re.compile(r"Extra inputs are not permitted|unknown field")
TOLD_OF: Final[dict[str, set[str]]] = {
    "tools": {"tool_choice", "messages"},
    "messages": {"tools"},
    "stream": {"stream_options"},
}


class Error(msgspec.Struct):
    """What both envelopes hold."""

    type: str
    message: str
    param: str | None = None
    code: str | None = None


class Envelope(msgspec.Struct):
    """An error in either envelope; `type` is Anthropic's alone."""

    error: Error
    type: str | None = None


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def before_claude(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway in front of a simulated Claude, which checks what the gateway does not look at."""
    async with house(tmp_path_factory.mktemp("claude"), keys=("k1",)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def before_another(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway in front of an API of OpenAI's dialect, for which Messages are decoded and written anew."""

    def entries(url: str) -> Iterable[dict[str, object]]:
        return [{"name": "other", "kind": "openai", "key": "k1", "base_url": f"{url}/v1", "model": "gpt-4o"}]

    async with house(tmp_path_factory.mktemp("another"), credentials=entries) as running:
        yield running


def _wrong(answer: Answer, bad: BadRequest, path: str) -> str | None:
    """What is wrong with an answer; None where it is a success, or a refusal that says what of."""
    if answer.status == 200:
        return None
    if answer.status not in {400, 404, 413, 422}:
        return f"status {answer.status}"
    envelope = msgspec.json.decode(answer.body, type=Envelope)
    error = envelope.error
    if bad.field is None or error.code == "invalid_json" or error.message.startswith(NO_JSON):
        return None
    fields = {bad.field, *TOLD_OF.get(bad.field, ())}
    if bad.unknown and UNKNOWN.search(error.message):
        return None
    if path == CHAT_PATH:
        named = (error.param or "").replace("[", ".").partition(".")[0]
        return None if named in fields else f"param is {error.param}"
    if envelope.type != "error":
        return "the wrong envelope"
    return None if any(field in error.message.lower() for field in fields) else "the message names no field"


async def _told(running: House, path: str, count: int, seed: int) -> tuple[Counter[int], list[str]]:
    """How many answers of each status there were, and what was wrong with which."""
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    requests = islice(bad_requests(SOUND[path], seed), count)

    async def work() -> None:
        for bad in requests:
            headers = {"anthropic-version": "2023-06-01"}
            answer = await ask(running.server.url, path, bad.body, headers=headers)
            statuses[answer.status] += 1
            if (problem := _wrong(answer, bad, path)) is not None:
                wrong.append(f"{problem}: {bad.mistake}: {answer.body[:300]!r}")

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return statuses, wrong


@pytest.mark.long
@pytest.mark.parametrize(
    ("house_name", "path", "seed"),
    [
        ("claude", CHAT_PATH, 1),
        ("claude", MESSAGES_PATH, 2),
        ("claude", COUNT_PATH, 3),
        ("another", CHAT_PATH, 4),
        ("another", MESSAGES_PATH, 5),
    ],
)
async def test_every_wrong_request_is_refused_by_name_and_none_is_a_failure_of_ours(
    request: pytest.FixtureRequest,
    before_claude: House,
    before_another: House,
    house_name: str,
    path: str,
    seed: int,
) -> None:
    """Protects clients from errors that do not say what is wrong, and the server from what nobody thought of."""
    running = {"claude": before_claude, "another": before_another}[house_name]
    sound = msgspec.json.encode(SOUND[path])
    assert (await ask(running.server.url, path, sound)).status == 200
    statuses, wrong = await _told(running, path, REQUESTS // 5, seed)
    assert not wrong, "\n".join([f"{len(wrong)} of {statuses}", *wrong[:20]])
    assert statuses[400] > REQUESTS // 20
    assert (await ask(running.server.url, path, sound)).status == 200
    server = running.server
    assert {one.word() for one in (await running.credentials()).values()} == {"ready"}
    output = "".join(getattr(server, "output", []))
    assert "unexpected error" not in output
    assert "Traceback" not in output
