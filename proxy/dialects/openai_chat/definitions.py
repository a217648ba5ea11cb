"""Tool definitions: functions, functions in the style before tools, and tools that take plain text.

Sources: "Function calling" in OpenAI's documentation; "Tool use" and "Structured outputs" in Anthropic's.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.json_schema import (
    OPTIONAL_MAX,
    UNIONS_MAX,
    InputSchema,
    SchemaBeyond,
    StrictSchema,
    input_schema,
    strict_schema,
)
from proxy.dialects.openai_chat.schema import (
    ChatRequest,
    CustomDefinition,
    FunctionDefinition,
    ToolDefinition,
)
from proxy.errors import InvalidRequest
from proxy.model.content import CacheControl
from proxy.model.request import Tool

NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What a tool may be called."""

_STRICT_TOOLS_MAX: Final = 20
_TEXT_INPUT: Final = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)


class StrictRoom(msgspec.Struct):
    """What is left of what the schemas of a request may hold together, and of its strict tools."""

    tools: int = _STRICT_TOOLS_MAX
    optional: int = OPTIONAL_MAX
    unions: int = UNIONS_MAX

    def has(self, schema: StrictSchema) -> bool:
        """Take the room for a schema; False where there is not enough."""
        if schema.optional > self.optional or schema.unions > self.unions:
            return False
        self.optional -= schema.optional
        self.unions -= schema.unions
        return True

    def has_for_tool(self, schema: StrictSchema) -> bool:
        """The same for the schema of a strict tool."""
        if not self.tools or not self.has(schema):
            return False
        self.tools -= 1
        return True


class Definitions(msgspec.Struct):
    """The tools a request defines.

    Attributes:
        tools: in their order.
        custom: the names of those that take plain text.
        dropped: what was lost.
    """

    tools: list[Tool] = []
    custom: set[str] = set()
    dropped: list[Dropped] = []


def read_definitions(request: ChatRequest, room: StrictRoom) -> Definitions:
    """The tools of a request. Raises InvalidRequest naming the field that cannot be carried."""
    if request.functions and request.tools:
        raise InvalidRequest("Give either tools or functions, not both.", param="functions")
    found = Definitions()
    seen: set[str] = set()
    for tool, at in _each(request, found, room):
        if tool.name in seen:
            raise InvalidRequest("Two tools have the same name.", param=f"{at}.name", code="invalid_value")
        seen.add(tool.name)
        found.tools.append(tool)
    return found


def _each(request: ChatRequest, found: Definitions, room: StrictRoom) -> Iterator[tuple[Tool, str]]:
    for index, function in enumerate(request.functions or ()):
        at = f"functions[{index}]"
        yield _function(function, at, None, found, room), at
    for index, definition in enumerate(request.tools or ()):
        yield _tool(definition, f"tools[{index}]", found, room)


def _tool(definition: ToolDefinition, at: str, found: Definitions, room: StrictRoom) -> tuple[Tool, str]:
    mark = definition.cache_control
    at_inner = f"{at}.{definition.type}"
    match definition:
        case ToolDefinition(type="function", function=FunctionDefinition() as function):
            return _function(function, at_inner, mark, found, room), at_inner
        case ToolDefinition(type="custom", custom=CustomDefinition() as custom):
            _check_name(custom.name, at_inner)
            found.custom.add(custom.name)
            return Tool(custom.name, _TEXT_INPUT, _custom_words(custom), cache_control=mark), at_inner
        case ToolDefinition(type="function" | "custom" as kind):
            raise InvalidRequest(
                f"The tool has no {kind}.", param=at_inner, code="missing_required_parameter"
            )
        case _:
            raise InvalidRequest(
                "Only tools of type function and custom are supported.",
                param=f"{at}.type",
                code="unsupported_value",
            )


def _function(
    function: FunctionDefinition, at: str, mark: CacheControl | None, found: Definitions, room: StrictRoom
) -> Tool:
    _check_name(function.name, at)
    try:
        given = input_schema(function.parameters)
    except SchemaBeyond as beyond:
        raise InvalidRequest(
            f"The parameters are no schema of an object: {beyond}.",
            param=f"{at}.parameters",
            code="invalid_function_parameters",
        ) from None
    found.dropped += [
        Dropped(f"{at}.parameters.{key}", "no alternatives at the top of a schema; told in words")
        for key in given.lost
    ]
    schema, strict = given.schema, None
    if function.strict:
        compiled = _compiled(given, room)
        if compiled is None:
            found.dropped.append(Dropped(f"{at}.strict", "the schema is outside what strict tools support"))
        else:
            schema, strict = compiled, True
    return Tool(function.name, schema, function.description, strict, cache_control=mark)


def _compiled(given: InputSchema, room: StrictRoom) -> msgspec.Raw | None:
    """The schema cut to what strict tools take; None where that would change it, or there is no room."""
    try:
        strict = strict_schema(given.schema)
    except SchemaBeyond:
        return None
    return strict.schema if room.has_for_tool(strict) else None


def _check_name(name: str, at: str) -> None:
    if NAME.fullmatch(name) is None:
        raise InvalidRequest(
            "A tool's name has 1 to 64 of the characters a-z, A-Z, 0-9, _ and -.",
            param=f"{at}.name",
            code="invalid_value",
        )


def _custom_words(custom: CustomDefinition) -> str | None:
    """A custom tool's description, with the grammar that nothing compels the model to keep to."""
    grammar = custom.format.grammar if custom.format is not None else None
    if grammar is None:
        return custom.description
    words = f"The input has to follow this {grammar.syntax} grammar:\n{grammar.definition}"
    return f"{custom.description}\n{words}" if custom.description else words
