"""A whole answer as a chat completion."""

from collections.abc import Sequence

import msgspec
import pytest

from proxy.dialects.common import Rendering, ThinkingFormat, Thought
from proxy.dialects.openai_chat.response import (
    FINISH_REASONS,
    completion_id,
    completion_usage,
    encode_message,
    finish_reason,
)
from proxy.model.content import Block, RedactedThinkingBlock, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.message import Message, OutputTokensDetails, StopDetails, Usage


def _choice(*content: Block, stop: str = "end_turn", shown: str = "reasoning_content") -> dict[str, object]:
    rendering = Rendering(request_id="r", created_s=1, model="m", thinking_format=ThinkingFormat(shown))
    message = Message(
        id="msg_1", content=[*content], stop_reason=stop, stop_details=StopDetails(explanation="E")
    )
    choices = msgspec.json.decode(encode_message(message, rendering))["choices"]
    return msgspec.convert(choices[0], dict[str, object])


_CALL = ToolUseBlock("t", "f", msgspec.Raw(b'{"a": 1}'))
_TOLD = {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def test_the_whole_object() -> None:
    """Every key its clients expect."""
    message = Message(
        id="msg_01A",
        model="asked",
        content=[TextBlock("a"), TextBlock("b")],
        stop_reason="end_turn",
        usage=Usage(input_tokens=12, output_tokens=89, service_tier="standard"),
    )
    rendering = Rendering(request_id="r", created_s=1795210000, model="shown")
    assert msgspec.json.decode(encode_message(message, rendering)) == {
        "id": "chatcmpl-01A",
        "object": "chat.completion",
        "created": 1795210000,
        "model": "shown",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 89,
            "total_tokens": 101,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": None,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], {"content": ""}),
        ([_CALL], {"content": None, "tool_calls": [_TOLD]}),
        ([TextBlock("a"), _CALL], {"content": "a", "tool_calls": [_TOLD]}),
        ([ThinkingBlock(""), TextBlock("a")], {"content": "a"}),
        ([msgspec.Raw(b'{"type":"new"}'), TextBlock("a")], {"content": "a"}),
        ([ThinkingBlock("t"), TextBlock("a")], {"content": "a", "reasoning_content": "t"}),
    ],
)
def test_content(content: list[Block], message: dict[str, object]) -> None:
    """Null only beside tool calls; what the dialect has no word for is left out."""
    assert _choice(*content)["message"] == {"role": "assistant", "refusal": None} | message


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ("think", {"content": "<think>t</think>a"}),
        ("reasoning_content", {"content": "a", "reasoning_content": "t"}),
        ("both", {"content": "<think>t</think>a", "reasoning_content": "t"}),
        ("none", {"content": "a"}),
    ],
)
def test_thinking_is_shown_as_asked(shown: str, message: dict[str, str]) -> None:
    """In the text, beside it, both, or not at all."""
    found = _choice(ThinkingBlock("t"), TextBlock("a"), shown=shown)["message"]
    assert found == {"role": "assistant", "refusal": None} | message


_PROVEN = {
    "type": "reasoning.text",
    "text": "t",
    "signature": "s",
    "format": "anthropic-claude-v1",
    "index": 0,
}
_SEALED = {"type": "reasoning.encrypted", "data": "x", "format": "anthropic-claude-v1", "index": 1}


@pytest.mark.parametrize(
    ("shown", "details"),
    [
        ("reasoning_content", [_PROVEN, _SEALED]),
        ("think", [_PROVEN, _SEALED]),
        ("both", [_PROVEN, _SEALED]),
        ("none", None),
    ],
)
def test_signed_thinking_is_told_so_that_it_can_be_sent_back(shown: str, details: object) -> None:
    """But not where the operator shows no thinking at all."""
    content: list[Block] = [ThinkingBlock("t", "s"), RedactedThinkingBlock("x"), TextBlock("a")]
    message = msgspec.convert(_choice(*content, shown=shown)["message"], dict[str, object])
    assert message.get("reasoning_details") == details


