"""Whole answers of other APIs."""

import msgspec
import pytest

from proxy.dialects.openai_chat.upstream.answer import decode_message, summarize
from proxy.dialects.upstream import MessageBroken, Summary
from proxy.model.content import TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.message import StopDetails
from tests.unit.dialects.openai_chat.upstream.building import USAGE
from tests.unit.dialects.openai_chat.upstream.test_stream import SPENT_CANONICAL


def completion(finish: str | None = "stop", **message: object) -> bytes:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return msgspec.json.encode({"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": USAGE})


def called(**function: object) -> dict[str, object]:
    """A tool call."""
    return {"id": "call_1", "type": "function", "function": function}


def test_a_whole_answer_has_its_parts_in_order() -> None:
    """Protects thinking, text, calls, usage and the reason of the end."""
    found = decode_message(
        completion(
            "tool_calls",
            content="Hi",
            reasoning_content="Hm",
            tool_calls=[called(name="f", arguments='{"a": 1}')],
        )
    )
    assert found.content == [
        ThinkingBlock("Hm", "gw1.unsigned"),
        TextBlock("Hi"),
        ToolUseBlock("call_1", "f", msgspec.Raw(b'{"a": 1}')),
    ]
    assert (found.id, found.model, found.stop_reason) == ("msg_1", "m", "tool_use")
    assert found.usage == SPENT_CANONICAL


def test_a_refusal_is_told_with_its_words() -> None:
    """Protects clients from an empty answer without a reason."""
    found = decode_message(completion(refusal="I will not."))
    assert (found.content, found.stop_reason) == ([], "refusal")
    assert found.stop_details == StopDetails("refusal", None, "I will not.")


@pytest.mark.parametrize(
    ("arguments", "finish", "inputs"),
    [
        ("", "tool_calls", [{}]),
        (None, "tool_calls", [{}]),
        ('{"a"', "tool_calls", [{"_raw_arguments": '{"a"'}]),
        ('{"a"', "length", []),
        ("[1]", "stop", [{"_raw_arguments": "[1]"}]),
    ],
)
def test_arguments_become_an_object_whatever_the_model_wrote(
    arguments: str | None, finish: str, inputs: list[object]
) -> None:
    """Protects clients from input that is no object; what a limit cut off is no call."""
    found = decode_message(completion(finish, tool_calls=[called(name="f", arguments=arguments)]))
    blocks = [block for block in found.content if isinstance(block, ToolUseBlock)]
    assert [msgspec.json.decode(block.input) for block in blocks] == inputs


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"choices":[]}',
        b'{"error":{"message":"no"}}',
        b'{"choices":[{}]}',
        b'{"choices":[{"message":{"tool_calls":[{"id":"x"}]}}]}',
        b"[" * 100_000,
        b"<html>",
    ],
)
def test_a_body_without_an_answer_is_none(body: bytes) -> None:
    """Protects clients from an empty answer where there was a failure."""
    with pytest.raises(MessageBroken):
        decode_message(body)


def test_an_answer_that_passes_is_only_looked_at() -> None:
    """Protects accounts, and answers whose other parts are newer than we are."""
    assert summarize(completion("length", content=["new", "shape"])) == Summary(SPENT_CANONICAL, "max_tokens")
    assert summarize(b'{"choices":[{"finish_reason":"stop"}],"usage":"x"}') == Summary(None, "end_turn")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices":[]}', b'{"error":{"message":"no"}}', b"<html>"])
def test_what_passes_has_to_be_an_answer(body: bytes) -> None:
    """Protects clients from a success that is none."""
    with pytest.raises(MessageBroken):
        summarize(body)
