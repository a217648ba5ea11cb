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
    AllowedTools,
    FunctionDefinition,
    NamedFunction,
    ToolDefinition,
)
from proxy.dialects.openai_chat.schema import NamedChoice as ChatChoice
from proxy.dialects.openai_responses.schema import NamedChoice, ResponsesRequest, ToolParam
from proxy.errors import InvalidRequest

_NAME_MAX_CHARS: Final = 64
_BETWEEN: Final = "__"
_GRAMMAR_MAX_CHARS: Final = 20_000
_TEXT_INPUT: Final[Mapping[str, msgspec.Raw]] = MappingProxyType(
    {
        "type": msgspec.Raw(b'"object"'),
        "properties": msgspec.Raw(b'{"input":{"type":"string"}}'),
        "required": msgspec.Raw(b'["input"]'),
        "additionalProperties": msgspec.Raw(b"false"),
    }
)
_AT_TOOL: Final = re.compile(r"tools\[(\d+)\](?:\.function)?(?P<rest>.*)", re.DOTALL)
_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "max_completion_tokens": "max_output_tokens",
        "reasoning_effort": "reasoning.effort",
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
        definitions: all of them, as functions.
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
    box.definitions.append(
        ToolDefinition("function", _custom(flat, tool) if custom else _function(flat, tool))
    )


def _function(name: str, tool: ToolParam) -> FunctionDefinition:
    return FunctionDefinition(name, tool.description, tool.parameters, tool.strict)


def _custom(name: str, tool: ToolParam) -> FunctionDefinition:
    """A function of one text; a grammar is told in words, for nothing compels the model to keep to it."""
    said = [tool.description] if tool.description else []
    if is_given(tool.format) and (grammar := _grammar(tool.format)):
        said.append(f"The input has to follow this grammar:\n{grammar[:_GRAMMAR_MAX_CHARS]}")
    return FunctionDefinition(name, "\n\n".join(said) or None, dict(_TEXT_INPUT))


class _Format(msgspec.Struct):
    definition: str | None = None


def _grammar(given: Anything) -> str | None:
    return decode_json(_Format, given).definition if isinstance(given, msgspec.Raw) else None


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
    """The tool choice in the words of Chat Completions, which name a custom tool as the function it becomes."""
    if not isinstance(given, NamedChoice):
        return given
    if given.type in {"function", "custom"} and given.name is not None:
        return ChatChoice("function", NamedFunction(flat_name(given.namespace, given.name)))
    if given.type == "allowed_tools":
        return ChatChoice(given.type, allowed_tools=AllowedTools(given.mode or "auto"))
    return ChatChoice(given.type)
