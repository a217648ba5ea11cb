"""A canonical request as the body of a Chat Completions request.

Source: "Create chat completion" in OpenAI's API reference. What it has no place for is left out and told by its path
in Anthropic's terms. Thinking never goes along: its signatures mean something to Anthropic alone.
"""

from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.decoding import Anything
from proxy.dialects.openai_chat.upstream.turns import Losses, chat_messages, system_text
from proxy.model.request import (
    Request,
    Tool,
    ToolChoice,
    ToolChoiceAny,
    ToolChoiceAuto,
    ToolChoiceNone,
    ToolChoiceTool,
)

_STOPS_MAX: Final = 4
_SCHEMA_NAME: Final = "answer"


class _Function(msgspec.Struct, omit_defaults=True):
    name: str
    description: str | None = None
    parameters: msgspec.Raw | None = None
    strict: bool | None = None


class _Tool(msgspec.Struct):
    function: _Function
    type: str = "function"


class _Named(msgspec.Struct):
    name: str


class _NamedChoice(msgspec.Struct):
    function: _Named
    type: str = "function"


class _StreamOptions(msgspec.Struct):
    include_usage: bool


class _Schema(msgspec.Struct):
    name: str
    schema: msgspec.Raw
    strict: bool


class _ResponseFormat(msgspec.Struct):
    json_schema: _Schema
    type: str = "json_schema"


class _Body(msgspec.Struct, kw_only=True, omit_defaults=True):
    model: str
    messages: list[msgspec.Struct]
    max_completion_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop: list[str] | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _ResponseFormat | None = None


class _Format(msgspec.Struct):
    type: str
    schema: Anything = msgspec.UNSET


_encoder = msgspec.json.Encoder()


def encode_request(request: Request) -> tuple[bytes, tuple[Dropped, ...]]:
    """The body of a request, and what it could not carry; the same request gives the same bytes."""
    losses = Losses()
    messages = system_text(request.system, losses)
    messages += chat_messages(request.messages, losses)
    tools = _tools(request, losses)
    choice, one_at_a_time = _choice(request.tool_choice if tools else None)
    body = _Body(
        model=request.model,
        messages=messages,
        max_completion_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        stop=_stops(request.stop_sequences, losses) or None,
        stream=request.stream,
        stream_options=_StreamOptions(include_usage=True) if request.stream else None,
        tools=tools or None,
        tool_choice=choice,
        parallel_tool_calls=False if one_at_a_time else None,
        response_format=_response_format(request, losses),
    )
    if request.tool_choice is not None and not tools and not isinstance(request.tool_choice, ToolChoiceNone):
        losses.add("tool_choice", "no tool is left to choose")
    _fields(request, losses)
    return _encoder.encode(body), tuple(losses.found)


def _fields(request: Request, losses: Losses) -> None:
    lost: dict[str, tuple[object, str]] = {
        "cache_control": (request.cache_control, "no such field"),
        "metadata": (request.metadata, "who the end user is stays with the provider that was asked"),
        "service_tier": (request.service_tier, "the tiers are another provider's"),
        "speed": (request.speed, "no such field"),
        "thinking": (request.thinking, "the model decides itself whether it thinks"),
        "top_k": (request.top_k, "no such field"),
    }
    for name, (value, reason) in lost.items():
        if value is not None:
            losses.add(name, reason)
    if request.output_config is not None and request.output_config.effort is not None:
        losses.add("output_config.effort", "the model decides itself how much it thinks")


def _stops(sequences: list[str], losses: Losses) -> list[str]:
    for place in range(_STOPS_MAX, len(sequences)):
        losses.add(f"stop_sequences[{place}]", "four at most")
    return sequences[:_STOPS_MAX]


def _tools(request: Request, losses: Losses) -> list[_Tool]:
    tools: list[_Tool] = []
    for place, tool in enumerate(request.tools):
        if not isinstance(tool, Tool):
            losses.add(f"tools[{place}]", "a tool that runs at the provider")
            continue
        if tool.cache_control is not None:
            losses.add(f"tools[{place}].cache_control", "no such field")
        tools.append(_Tool(_Function(tool.name, tool.description, tool.input_schema, tool.strict)))
    return tools


def _choice(choice: ToolChoice | None) -> tuple[str | _NamedChoice | None, bool]:
    match choice:
        case None:
            return None, False
        case ToolChoiceAuto(disable_parallel_tool_use=alone):
            return "auto", alone
        case ToolChoiceAny(disable_parallel_tool_use=alone):
            return "required", alone
        case ToolChoiceTool(name=name, disable_parallel_tool_use=alone):
            return _NamedChoice(_Named(name)), alone
        case ToolChoiceNone():
            return "none", False


def _response_format(request: Request, losses: Losses) -> _ResponseFormat | None:
    config = request.output_config
    if config is None or config.format is msgspec.UNSET:
        return None
    try:
        found = msgspec.json.decode(config.format, type=_Format)
    except (ValueError, RecursionError):
        found = _Format("")
    if found.type != "json_schema" or not isinstance(found.schema, msgspec.Raw):
        losses.add("output_config.format", "no such format")
        return None
    return _ResponseFormat(_Schema(_SCHEMA_NAME, found.schema, strict=True))