@pytest.mark.parametrize(
    ("content", "stop", "kept"),
    [
        (
            (ThinkingBlock("t", "s"), _CALL, ToolUseBlock("u", "f", msgspec.Raw(b"{}"))),
            "tool_use",
            [("t", [Thought(0, ThinkingBlock("t", "s"))])],
        ),
        ((ThinkingBlock("t"), _CALL), "tool_use", []),
        ((ThinkingBlock("t", "s"), TextBlock("a")), "end_turn", []),
        ((_CALL,), "tool_use", []),
        ((ThinkingBlock("t", "s"), _CALL), "refusal", []),
    ],
)
def test_the_thinking_of_a_turn_that_calls_tools_is_kept(
    content: tuple[Block, ...], stop: str, kept: list[object]
) -> None:
    """By the id of its first call, which every client sends back; a refused turn is thrown away."""
    found: list[tuple[str, Sequence[Thought]]] = []

    def keep(call_id: str, thoughts: Sequence[Thought]) -> None:
        found.append((call_id, thoughts))

    rendering = Rendering(
        request_id="r", created_s=1, model="m", thinking_format=ThinkingFormat.NONE, keep=keep
    )
    encode_message(Message(content=[*content], stop_reason=stop), rendering)
    assert found == kept


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "stop"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        ("compaction", "stop"),
        ("invented_later", "stop"),
    ],
)
def test_every_reason_to_stop(stop: str, finish: str) -> None:
    """Including those yet to be invented."""
    assert finish_reason(stop) == finish
    assert _choice(TextBlock("a"), stop=stop)["finish_reason"] == finish
    assert set(FINISH_REASONS.values()) <= {"stop", "length", "tool_calls", "content_filter"}


def test_a_refusal_throws_away_what_came_before() -> None:
    """Its tool calls above all."""
    message = _choice(TextBlock("a"), _CALL, stop="refusal")["message"]
    assert message == {"role": "assistant", "content": None, "refusal": "E"}


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (Usage(input_tokens=1), (1, 0, 0, 0, 0)),
        (Usage(output_tokens=2), (0, 2, 0, 0, 0)),
        (
            Usage(
                input_tokens=12,
                output_tokens=89,
                cache_creation_input_tokens=2048,
                cache_read_input_tokens=512,
                output_tokens_details=OutputTokensDetails(31),
            ),
            (2572, 89, 512, 2048, 31),
        ),
    ],
)
def test_usage_includes_the_cache(usage: Usage, counts: tuple[int, int, int, int, int]) -> None:
    """Anthropic counts it apart, OpenAI within."""
    found = completion_usage(usage)
    assert found is not None
    assert found.total_tokens == counts[0] + counts[1]
    assert (
        found.prompt_tokens,
        found.completion_tokens,
        found.prompt_tokens_details.cached_tokens,
        found.prompt_tokens_details.cache_write_tokens,
        found.completion_tokens_details.reasoning_tokens,
    ) == counts


def test_unknown_usage_is_null_not_zero() -> None:
    """Nobody is told that an answer was free."""
    assert completion_usage(Usage()) is None


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        (Usage(), None),
        (Usage(service_tier="priority"), "priority"),
        (Usage(service_tier="standard", speed="fast"), "priority"),
        (Usage(service_tier="batch"), None),
    ],
)
def test_tiers(usage: Usage, tier: str | None) -> None:
    """In OpenAI's words."""
    body = encode_message(Message(usage=usage), Rendering(request_id="r", created_s=1, model="m"))
    assert msgspec.json.decode(body)["service_tier"] == tier


def test_ids_look_like_openais() -> None:
    """Also for an answer without one."""
    assert completion_id("msg_1") == "chatcmpl-1"
    body = msgspec.json.decode(
        encode_message(Message(), Rendering(request_id="req_9", created_s=1, model=""))
    )
    assert body["id"] == "chatcmpl-req_9"


def test_tool_input_that_is_no_utf8_is_still_an_answer() -> None:
    """Raw bytes of an upstream never become an exception."""
    call = ToolUseBlock("t", "f", msgspec.Raw(b'{"a":"\xff"}'))
    assert "\ufffd" in str(_choice(call)["message"])
