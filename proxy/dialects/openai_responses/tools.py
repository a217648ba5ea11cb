"""Tools of a Responses request in the words of Chat Completions, and the way back from a called name.

Source: "Function calling" and "Custom tools" in OpenAI's documentation. A namespace of functions, as Codex sends it,
becomes functions whose names begin with the namespace's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.decoding import Anything, decode_json, is_given
from proxy.dialects.openai_chat.schema import (
    AllowedTool,
    AllowedTools,
    CustomDefinition,
    CustomFormat,
    FunctionDefinition,
    Grammar,
    NamedFunction,
    ToolDefinition,
)
from proxy.dialects.openai_chat.schema import NamedChoice as ChatChoice
from proxy.dialects.openai_responses.schema import NamedChoice, ResponsesRequest, ToolParam
from proxy.errors import InvalidRequest

_NAME_MAX_CHARS: Final = 64
_BETWEEN: Final = "__"
_AT_TOOL: Final = re.compile(r"tools\[(\d+)\](?:\.(?:function|custom))?(?P<rest>.*)", re.DOTALL)
_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "max_completion_tokens": "max_output_tokens",
        "reasoning_effort": "reasoning.effort",
        "response_format.json_schema.schema": "text.format.schema",
        "response_format.type": "text.format.type",
        "tool_choice.allowed_tools.tools": "tool_choice.tools",
        "tool_choice.custom.name": "tool_choice.name",
        "tool_choice.function.name": "tool_choice.name",
    }
)


class CalledTool(msgspec.Struct, frozen=True):
    """How a call of a tool is told to the client.

    Attributes:
        name: as the client gave it.
        namespace: the namespace it is in.
        custom: whether its input is text.
    """

    name: str
    namespace: str | None = None
    custom: bool = False


@dataclass(slots=True)
class Toolbox:
    """The tools of a request.

    Attributes:
        definitions: all of them.
        paths: where in the request each of them is.
        called: how calls are told, by the name the model knows; plain functions are not among them.
        dropped: what was lost.
    """

    definitions: list[ToolDefinition] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    called: dict[str, CalledTool] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)

    def path(self, name: str) -> str:
        """What a field named in the words of Chat Completions is called in the client's request."""
        found = _AT_TOOL.fullmatch(name)
        if found is not None and int(found[1]) < len(self.paths):
            return self.paths[int(found[1])] + found["rest"]
        return _NAMES.get(name, name)


def read_toolbox(request: ResponsesRequest, *, lenient: bool) -> Toolbox:
    """The tools, of which those of OpenAI's own are left out if `lenient`. Raises InvalidRequest naming the field."""
    box = Toolbox()
    for place, raw in enumerate(request.tools or ()):
        at = f"tools[{place}]"
        tool = decode_json(ToolParam, raw, at=at)
        if tool.type == "namespace":
            namespace = _named(tool, at)
            for inner, part in enumerate(tool.tools or ()):
                within = f"{at}.tools[{inner}]"
                _take(box, decode_json(ToolParam, part, at=within), within, namespace, lenient=lenient)
        else:
            _take(box, tool, at, None, lenient=lenient)
    return box


def _take(box: Toolbox, tool: ToolParam, at: str, namespace: str | None, *, lenient: bool) -> None:
    if tool.type not in {"function", "custom"}:
        if not lenient and not tool.type.startswith("web_search"):
            raise InvalidRequest(
                "Only function and custom tools are supported, alone or in a namespace.",
                param=f"{at}.type",
                code="unsupported_value",
            )
        box.dropped.append(Dropped(at, "a tool of OpenAI's own"))
        return
    name = _named(tool, at)
    flat = flat_name(namespace, name)
    custom = tool.type == "custom"
    if custom or namespace is not None:
        box.called[flat] = CalledTool(name, namespace, custom)
    box.paths.append(at)
    box.definitions.append(_custom(flat, tool, at) if custom else _function(flat, tool))


def _function(name: str, tool: ToolParam) -> ToolDefinition:
    function = FunctionDefinition(name, tool.description, tool.parameters, tool.strict)
    return ToolDefinition("function", function)


class _Format(msgspec.Struct):
    syntax: str = ""
    definition: str = ""


def _custom(name: str, tool: ToolParam, at: str) -> ToolDefinition:
    grammar = None
    if isinstance(tool.format, msgspec.Raw) and is_given(tool.format):
        given = decode_json(_Format, tool.format, at=f"{at}.format")
        grammar = Grammar(given.syntax, given.definition) if given.definition else None
    form = CustomFormat("grammar", grammar) if grammar is not None else None
    return ToolDefinition("custom", custom=CustomDefinition(name, tool.description, form))


def _named(tool: ToolParam, at: str) -> str:
    if not tool.name:
        raise InvalidRequest("The tool has no name.", param=f"{at}.name", code="missing_required_parameter")
    return tool.name


def flat_name(namespace: str | None, name: str) -> str:
    """The name the model knows a tool by: of a namespace's tool both names, shortened where they are too long."""
    if namespace is None:
        return name
    flat = f"{namespace}{_BETWEEN}{name}"
    if len(flat) <= _NAME_MAX_CHARS:
        return flat
    mark = blake2b(flat.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{flat[: _NAME_MAX_CHARS - len(mark) - 1]}_{mark}"


def chat_choice(given: str | NamedChoice | None) -> str | ChatChoice | None:
    """The tool choice in the words of Chat Completions. Raises InvalidRequest."""
    if not isinstance(given, NamedChoice):
        return given
    if given.type == "allowed_tools":
        return ChatChoice(given.type, allowed_tools=AllowedTools(given.mode or "auto", _allowed(given.tools)))
    if given.name is None:
        return ChatChoice(given.type)
    named = NamedFunction(flat_name(given.namespace, given.name))
    return ChatChoice(
        given.type,
        function=named if given.type == "function" else None,
        custom=named if given.type == "custom" else None,
    )


def _allowed(given: Anything) -> list[AllowedTool]:
    """The tools that may be called, as functions all of them; those of OpenAI's own have no name."""
    if not isinstance(given, msgspec.Raw) or not is_given(given):
        return []
    tools = decode_json(list[NamedChoice], given, at="tool_choice.tools")
    names = [flat_name(tool.namespace, tool.name) for tool in tools if tool.name is not None]
    return [AllowedTool(function=NamedFunction(name)) for name in names]
