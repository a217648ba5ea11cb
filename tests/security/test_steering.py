"""No word of a client's decides where a call goes or which key it carries."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Simulator, Step
from tests.security.wire import MODEL, ask
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"ANTHROPIC_API_KEYS": "canary-key-1,canary-key-2"}
_IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_STEERING_FIELDS = (
    "api_base",
    "base_url",
    "api_key",
    "key",
    "proxy",
    "proxies",
    "endpoint",
    "url",
    "host",
    "callback",
    "webhook_url",
    "user_config",
    "model_list",
    "litellm_params",
    "custom_llm_provider",
    "azure_endpoint",
    "mock_response",
    "extra_headers",
    "extra_body",
    "headers",
    "organization",
    "conversation_id",
    "session_id",
    "claude_options",
    "project_id",
    "system_prompt",
)


@dataclass(slots=True)
class Canary:
    """An address nobody has a reason to visit.

    Attributes:
        url: of it.
        visits: what was sent to it.
    """

    url: str = ""
    visits: list[bytes] = field(default_factory=list)

    async def visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take note of a connection."""
        self.visits.append(await reader.read(1000))
        writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def canary() -> AsyncIterator[Canary]:
    """A listener that must stay alone."""
    found = Canary()
    listener = await asyncio.start_server(found.visited, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield found
    listener.close()
    await listener.wait_closed()


def _messages() -> dict[str, object]:
    """A Messages request that uses every kind of field."""
    image = {"type": "base64", "media_type": "image/png", "data": _IMAGE}
    return {
        "model": MODEL,
        "max_tokens": 64,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "metadata": {"user_id": "u"},
        "service_tier": "auto",
        "stop_sequences": ["stop"],
        "tools": [{"name": "t", "description": "d", "input_schema": {"type": "object", "title": "t"}}],
        "tool_choice": {"type": "auto"},
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hello"}, {"type": "image", "source": image}],
            },
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "toolu_1", "name": "t", "input": {"a": "b"}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}],
            },
        ],
    }


def _chat() -> dict[str, object]:
    """The same in Chat Completions."""
    call = {"id": "call_1", "type": "function", "function": {"name": "t", "arguments": "{}"}}
    schema = {"type": "object", "title": "t"}
    return {
        "model": MODEL,
        "user": "u",
        "metadata": {"a": "b"},
        "stop": ["stop"],
        "store": False,
        "service_tier": "auto",
        "prompt_cache_key": "k",
        "safety_identifier": "i",
        "verbosity": "low",
        "response_format": {"type": "text"},
        "tools": [{"type": "function", "function": {"name": "t", "description": "d", "parameters": schema}}],
        "tool_choice": "auto",
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "name": "n",
                "content": [
                    {"type": "text", "text": "Hello"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_IMAGE}"}},
                ],
            },
            {"role": "assistant", "content": "a", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "r"},
        ],
    }


def _variants(value: object, text: str) -> Iterator[object]:
    """The value with one string at a time replaced."""
    match value:
        case str():
            yield text
        case list():
            for index, item in enumerate(value):
                for changed in _variants(item, text):
                    yield [*value[:index], changed, *value[index + 1 :]]
        case dict():
            for name, item in value.items():
                for changed in _variants(item, text):
                    yield value | {name: changed}
        case _:
            return


def _unsteered(canary: Canary, claude: Simulator) -> None:
    assert canary.visits == []
    assert all(received.key.startswith("canary-key-") for received in claude.record.requests)
    assert all(received.path.startswith("/v1/messages") for received in claude.record.requests)


@pytest.mark.parametrize(
    ("path", "make"), [("/v1/messages", _messages), ("/v1/chat/completions", _chat)], ids=["messages", "chat"]
)
@pytest.mark.parametrize("suffix", ["", "/v1/messages", "/image.png"])
async def test_an_address_in_any_text_field_of_a_body_is_never_visited(
    server: Gateway, claude: Simulator, canary: Canary, path: str, make: Callable[[], object], suffix: str
) -> None:
    """Protects the network behind the gateway, and the keys that would go there."""
    url = canary.url + suffix
    served = 0
    for body in _variants(make(), url):
        answer = await ask(server.url, path, msgspec.json.encode(body))
        assert answer.status in {200, 400, 404}, answer.body
        assert b"canary-key" not in answer.body
        served += answer.status == 200
    _unsteered(canary, claude)
    assert served == claude.record.statuses[200] > 5


@pytest.mark.parametrize("field", _STEERING_FIELDS)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_a_field_that_other_gateways_obey_is_not_obeyed(
    server: Gateway, claude: Simulator, canary: Canary, path: str, field: str
) -> None:
    """Protects against the fields by which clients of other gateways choose address, key or configuration."""
    plain: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
    if path == "/v1/messages":
        plain["max_tokens"] = 64
    nested = {"api_base": canary.url, "base_url": canary.url, "api_key": "x", "url": canary.url}
    for value in (canary.url, nested, [nested], [canary.url]):
        await ask(server.url, path, msgspec.json.encode(plain | {field: value}))
    _unsteered(canary, claude)


@pytest.mark.parametrize(
    "name",
    [
        "host",
        "x-forwarded-host",
        "x-api-base",
        "api-base",
        "x-base-url",
        "x-upstream",
        "x-carousel-upstream",
        "x-carousel-credential",
        "anthropic-base-url",
        "openai-organization",
        "location",
        "referer",
        "origin",
        "via",
        "forwarded",
        "proxy",
        "http-proxy",
        "https-proxy",
        "all-proxy",
        "x-proxy",
        "anthropic-version",
        "anthropic-beta",
        "x-request-id",
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_an_address_in_a_header_is_never_visited(
    server: Gateway, claude: Simulator, canary: Canary, path: str, name: str
) -> None:
    """Protects against the headers that choose where other gateways go."""
    plain = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64}
    for value in (canary.url, canary.url.removeprefix("http://")):
        await ask(server.url, path, msgspec.json.encode(plain), headers={name: value})
    _unsteered(canary, claude)


@pytest.mark.parametrize(
    "query",
    ["api_base={}", "base_url={}", "url={}", "model={}", "beta={}", "proxy={}", "key=x&endpoint={}", "{}"],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_an_address_in_the_query_is_never_visited(
    server: Gateway, claude: Simulator, canary: Canary, path: str, query: str
) -> None:
    """Protects against the query fields that choose where other gateways go; none goes upstream either."""
    plain = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64}
    answer = await ask(server.url, f"{path}?{query.format(canary.url)}", msgspec.json.encode(plain))
    assert answer.status == 200
    _unsteered(canary, claude)
    assert [received.path for received in claude.record.requests] == ["/v1/messages"]


async def test_an_upstream_redirect_takes_no_key_along(
    server: Gateway, claude: Simulator, canary: Canary
) -> None:
    """Protects keys from an upstream, or somebody in its place, that sends the call elsewhere."""
    plain = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64}
    for status in (301, 302, 303, 307, 308):
        claude.script("*", then=_redirect(status, canary.url))
        answer = await ask(server.url, "/v1/messages", msgspec.json.encode(plain))
        assert answer.status in {502, 503}
        assert answer.header("location") is None
        assert canary.url.encode() not in answer.body
    _unsteered(canary, claude)


def _redirect(status: int, url: str) -> Step:
    return Step(do="redirect", status=status, location=url)


async def test_the_canary_would_notice_a_visit(canary: Canary) -> None:
    """Protects the tests above from a listener that hears nothing."""
    host, port = canary.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"hello")
    await reader.read()
    writer.close()
    assert canary.visits == [b"hello"]
    canary.visits.clear()
