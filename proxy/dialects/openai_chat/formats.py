"""The form an answer has to take: JSON by a schema, or any JSON object.

Sources: "Structured model outputs" in OpenAI's documentation; "Structured outputs" in Anthropic's. A schema is
compiled by the upstream where it can be; else it becomes the input of a tool the model has to call, where it can be
made to; else the model is asked in words, as it is for any JSON.
"""

from typing import Final

import msgspec

from proxy.dialects.common import PLAIN_FORM, AnswerForm, Demand, Dropped
from proxy.dialects.decoding import Anything, is_given
from proxy.dialects.json_schema import InputSchema, SchemaBeyond, input_schema, strict_schema
from proxy.dialects.json_text import JSON_WISH
from proxy.dialects.openai_chat.definitions import NAME, StrictRoom
from proxy.dialects.openai_chat.schema import ChatRequest, JsonSchema
from proxy.errors import InvalidRequest
from proxy.model.catalog import ForcedToolChoice, ModelFacts
from proxy.model.request import Tool

_SCHEMA_AT: Final = "response_format.json_schema.schema"
_TOOL_WORDS: Final = "Give your answer by calling this tool."
_Fields = dict[str, msgspec.Raw]


class Format(msgspec.Struct, kw_only=True, frozen=True):
    """How the form of an answer is brought about.

    Attributes:
        compiled: for ``output_config.format``.
        tool: the model has to call it with the answer.
        sentence: asks for the form in words.
        dropped: what was lost.
    """

    compiled: Anything = msgspec.UNSET
    tool: Tool | None = None
    sentence: str | None = None
    dropped: tuple[Dropped, ...] = ()

    @property
    def demand(self) -> Demand | None:
        """What the answer has to hold though it is only asked for in words."""
        return Demand.JSON if self.sentence is not None else None

    @property
    def form(self) -> AnswerForm:
        """How the answer is told."""
        if self.sentence is None and self.tool is None:
            return PLAIN_FORM
        return AnswerForm(
            unfence=self.sentence is not None, text_tool=self.tool.name if self.tool is not None else ""
        )


_FREE: Final = Format()
"""No form at all."""


class _Compiled(msgspec.Struct):
    schema: msgspec.Raw
    type: str = "json_schema"


def read_format(request: ChatRequest, facts: ModelFacts, room: StrictRoom) -> Format:
    """How the answer gets the form the client wants. Raises InvalidRequest naming the field."""
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return _FREE
    if wanted.type == "json_object":
        return Format(sentence=JSON_WISH)
    if wanted.type != "json_schema":
        raise InvalidRequest(
            "A response format is text, json_object or json_schema.",
            param="response_format.type",
            code="unsupported_value",
        )
    given = wanted.json_schema
    if given is None:
        raise InvalidRequest(
            "The response format has no json_schema.",
            param="response_format.json_schema",
            code="missing_required_parameter",
        )
    if not is_given(given.schema) or not isinstance(given.schema, msgspec.Raw):
        return Format(sentence=JSON_WISH)
    return _by_schema(given, given.schema, request, facts, room)


def _by_schema(
    given: JsonSchema, schema: msgspec.Raw, request: ChatRequest, facts: ModelFacts, room: StrictRoom
) -> Format:
    fields = _fields(schema)
    if given.description is not None and "description" not in fields:
        fields["description"] = msgspec.Raw(msgspec.json.encode(given.description))
    described = msgspec.Raw(msgspec.json.encode(fields))
    try:
        compiled = strict_schema(described)
    except SchemaBeyond as beyond:
        return _without_compiling(given, fields, request, facts, str(beyond))
    if not room.has(compiled):
        return _without_compiling(
            given, fields, request, facts, "it has too many optional properties or types"
        )
    return Format(compiled=msgspec.Raw(msgspec.json.encode(_Compiled(compiled.schema))))


def _without_compiling(
    given: JsonSchema, fields: _Fields, request: ChatRequest, facts: ModelFacts, reason: str
) -> Format:
    """A tool the model has to call, if the client has none of its own; else words."""
    lost = Dropped(_SCHEMA_AT, f"outside what the upstream compiles, {reason[:100]}")
    forceable = facts.forced_tool_choice is not ForcedToolChoice.REFUSED
    schema = _as_input(fields)
    if forceable and schema is not None and not (request.tools or request.functions):
        name = given.name if NAME.fullmatch(given.name) else "answer"
        return Format(tool=Tool(name, schema.schema, given.description or _TOOL_WORDS), dropped=(lost,))
    text = msgspec.json.encode(fields).decode("utf-8", "replace")
    return Format(sentence=f"{JSON_WISH} It has to follow this JSON schema:\n{text}", dropped=(lost,))


def _as_input(fields: _Fields) -> InputSchema | None:
    """The schema as that of a tool's input; None where the answer is no object, or the schema would be another."""
    try:
        found = input_schema(fields)
    except SchemaBeyond:
        return None
    return None if found.lost else found


def _fields(schema: msgspec.Raw) -> _Fields:
    try:
        return msgspec.json.decode(schema, type=_Fields)
    except (ValueError, RecursionError):
        raise InvalidRequest(
            "The schema is no JSON object.", param=_SCHEMA_AT, code="invalid_value"
        ) from None
