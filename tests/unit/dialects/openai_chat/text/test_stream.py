"""Text completions: whole answers, and streams that say the same."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import AnswerForm, Rendering, ThinkingFormat
from proxy.dialects.openai_chat.text import OpenAITextDialect
from proxy.dialects.sse import SseDecoder
from proxy.errors import GatewayError, InvalidRequest
from proxy.model.content import Block, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import ErrorBody, ErrorEvent, Event, MessageStop
from proxy.model.message import Message, Usage
from proxy.model.spell import spelled
from tests.unit.model.streams import legal_streams

_TEXT = OpenAITextDialect()


def _rendering(*, usage: bool = True, shown: str = "reasoning_content", echo: str = "") -> Rendering:
    return Rendering(
        request_id="req_1",
        created_s=5,
        model="m",
        thinking_format=ThinkingFormat(shown),
        include_usage=usage,
        form=AnswerForm(echo=echo),
    )


def _message(*content: Block, stop: str = "end_turn") -> Message:
    return Message(id="msg_01A", content=[*content], stop_reason=stop, usage=Usage(3, 7))


def _chunks(out: bytes) -> list[dict[str, object]]:
    *data, done = [frame.data for frame in SseDecoder(1 << 20).feed(out)]
    assert done == b"[DONE]"
    return [msgspec.json.decode(each) for each in data]


_ANSWERS: list[tuple[Message, str, str, str, str]] = [
    (_message(TextBlock("a"), TextBlock("b")), "none", "", "ab", "stop"),
    (_message(), "none", "", "", "stop"),
    (_message(TextBlock("a")), "none", "said: ", "said: a", "stop"),
    (_message(TextBlock("a"), stop="max_tokens"), "none", "", "a", "length"),
    (_message(TextBlock("a"), stop="stop_sequence"), "none", "", "a", "stop"),
    (_message(ThinkingBlock("t", "s"), TextBlock("a")), "reasoning_content", "", "a", "stop"),
    (_message(ThinkingBlock("t", "s"), TextBlock("a")), "think", "", "<think>t</think>a", "stop"),
    (_message(ThinkingBlock("", "s"), TextBlock("a")), "both", "", "a", "stop"),
    (_message(stop="refusal"), "none", "", "", "content_filter"),
    (
        _message(ToolUseBlock("t", "f", msgspec.Raw(b"{}")), stop="tool_use"),
        "none",
        "",
        "",
        "tool_calls",
    ),
]


@pytest.mark.parametrize(("message", "shown", "echo", "text", "finish"), _ANSWERS)
def test_a_whole_answer(message: Message, shown: str, echo: str, text: str, finish: str) -> None:
    """Text, and why it ended."""
    found = msgspec.json.decode(_TEXT.encode_message(message, _rendering(shown=shown, echo=echo)))
    usage = found.pop("usage")
    assert found == {
        "id": "cmpl-01A",
        "object": "text_completion",
        "created": 5,
        "model": "m",
        "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}],
    }
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (3, 7, 10)


@pytest.mark.parametrize(("message", "shown", "echo", "text", "finish"), _ANSWERS)
@pytest.mark.parametrize("usage", [True, False])
def test_a_stream_says_the_same(
    message: Message, shown: str, echo: str, text: str, finish: str, usage: bool
) -> None:
    """In chunks, with usage only where it was asked for, and ``[DONE]`` at the end."""
    encoder = _TEXT.stream_encoder(_rendering(usage=usage, shown=shown, echo=echo))
    chunks = _chunks(b"".join(encoder.encode([event]) for event in spelled(message)))
    if usage:
        last = chunks.pop()
        assert last["choices"] == []
        assert msgspec.convert(last["usage"], dict[str, object])["total_tokens"] == 10
        assert all(chunk["usage"] is None for chunk in chunks)
    else:
        assert all("usage" not in chunk for chunk in chunks)
    choices = [msgspec.convert(chunk["choices"], list[dict[str, object]])[0] for chunk in chunks]
    assert "".join(str(choice["text"]) for choice in choices) == text
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + [finish]
    assert {(chunk["id"], chunk["object"], chunk["created"]) for chunk in chunks} == {
        ("cmpl-01A", "text_completion", 5)
    }


@given(legal_streams(), st.sampled_from(ThinkingFormat), st.lists(st.integers(1, 5), max_size=9))
def test_any_legal_stream_ends_once_and_only_when_it_is_whole(
    events: list[Event], shown: ThinkingFormat, batches: list[int]
) -> None:
    """Batches change nothing; a stream that breaks off has neither a finish reason nor ``[DONE]``."""
    out = _TEXT.stream_encoder(_rendering(shown=shown)).encode(events)
    encoder, pieces, rest = _TEXT.stream_encoder(_rendering(shown=shown)), b"", events
    for size in [*batches, len(events)]:
        pieces, rest = pieces + encoder.encode(rest[:size]), rest[size:]
    assert pieces == out
    whole = isinstance(events[-1], MessageStop)
    assert out.count(b"data: [DONE]") == whole
    assert out.count(b'"finish_reason":"') == whole


def test_errors_are_those_of_openais_other_apis() -> None:
    """Before and after the first byte; an error event gives no bytes of its own."""
    error: GatewayError = InvalidRequest("no", param="prompt")
    assert msgspec.json.decode(_TEXT.render_error(error, "req_1").body)["error"]["param"] == "prompt"
    assert _TEXT.error_frame(error, "req_1").startswith(b'data: {"error"')
    assert _TEXT.stream_encoder(_rendering()).encode([ErrorEvent(ErrorBody())]) == b""
