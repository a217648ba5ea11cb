"""What becomes of an answer: each block, each reason to stop, each form."""

from dataclasses import dataclass

import msgspec

from proxy.dialects.common import PLAIN_FORM, AnswerForm, ThinkingFormat
from proxy.model.content import (
    Block,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from proxy.model.message import StopDetails


@dataclass(frozen=True, kw_only=True)
class Told:
    """One row of answers.

    Attributes:
        content: blocks of the upstream's answer.
        message: the chat message's fields; of the usual ones only those that differ from an empty text.
        stop: the upstream's stop reason.
        finish: the chat's finish reason.
        form: what the request asked for.
        shown: how thinking is shown.
        details: of a refusal.
    """

    content: tuple[Block, ...]
    message: dict[str, object]
    stop: str = "end_turn"
    finish: str = "stop"
    form: AnswerForm = PLAIN_FORM
    shown: ThinkingFormat = ThinkingFormat.REASONING_CONTENT
    details: StopDetails | None = None


def _use(name: str, tool_input: bytes, call: str = "toolu_1") -> ToolUseBlock:
    return ToolUseBlock(call, name, msgspec.Raw(tool_input))


def _called(name: str, arguments: str, call: str = "toolu_1") -> dict[str, object]:
    return {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}}


_DETAIL = {
    "type": "reasoning.text",
    "text": "t",
    "signature": "s",
    "format": "anthropic-claude-v1",
    "index": 0,
}
_REDACTED = {"type": "reasoning.encrypted", "data": "d", "format": "anthropic-claude-v1", "index": 0}
ANSWER_ROWS: dict[str, Told] = {
    "text": Told(content=(TextBlock("a"), TextBlock("b")), message={"content": "ab"}),
    "nothing": Told(content=(), message={}),
    "stop_sequence": Told(content=(TextBlock("a"),), message={"content": "a"}, stop="stop_sequence"),
    "max_tokens": Told(
        content=(TextBlock("a"),), message={"content": "a"}, stop="max_tokens", finish="length"
    ),
    "context": Told(
        content=(TextBlock("a"),),
        message={"content": "a"},
        stop="model_context_window_exceeded",
        finish="length",
    ),
    "pause_turn": Told(content=(TextBlock("a"),), message={"content": "a"}, stop="pause_turn"),
    "compaction": Told(content=(TextBlock("a"),), message={"content": "a"}, stop="compaction"),
    "unheard of": Told(content=(TextBlock("a"),), message={"content": "a"}, stop="tired"),
    "tool_use": Told(
        content=(TextBlock("a"), _use("f", b'{"x":1}'), _use("g", b"{}", "toolu_2")),
        message={"content": "a", "tool_calls": [_called("f", '{"x":1}'), _called("g", "{}", "toolu_2")]},
        stop="tool_use",
        finish="tool_calls",
    ),
    "tool_use alone": Told(
        content=(_use("f", b"{}"),),
        message={"content": None, "tool_calls": [_called("f", "{}")]},
        stop="tool_use",
        finish="tool_calls",
    ),
    "function_call": Told(
        content=(_use("f", b'{"x":1}'), _use("g", b"{}", "toolu_2")),
        message={"content": None, "function_call": {"name": "f", "arguments": '{"x":1}'}},
        stop="tool_use",
        finish="function_call",
        form=AnswerForm(legacy_call=True),
    ),
    "custom call": Told(
        content=(_use("g", b'{"input":"say \\"hi\\""}'),),
        message={
            "content": None,
            "tool_calls": [{"id": "toolu_1", "type": "custom", "custom": {"name": "g", "input": 'say "hi"'}}],
        },
        stop="tool_use",
        finish="tool_calls",
        form=AnswerForm(custom_tools=frozenset(("g",))),
    ),
    "custom call with something else": Told(
        content=(_use("g", b'{"other":1}'),),
        message={
            "content": None,
            "tool_calls": [
                {"id": "toolu_1", "type": "custom", "custom": {"name": "g", "input": '{"other":1}'}}
            ],
        },
        stop="tool_use",
        finish="tool_calls",
        form=AnswerForm(custom_tools=frozenset(("g",))),
    ),
    "schema by a tool": Told(
        content=(_use("n", b'{"a":"x"}'),),
        message={"content": '{"a":"x"}'},
        stop="tool_use",
        form=AnswerForm(text_tool="n"),
    ),
    "schema by a tool, cut": Told(
        content=(_use("n", b"{}"),),
        message={"content": "{}"},
        stop="max_tokens",
        finish="length",
        form=AnswerForm(text_tool="n"),
    ),
    "JSON in a fence": Told(
        content=(TextBlock('```json\n{"a":1}\n```'),),
        message={"content": '{"a":1}'},
        form=AnswerForm(unfence=True),
    ),
    "JSON without one": Told(
        content=(TextBlock('{"a":1}'),), message={"content": '{"a":1}'}, form=AnswerForm(unfence=True)
    ),
    "thinking": Told(
        content=(ThinkingBlock("t", "s"), TextBlock("a")),
        message={"content": "a", "reasoning_content": "t", "reasoning_details": [_DETAIL]},
    ),
    "thinking in the text": Told(
        content=(ThinkingBlock("t", "s"), TextBlock("a")),
        message={"content": "<think>t</think>a", "reasoning_details": [_DETAIL]},
        shown=ThinkingFormat.THINK,
    ),
    "thinking hidden": Told(
        content=(ThinkingBlock("t", "s"), TextBlock("a")),
        message={"content": "a"},
        shown=ThinkingFormat.NONE,
    ),
    "redacted thinking": Told(
        content=(RedactedThinkingBlock("d"), TextBlock("a")),
        message={"content": "a", "reasoning_details": [_REDACTED]},
    ),
    "server tools": Told(
        content=(msgspec.Raw(b'{"type":"server_tool_use","id":"s","name":"web_search","input":{}}'),),
        message={},
    ),
    "refusal": Told(
        content=(),
        message={"content": None, "refusal": "No."},
        stop="refusal",
        finish="content_filter",
        details=StopDetails(type="refusal", explanation="No."),
    ),
    "refusal without words": Told(
        content=(),
        message={"content": None, "refusal": "The model refused to answer."},
        stop="refusal",
        finish="content_filter",
    ),
}
