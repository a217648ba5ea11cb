"""Who may speak when, and what a turn may hold."""

import base64

import msgspec
import pytest

from proxy.simulator.conversation import conversation_fault
from proxy.simulator.models import MODELS
from proxy.simulator.signatures import sign
from proxy.simulator.wire import MessagesRequest

Block = dict[str, object]


def _fault(
    *messages: tuple[str, str | list[Block]],
    model: str = "claude-opus-5-5",
    strict: bool = False,
    **fields: object,
) -> str | None:
    turns = [{"role": role, "content": content} for role, content in messages]
    body = msgspec.json.encode({"model": model, "max_tokens": 1, "messages": turns} | fields)
    request = msgspec.json.decode(body, type=MessagesRequest)
    return conversation_fault(request, MODELS[model], strict=strict)


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _image(media_type: str, data: bytes) -> Block:
    encoded = base64.b64encode(data).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": encoded}}


_USE: Block = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
_RESULT: Block = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "found"}
_PNG = b"\x89PNG\r\n\x1a\n"
_ASK = ("user", "a")


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ([("assistant", "a"), _ASK], 'messages: first message must use the "user" role'),
        ([("tool", "a")], "messages.0.role: Input should be 'user', 'assistant' or 'system'"),
        ([("user", "")], "messages.0: all messages must have non-empty content"),
        ([_ASK, ("assistant", []), _ASK], "messages.1: all messages must have non-empty content"),
        ([("user", " \n")], "messages: text content blocks must contain non-whitespace text"),
        ([("user", [_text(" ")])], "messages: text content blocks must contain non-whitespace text"),
        ([("user", [_text("a"), _text("")])], "messages: text content blocks must be non-empty"),
        ([("user", [{"type": "text"}, _text("a")])], "messages.0.content.0.text.text: Field required"),
        ([_ASK, ("assistant", "b")], "This model does not support assistant message prefill."),
        ([("user", [{"type": "image"}])], "messages.0.content.0.image.source: Field required"),
        (
            [("user", [_image("image/bmp", _PNG)])],
            "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png'",
        ),
        ([("user", [_image("image/png", b"no image")])], "messages.0.content.0: Could not process image"),
        (
            [("user", [_image("image/jpeg", _PNG)])],
            "messages.0.content.0.image.source.base64: The image was specified using the image/jpeg media type, but",
        ),
        (
            [_ASK, ("assistant", [_USE | {"id": "a.b"}]), ("user", [_RESULT])],
            "messages.1.content.0.tool_use.id: String should match pattern",
        ),
        (
            [_ASK, ("assistant", [_USE]), _ASK],
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
        ),
        (
            [_ASK, ("assistant", [_USE])],
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
        ),
        (
            [_ASK, ("assistant", "b"), ("user", [_RESULT])],
            "messages.2: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1.",
        ),
        (
            [
                _ASK,
                ("assistant", [{"type": "thinking", "thinking": "", "signature": "EqQB"}, _text("b")]),
                _ASK,
            ],
            "messages.1.content.0: Invalid `signature` in `thinking` block",
        ),
        (
            [_ASK, ("assistant", [{"type": "thinking", "thinking": ""}]), _ASK],
            "messages.1.content.0.thinking.signature: Field required",
        ),
    ],
)
def test_a_wrong_conversation_is_refused(messages: list[tuple[str, str | list[Block]]], fault: str) -> None:
    """The sentences begin as the real ones do."""
    assert (_fault(*messages) or "").startswith(fault)


@pytest.mark.parametrize(
    "messages",
    [
        [_ASK, ("assistant", "b"), ("user", "c")],
        [_ASK, _ASK],
        [_ASK, ("system", ""), ("assistant", "b"), _ASK],
        [_ASK, ("assistant", [_text("b"), _USE]), ("user", [_RESULT, _text("c")])],
        [_ASK, ("assistant", [_USE]), ("system", "now"), ("user", [_RESULT])],
        [("user", [_image("image/png", _PNG)])],
        [("user", [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}])],
        [
            _ASK,
            ("assistant", [{"type": "thinking", "thinking": "", "signature": sign(b"d" * 16, "", 0)}]),
            _ASK,
        ],
        [
            _ASK,
            (
                "assistant",
                [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}],
            ),
            _ASK,
        ],
    ],
)
def test_a_right_conversation_is_taken(messages: list[tuple[str, str | list[Block]]]) -> None:
    """Consecutive turns of one role are merged by the real API, so they are no fault."""
    assert _fault(*messages) is None


