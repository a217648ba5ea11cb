"""Chat messages to system text and turns."""

import msgspec
import pytest

from proxy.dialects.common import Dropped, Thought
from proxy.dialects.decoding import decode_json
from proxy.dialects.openai_chat.messages import Conversation, read_messages
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.errors import InvalidRequest
from proxy.model.content import (
    Block,
    DocumentBlock,
    ImageBlock,
    ResultContent,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from proxy.model.request import InputMessage


def _read(*messages: dict[str, object]) -> Conversation:
    chat = decode_json(ChatRequest, msgspec.json.encode({"messages": messages}))
    return read_messages(chat.messages, recall=lambda _: ())


def _text(*texts: str) -> list[Block]:
    return [TextBlock(text) for text in texts]


def _calls(*calls: dict[str, object]) -> dict[str, object]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", **call} for call in calls],
    }


def test_leading_instructions_are_one_block_each() -> None:
    """Never joined, so that a cached prefix stays one; blank ones are left out."""
    found = _read(
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
        {"role": "system", "content": " "},
        {"role": "user", "content": "q"},
        {"role": "developer", "content": "d"},
    )
    assert found.system == _text("a", "b", "c")
    assert found.turns == [InputMessage("user", _text("q")), InputMessage("system", _text("d"))]


@pytest.mark.parametrize(
    ("message", "turn"),
    [
        ({"role": "user", "content": "q"}, InputMessage("user", _text("q"))),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            InputMessage("user", _text("a", "b")),
        ),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://h/a", "detail": "low"}}],
            },
            InputMessage("user", [ImageBlock(UrlSource("https://h/a"))]),
        ),
        ({"role": "assistant", "content": "a"}, InputMessage("assistant", _text("a"))),
        ({"role": "assistant", "content": None}, InputMessage("assistant", [])),
        ({"role": "assistant", "refusal": "no"}, InputMessage("assistant", _text("no"))),
        (
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}],
            },
            InputMessage("assistant", _text("a", "b")),
        ),
        (
            {"role": "assistant", "content": "a", "reasoning_content": "x"},
            InputMessage("assistant", _text("a")),
        ),
    ],
)
def test_each_role(message: dict[str, object], turn: InputMessage) -> None:
    """Content parts become blocks; reasoning without a signature cannot go back."""
    assert _read(message).turns == [turn]


_THINKING = ThinkingBlock("t", "s")
_BROUGHT = {"type": "reasoning.text", "text": "t", "signature": "s"}
_FOREIGN = {"type": "reasoning.text", "text": "t", "signature": "gw1.x"}
_LOOK: dict[str, object] = {"id": "a", "function": {"name": "f", "arguments": ""}}


@pytest.mark.parametrize(
    ("details", "thinking_back", "thinking", "lost"),
    [
        (None, True, [ThinkingBlock("r", "of a")], []),
        ([], True, [ThinkingBlock("r", "of a")], []),
        ([_BROUGHT], True, [_THINKING], []),
        ([_BROUGHT, _FOREIGN], True, [_THINKING], ["messages[0].reasoning_details"]),
        ([_FOREIGN], True, [ThinkingBlock("r", "of a")], ["messages[0].reasoning_details"]),
        ([_BROUGHT], False, [ThinkingBlock("r", "of a")], ["messages[0].reasoning_details"]),
    ],
)
def test_a_tool_turn_has_its_thinking_back(
    details: object, thinking_back: bool, thinking: list[Block], lost: list[str]
) -> None:
    """What the client brings comes before what is remembered; what cannot be sent is told."""
    message = _calls(_LOOK, {"id": "b", "function": {"name": "f", "arguments": ""}})
    raw = msgspec.json.encode({"messages": [message | {"reasoning_details": details}]})
    found = read_messages(
        decode_json(ChatRequest, raw).messages,
        recall=lambda call_id: [Thought(0, ThinkingBlock("r", f"of {call_id}"))],
        thinking_back=thinking_back,
    )
    assert found.turns[0].content[:-2] == thinking
    assert [loss.field for loss in found.dropped] == lost


def test_a_turn_without_calls_has_what_the_client_brings() -> None:
    """Nothing is remembered of it."""
    turns = _read({"role": "assistant", "content": "a", "reasoning_details": [_BROUGHT]}).turns
    assert turns[0].content == [_THINKING, TextBlock("a")]


@pytest.mark.parametrize("details", ["text", [1], [{"text": "t"}], [_BROUGHT | {"index": "0"}]])
def test_details_of_another_shape_are_refused_by_name(details: object) -> None:
    """Protects clients from thinking lost without a word."""
    with pytest.raises(InvalidRequest) as refused:
        _read({"role": "assistant", "content": "a", "reasoning_details": details})
    assert str(refused.value.param).startswith("messages[0].reasoning_details")


