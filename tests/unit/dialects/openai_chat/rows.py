"""What the tables of requests and what becomes of them are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.dialects.common import PLAIN_FORM, AnswerForm

HELLO = {"role": "user", "content": "hi"}
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0xLjc="
F = {"type": "function", "function": {"name": "f"}}
G = {"type": "custom", "custom": {"name": "g"}}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
OPEN_SCHEMA = {"type": "object", "properties": {"a": {"type": "object"}}}
EPHEMERAL = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
OPUS = "claude-opus-5-5"
OPUS_5 = "claude-opus-5"
SONNET = "claude-sonnet-5-5"
SONNET_46 = "claude-sonnet-4-6"
HAIKU_55 = "claude-haiku-5-5"
HAIKU_45 = "claude-haiku-4-5"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: what a client sends, and what becomes of it.

    Attributes:
        sent: fields of the chat request.
        up: fields of the Messages request; of those that are not here none may differ from the plain request's.
        dropped: what the client is told that was lost.
        refused: the field a 400 names.
        model: who is asked.
        form: what the answer looks like.
    """

    sent: dict[str, object]
    up: dict[str, object] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    refused: str | None = None
    model: str = OPUS
    form: AnswerForm = PLAIN_FORM


def text_block(text: str, **more: object) -> dict[str, object]:
    """A text block."""
    return {"type": "text", "text": text, **more}


def said(*blocks: dict[str, object], role: str = "user") -> dict[str, object]:
    """A message of blocks."""
    return {"role": role, "content": list(blocks)}


def user(*parts: object) -> dict[str, object]:
    """The messages of a request of these parts."""
    return {"messages": [{"role": "user", "content": list(parts)}]}


def turns(*turns: Mapping[str, object]) -> dict[str, object]:
    """The messages of a request."""
    return {"messages": list(turns)}


def reminder(text: str) -> dict[str, object]:
    """An instruction inside a user's message."""
    return text_block(f"<system-reminder>\n{text}\n</system-reminder>")


ADAPTIVE = {"type": "adaptive", "display": "summarized"}
STRICT_F = {"type": "function", "function": {"name": "f", "strict": True, "parameters": SCHEMA}}
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
TOOL_G = {
    "name": "g",
    "input_schema": {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
        "additionalProperties": False,
    },
}
JSON_SENTENCE = (
    "Respond with one JSON object and nothing else: no text before or after it, and no code fence around it."
)
OPEN_TEXT = '{"type":"object","properties":{"a":{"type":"object"}}}'
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [F]}}


def with_schema(schema: object) -> dict[str, object]:
    """A request for an answer by a schema."""
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}