def test_old_models_take_a_prefill_without_trailing_blanks() -> None:
    """Only the 4.5 generation, and not while it thinks."""
    model = "claude-haiku-4-5-20251001"
    assert _fault(_ASK, ("assistant", "b"), model=model) is None
    assert _fault(_ASK, ("assistant", [_text("b")]), model=model) is None
    assert _fault(_ASK, ("assistant", ""), model=model) is None
    assert "trailing whitespace" in (_fault(_ASK, ("assistant", "b "), model=model) or "")
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert "prefill" in (_fault(_ASK, ("assistant", "b"), model=model, thinking=thinking) or "")


_BUDGET = {"type": "enabled", "budget_tokens": 1024}
_THOUGHT: Block = {"type": "thinking", "thinking": "", "signature": sign(b"d" * 16, "", 0)}


@pytest.mark.parametrize(
    ("spoken", "thinking", "found"),
    [
        ([_USE], _BUDGET, "tool_use"),
        ([_text("a"), _USE], _BUDGET, "text"),
        ([_THOUGHT, _USE], _BUDGET, None),
        ([{"type": "redacted_thinking", "data": "x"}, _USE], _BUDGET, None),
        ([_USE], None, None),
    ],
)
def test_with_a_budget_a_tool_turn_begins_with_thinking(
    spoken: list[Block], thinking: dict[str, object] | None, found: str | None
) -> None:
    """Clients that lose their thinking have to do without it until the turn is over."""
    fault = _fault(
        _ASK, ("assistant", spoken), ("user", [_RESULT]), model="claude-haiku-4-5-20251001", thinking=thinking
    )
    expected = "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found"
    assert fault is None if found is None else (fault or "").startswith(f"{expected} `{found}`")


def test_old_models_have_no_system_turns() -> None:
    """Sonnet 5 and everything before Opus 4.8."""
    refused = "role 'system' is not supported on this model"
    assert _fault(_ASK, ("system", "a"), model="claude-sonnet-5") == refused
    assert _fault(_ASK, ("system", "a"), model="claude-opus-4-8") is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"type": "base64", "media_type": "text/plain", "data": "YQ=="}, "should be 'application/pdf'"),
        ({"type": "base64", "media_type": "application/pdf", "data": "YQ=="}, "PDF specified was not valid"),
        ({"type": "text", "media_type": "text/markdown", "data": "a"}, "should be 'text/plain'"),
        ("a", "source: Field required"),
    ],
)
def test_documents_are_pdf_or_plain_text(source: object, words: str) -> None:
    """Under their own media types; others the real API refuses."""
    assert words in (_fault(("user", [{"type": "document", "source": source}])) or "")


def test_results_come_before_any_text() -> None:
    """A result behind text counts as missing."""
    turns: list[tuple[str, str | list[Block]]] = [
        _ASK,
        ("assistant", [_text("b"), _USE]),
        ("user", [_text("c"), _RESULT]),
    ]
    assert "without `tool_result` blocks" in (_fault(*turns) or "")


def test_the_newest_version_has_no_documents_of_the_assistant() -> None:
    """Inside the user's turn they stay."""
    document: Block = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "a"},
    }
    assert "document" in (_fault(_ASK, ("assistant", [document]), _ASK, strict=True) or "")
    assert _fault(("user", [document]), strict=True) is None


def test_the_system_text_may_not_hold_empty_blocks() -> None:
    """The same rule as for messages."""
    assert _fault(_ASK, system=[_text("")]) == "system: text content blocks must be non-empty"