@pytest.mark.parametrize(
    ("arguments", "tool_input"),
    [
        ('{"b": 1, "a": 2}', b'{"b": 1, "a": 2}'),
        ("", b"{}"),
        ("{", b'{"_raw_arguments":"{"}'),
        ("[1]", b'{"_raw_arguments":"[1]"}'),
    ],
)
def test_arguments_become_an_object(arguments: str, tool_input: bytes) -> None:
    """Byte for byte where they are one, so that the history never changes."""
    turns = _read(_calls({"id": "a", "function": {"name": "f", "arguments": arguments}})).turns
    assert turns[0].content == [ToolUseBlock("a", "f", msgspec.Raw(tool_input))]


def test_results_find_their_calls() -> None:
    """Also where the ids are not ones the upstream takes."""
    found = _read(
        _calls({"id": "functions.f:0", "function": {"name": "f", "arguments": ""}}),
        {"role": "tool", "tool_call_id": "functions.f:0", "content": [{"type": "text", "text": "r"}]},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": None},
    )
    call = found.turns[0].content[0]
    assert isinstance(call, ToolUseBlock)
    assert found.turns[1].content == [ToolResultBlock(call.id, [TextBlock("r")])]
    assert found.turns[2].content == [ToolResultBlock("", [])]


def test_custom_calls_in_the_history_are_kept() -> None:
    """As the input they had."""
    call: dict[str, object] = {"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}
    assert _read(_calls(call)).turns[0].content == [ToolUseBlock("a", "f", msgspec.Raw(b'{"input":"x"}'))]


def test_calls_of_the_old_style_find_their_results() -> None:
    """They have no ids: a result belongs to the latest call of its function."""
    found = _read(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
        {"role": "function", "name": "f", "content": "one"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
        {"role": "function", "name": "f", "content": "two"},
        {"role": "function", "name": "g", "content": "three"},
    )
    first, second = found.turns[0].content[0], found.turns[2].content[0]
    assert isinstance(first, ToolUseBlock)
    assert isinstance(second, ToolUseBlock)
    assert (bytes(first.input), bytes(second.input)) == (b'{"a":1}', b"{}")
    assert first.id != second.id
    assert found.turns[1].content == [ToolResultBlock(first.id, [TextBlock("one")])]
    assert found.turns[3].content == [ToolResultBlock(second.id, [TextBlock("two")])]
    assert found.turns[4].content == [ToolResultBlock("", [TextBlock("three")])]
    assert found.dropped == []


def test_results_may_hold_images_and_documents() -> None:
    """Though OpenAI's own take text alone."""
    image = {"type": "image_url", "image_url": {"url": "https://h/a"}}
    file = {"type": "file", "file": {"file_data": "https://h/b.pdf"}}
    found = _read(
        _calls({"id": "a", "function": {"name": "f"}}),
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "r"}, image, file]},
    )
    content: list[ResultContent] = [
        TextBlock("r"), ImageBlock(UrlSource("https://h/a")), DocumentBlock(UrlSource("https://h/b.pdf")),
    ]  # fmt: skip
    assert found.turns[1].content == [ToolResultBlock("a", content)]


@pytest.mark.parametrize(
    ("detail", "lost"), [(None, False), ("auto", False), ("low", True), ("high", True), ("original", True)]
)
def test_a_wish_how_closely_to_look_is_told_as_lost(detail: str | None, lost: bool) -> None:
    """The usual one says nothing."""
    image = {"type": "image_url", "image_url": {"url": "https://h/a", "detail": detail}}
    found = _read({"role": "user", "content": [image]})
    path = "messages[0].content[0].image_url.detail"
    assert [each.field for each in found.dropped] == ([path] if lost else [])


def test_names_and_audio_are_told_as_lost() -> None:
    """With the path of the field."""
    found = _read(
        {"role": "user", "content": "q", "name": "Ann"},
        {"role": "assistant", "audio": {"id": "x"}, "content": "a"},
    )
    assert found.dropped == [
        Dropped("messages[0].name", "messages have no names"),
        Dropped("messages[1].audio", "the upstream has no audio"),
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
            "messages[0].content[0].input_audio",
        ),
        (
            {
                "role": "user",
                "content": [{"type": "text", "text": ""}, {"type": "image_url", "image_url": {"url": "x"}}],
            },
            "messages[0].content[1].image_url.url",
        ),
        (
            {"role": "tool", "tool_call_id": "a", "content": [{"type": "image_url", "image_url": "x"}]},
            "messages[0].content[0].image_url",
        ),
        (_calls({"id": "a"}), "messages[0].tool_calls[0].function"),
    ],
)
def test_what_cannot_be_carried_is_named(message: dict[str, object], param: str) -> None:
    """A 400 with the path, not a silent loss."""
    with pytest.raises(InvalidRequest) as caught:
        _read(message)
    assert caught.value.param == param
