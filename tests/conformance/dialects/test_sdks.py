"""The official clients are the judges: what they read from our bytes is what the upstream said."""

from typing import cast

import anthropic
import httpx2
import msgspec
import openai
import pytest

from proxy.dialects.anthropic import AnthropicDialect, StreamDecoder, decode_message
from proxy.dialects.common import Rendering, ThinkingFormat
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.errors import ErrorKind, GatewayError
from proxy.model.collect import Collector
from proxy.model.message import Message
from tests.conformance.dialects.slicing import NAMES, stream

_CAP_BYTES = 1 << 20
_RENDERING = Rendering(request_id="req_1", created_s=1795210000, model="claude-opus-5-5", include_usage=True)
_WHOLE = [name for name in NAMES if name != "error_mid_stream"]
_CHAT = OpenAIChatDialect()
_MESSAGES = AnthropicDialect()
_ERROR = GatewayError(529, ErrorKind.OVERLOADED, "Everyone is busy.")


def _collected(name: str) -> Message:
    collector = Collector()
    for event in StreamDecoder(_CAP_BYTES).feed(stream(name)):
        collector.add(event)
    return collector.message()


def _chat_bytes(name: str) -> bytes:
    return _CHAT.stream_encoder(_RENDERING).encode(StreamDecoder(_CAP_BYTES).feed(stream(name)))


def _message_bytes(name: str) -> bytes:
    return _MESSAGES.stream_encoder(_RENDERING).encode(StreamDecoder(_CAP_BYTES).feed(stream(name)))


def _transport(body: bytes, status: int = 200, *, stream: bool = True) -> httpx2.Client:
    kind = "text/event-stream; charset=utf-8" if stream else "application/json"
    answer = httpx2.Response(status, content=body, headers={"content-type": kind})
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))


def _openai(client: httpx2.Client) -> openai.OpenAI:
    return openai.OpenAI(api_key="k", base_url="http://gateway/v1", http_client=client, max_retries=0)


def _anthropic(client: httpx2.Client) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="k", base_url="http://gateway", http_client=client, max_retries=0)


def _said(message: Message) -> dict[str, object]:
    return cast(dict[str, object], msgspec.json.decode(_CHAT.encode_message(message, _RENDERING)))


@pytest.mark.parametrize("name", _WHOLE)
def test_openai_reads_the_stream_as_the_whole_answer(name: str) -> None:
    """Streamed and unary answers are the same to OpenAI's client."""
    expected = _said(_collected(name))["choices"][0]  # type: ignore[index]  # JSON
    content, reasoning, refusal, finish, usage = "", "", "", None, None
    calls: dict[int, dict[str, str]] = {}
    with _transport(_chat_bytes(name)) as client:
        chunks = _openai(client).chat.completions.create(model="m", messages=[], stream=True)
        for chunk in chunks:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                delta = choice.delta
                content += delta.content or ""
                reasoning += (delta.model_extra or {}).get("reasoning_content", "")
                refusal += delta.refusal or ""
                finish = choice.finish_reason or finish
                for call in delta.tool_calls or ():
                    known = calls.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
                    known["id"] += call.id or ""
                    if call.function is not None:
                        known["name"] += call.function.name or ""
                        known["arguments"] += call.function.arguments or ""
    message = expected["message"]
    assert finish == expected["finish_reason"]
    assert usage is not None
    assert list(calls) == list(range(len(calls)))
    if finish == "content_filter":
        assert refusal == message["refusal"]
        return
    assert content == (message["content"] or "")
    assert reasoning == message.get("reasoning_content", "")
    if finish != "length":
        told = [call["function"] | {"id": call["id"]} for call in message.get("tool_calls", ())]
        assert list(calls.values()) == told


@pytest.mark.parametrize("name", [name for name in _WHOLE if "refusal" not in name and name != "max_tokens"])
def test_openai_stream_helper_accumulates_it(name: str) -> None:
    """The helper that joins chunks trips over repeated roles, ids and names, and over gaps in indexes."""
    with _transport(_chat_bytes(name)) as client:
        chat = _openai(client).chat.completions
        with chat.stream(model="m", messages=[], stream_options={"include_usage": True}) as events:
            final = events.get_final_completion()
    said = final.choices[0].message
    assert said.role == "assistant"
    for call in said.tool_calls or ():
        assert isinstance(msgspec.json.decode(call.function.arguments), dict)


@pytest.mark.parametrize("name", _WHOLE)
def test_openai_reads_the_unary_answer(name: str) -> None:
    """The unary body is a ChatCompletion with usage that adds up."""
    body = _CHAT.encode_message(_collected(name), _RENDERING)
    with _transport(body, stream=False) as client:
        answer = _openai(client).chat.completions.create(model="m", messages=[])
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.model_dump(mode="json")["choices"][0]["finish_reason"]


@pytest.mark.parametrize("name", [name for name in _WHOLE if name != "max_tokens"])
def test_anthropic_stream_helper_accumulates_it(name: str) -> None:
    """Anthropic's helper needs usage in the first event, contiguous indexes and valid tool input."""
    with (
        _transport(_message_bytes(name)) as client,
        _anthropic(client).messages.stream(model="m", max_tokens=1, messages=[]) as events,
    ):
        final = events.get_final_message()
    expected = _collected(name)
    assert final.stop_reason == expected.stop_reason
    assert [block.type for block in final.content] == [
        block["type"]
        for block in msgspec.json.decode(_MESSAGES.encode_message(expected, _RENDERING))["content"]
    ]


