"""Tool definitions and the choice among them.

Sources: "Function calling" in OpenAI's documentation; "Tool use" and "Structured outputs" in Anthropic's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.openai_chat.schema import ChatRequest, FunctionDefinition, NamedChoice, ToolDefinition
from proxy.errors import InvalidRequest
from proxy.model.catalog import ForcedToolChoice, ModelFacts
from proxy.model.content import ToolUseBlock
from proxy.model.request import (
    InputMessage,
    Tool,
    ToolChoice,
    ToolChoiceAny,
    ToolChoiceAuto,
    ToolChoiceNone,
    ToolChoiceTool,
)

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ANY_OBJECT: Final = msgspec.Raw(b'{"type":"object"}')
_NO_PROPERTIES: Final = {"type": msgspec.Raw(b'"object"'), "properties": msgspec.Raw(b"{}")}
_STRICT_TOOLS_MAX: Final = 20
_NOT_IN_STRICT: Final = frozenset(
    (
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
        "minItems", "maxItems", "uniqueItems", "patternProperties", "propertyNames", "not", "if", "then", "else",
        "dependentSchemas", "dependentRequired", "unevaluatedProperties", "unevaluatedItems", "oneOf", "pattern",
    )
)  # fmt: skip


@dataclass(slots=True)
class Tooling:
    """The tools of a request.

    Attributes:
        tools: what the model may call.
        choice: how it has to choose; None leaves it the choice.
        wish: a sentence that asks for the call a model cannot be made to make.
        dropped: what was lost.
    """

    tools: list[Tool | msgspec.Raw]
    choice: ToolChoice | None
    wish: str | None
    dropped: list[Dropped]

    @property
    def forced(self) -> bool:
        """Whether a tool call is demanded."""
        return isinstance(self.choice, ToolChoiceAny | ToolChoiceTool)


def read_tools(request: ChatRequest, turns: Sequence[InputMessage], facts: ModelFacts) -> Tooling:
    """The tools and the choice. Raises InvalidRequest naming the field that cannot be carried."""
    dropped: list[Dropped] = []
    tools: list[Tool | msgspec.Raw] = [*_defined(request.tools or (), dropped)]
    if not tools:
        if _demands(request.tool_choice):
            raise InvalidRequest("tool_choice is only allowed when tools are given.", param="tool_choice")
        stubs = _stubs(turns)
        return Tooling(stubs, ToolChoiceNone() if stubs else None, None, dropped)
    choice, wish = _choice(request.tool_choice, {tool.name for tool in tools if isinstance(tool, Tool)}), None
    if isinstance(choice, ToolChoiceAny | ToolChoiceTool) and (
        facts.forced_tool_choice is ForcedToolChoice.REFUSED
    ):
        wish = _wish(choice)
        dropped.append(Dropped("tool_choice", "the model cannot be forced; asked in words"))
        choice = ToolChoiceAuto()
    return Tooling(tools, _one_at_a_time(choice, request.parallel_tool_calls), wish, dropped)


def _defined(definitions: Sequence[ToolDefinition], dropped: list[Dropped]) -> list[Tool]:
    tools: list[Tool] = []
    strict = 0
    for index, definition in enumerate(definitions):
        function, at = definition.function, f"tools[{index}]"
        if definition.type != "function":
            raise InvalidRequest(
                "Only tools of type function are supported.", param=f"{at}.type", code="unsupported_value"
            )
        if function is None:
            raise InvalidRequest(
                "The tool has no function.", param=f"{at}.function", code="missing_required_parameter"
            )
        if _NAME.fullmatch(function.name) is None:
            raise InvalidRequest(
                "A function's name has 1 to 64 of the characters a-z, A-Z, 0-9, _ and -.",
                param=f"{at}.function.name",
                code="invalid_value",
            )
        schema = _schema(function)
        keeps_strict = bool(function.strict) and strict < _STRICT_TOOLS_MAX and fits_strict(schema)
        strict += keeps_strict
        if function.strict and not keeps_strict:
            dropped.append(
                Dropped(f"{at}.function.strict", "the schema is outside what strict tools support")
            )
        tools.append(
            Tool(
                function.name,
                schema,
                function.description,
                keeps_strict or None,
                cache_control=definition.cache_control,
            )
        )
    return tools


def _schema(function: FunctionDefinition) -> msgspec.Raw:
    fields = function.parameters or _NO_PROPERTIES
    if "type" not in fields:
        fields = {"type": _NO_PROPERTIES["type"], **fields}
    return msgspec.Raw(msgspec.json.encode(fields))


def fits_strict(schema: msgspec.Raw) -> bool:
    """Whether every part of a JSON schema is one that strict tools support."""
    try:
        return _fits(msgspec.json.decode(schema))
    except (ValueError, RecursionError):
        return False


def _fits(schema: object) -> bool:
    if isinstance(schema, list):
        return all(map(_fits, schema))
    if not isinstance(schema, dict):
        return True
    if schema.keys() & _NOT_IN_STRICT:
        return False
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return False
    named = [part for key in ("properties", "$defs") for part in _values(schema.get(key))]
    others = [schema.get(key) for key in ("items", "anyOf", "allOf")]
    return all(map(_fits, named + others))


def _values(schemas: object) -> list[object]:
    return list(schemas.values()) if isinstance(schemas, dict) else []


def _demands(choice: str | NamedChoice | None) -> bool:
    return choice == "required" or (isinstance(choice, NamedChoice) and choice.type != "allowed_tools")


def _choice(given: str | NamedChoice | None, names: set[str]) -> ToolChoice | None:
    match given:
        case None:
            return None
        case "auto":
            return ToolChoiceAuto()
        case "none":
            return ToolChoiceNone()
        case "required":
            return ToolChoiceAny()
        case NamedChoice(type="allowed_tools", allowed_tools=allowed):
            required = allowed is not None and allowed.mode == "required"
            return ToolChoiceAny() if required else ToolChoiceAuto()
        case NamedChoice(type="function", function=function) if function is not None:
            if function.name not in names:
                raise InvalidRequest(
                    "tool_choice names a function that is not among the tools.",
                    param="tool_choice.function.name",
                    code="invalid_value",
                )
            return ToolChoiceTool(function.name)
        case _:
            raise InvalidRequest(
                "tool_choice has to be auto, none, required, or an object that names a function.",
                param="tool_choice",
                code="invalid_value",
            )


def _wish(choice: ToolChoiceAny | ToolChoiceTool) -> str:
    if isinstance(choice, ToolChoiceTool):
        return f"Answer by calling the tool {choice.name}."
    return "Answer by calling at least one of your tools."


def _one_at_a_time(choice: ToolChoice | None, parallel: bool | None) -> ToolChoice | None:
    if parallel is not False or isinstance(choice, ToolChoiceNone):
        return choice
    return msgspec.structs.replace(choice or ToolChoiceAuto(), disable_parallel_tool_use=True)


def _stubs(turns: Sequence[InputMessage]) -> list[Tool | msgspec.Raw]:
    """A history with tool calls is only taken together with tools of these names."""
    blocks = (block for turn in turns for block in turn.content)
    names = dict.fromkeys(block.name for block in blocks if isinstance(block, ToolUseBlock))
    return [Tool(name, _ANY_OBJECT) for name in names]