@pytest.mark.parametrize("name", _WHOLE)
def test_a_unary_messages_body_survives_us(name: str) -> None:
    """Encoding and decoding a message loses nothing."""
    message = _collected(name)
    body = _MESSAGES.encode_message(message, _RENDERING)
    again = _MESSAGES.encode_message(decode_message(body), _RENDERING)
    assert msgspec.json.decode(again) == msgspec.json.decode(body)
    assert len(decode_message(body).content) == len(message.content)


def test_openai_raises_on_an_error_frame() -> None:
    """An error after the commit is an exception, not an answer that looks finished."""
    events = StreamDecoder(_CAP_BYTES).feed(stream("error_mid_stream"))
    body = _CHAT.stream_encoder(_RENDERING).encode(events) + _CHAT.error_frame(_ERROR, "req_1")
    with _transport(body) as client, pytest.raises(openai.APIError, match="Everyone is busy") as caught:
        list(_openai(client).chat.completions.create(model="m", messages=[], stream=True))
    assert caught.value.code == "server_is_overloaded"


def test_anthropic_raises_on_an_error_frame() -> None:
    """The same for Messages clients, whose helper accepts any stream that just stops."""
    events = StreamDecoder(_CAP_BYTES).feed(stream("error_mid_stream"))
    body = _MESSAGES.stream_encoder(_RENDERING).encode(events) + _MESSAGES.error_frame(_ERROR, "req_1")
    with _transport(body) as client, pytest.raises(anthropic.APIStatusError) as caught:
        list(_anthropic(client).messages.create(model="m", max_tokens=1, messages=[], stream=True))
    assert caught.value.type == "overloaded_error"


def test_keep_alives_are_seen_by_nobody() -> None:
    """Keep-alive frames between events change nothing for either client."""
    chat = _chat_bytes("text").replace(b"\n\n", b"\n\n" + _CHAT.keep_alive)
    with _transport(chat) as client:
        chunks = list(_openai(client).chat.completions.create(model="m", messages=[], stream=True))
    assert (
        "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        == "The capital of France is Paris."
    )
    messages = _message_bytes("text").replace(b"\n\n", b"\n\n" + _MESSAGES.keep_alive)
    with (
        _transport(messages) as other,
        _anthropic(other).messages.stream(model="m", max_tokens=1, messages=[]) as events,
    ):
        assert events.get_final_text() == "The capital of France is Paris."


_ERRORS = [
    (
        GatewayError(400, ErrorKind.INVALID_REQUEST, "no", param="n"),
        openai.BadRequestError,
        anthropic.BadRequestError,
    ),
    (
        GatewayError(401, ErrorKind.AUTHENTICATION, "no"),
        openai.AuthenticationError,
        anthropic.AuthenticationError,
    ),
    (
        GatewayError(403, ErrorKind.PERMISSION, "no"),
        openai.PermissionDeniedError,
        anthropic.PermissionDeniedError,
    ),
    (GatewayError(404, ErrorKind.NOT_FOUND, "no"), openai.NotFoundError, anthropic.NotFoundError),
    (GatewayError(429, ErrorKind.RATE_LIMIT, "no"), openai.RateLimitError, anthropic.RateLimitError),
    (GatewayError(502, ErrorKind.API, "no"), openai.InternalServerError, anthropic.InternalServerError),
    (_ERROR, openai.InternalServerError, anthropic.InternalServerError),
]


@pytest.mark.parametrize(("error", "theirs", "also"), _ERRORS)
def test_errors_raise_the_documented_class(
    error: GatewayError, theirs: type[openai.APIStatusError], also: type[anthropic.APIStatusError]
) -> None:
    """Each status reaches the class its users catch."""
    rendered = _CHAT.render_error(error, "req_1")
    with _transport(rendered.body, rendered.status, stream=False) as client, pytest.raises(theirs) as chat:
        _openai(client).chat.completions.create(model="m", messages=[])
    assert chat.value.param == error.param
    rendered = _MESSAGES.render_error(error, "req_1")
    with _transport(rendered.body, rendered.status, stream=False) as client, pytest.raises(also) as messages:
        _anthropic(client).messages.create(model="m", max_tokens=1, messages=[])
    assert messages.value.type == error.kind


def test_thinking_formats_are_the_same_streamed_and_whole() -> None:
    """Each way to show thinking gives the same text in both kinds of answer."""
    events = StreamDecoder(_CAP_BYTES).feed(stream("thinking_summarized"))
    for shown in ThinkingFormat:
        rendering = Rendering(request_id="r", created_s=1, model="m", thinking_format=shown)
        whole = msgspec.json.decode(_CHAT.encode_message(_collected("thinking_summarized"), rendering))
        with _transport(_CHAT.stream_encoder(rendering).encode(events)) as client:
            chunks = list(_openai(client).chat.completions.create(model="m", messages=[], stream=True))
        deltas = [chunk.choices[0].delta for chunk in chunks]
        message = whole["choices"][0]["message"]
        assert "".join(delta.content or "" for delta in deltas) == message["content"]
        reasoning = "".join((delta.model_extra or {}).get("reasoning_content", "") for delta in deltas)
        assert reasoning == message.get("reasoning_content", "")
