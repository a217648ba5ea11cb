"""Cache breakpoints for clients whose own dialect has none.

A breakpoint costs a quarter more for what it writes and saves nine tenths of what is read from it, so it pays as
soon as the conversation goes on. Source: "Prompt caching" in Anthropic's documentation: the prefix is tools, then
system text, then messages; a request has at most four breakpoints; shorter prefixes than a model's least are not
cached; marks themselves are no part of the prefix.
"""

from collections.abc import Sequence
from typing import Final, TypeVar, assert_never

import msgspec

from proxy.model.catalog import ModelFacts
from proxy.model.content import (
    Block,
    CacheControl,
    DocumentBlock,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    TextSource,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from proxy.model.request import InputMessage, Request, Tool

_CHARACTERS_PER_TOKEN: Final = 4
_ATTACHMENT_TOKENS: Final = 1500
_TURNS_MARKED: Final = 2
_MARK: Final = CacheControl("ephemeral")
_Marked = TypeVar("_Marked", Tool | msgspec.Raw, TextBlock, Block)


def with_cache_marks(request: Request, facts: ModelFacts) -> Request:
    """The request with breakpoints after its tools, its system text and its last two user turns.

    The next turn's request marks the last of these turns again, so that it finds what this one wrote. Only prefixes
    the model would cache are marked, by an estimate of four characters a token; a request with a mark of the
    client's own is returned as it is. Meant for conversations that go on: a first turn may stay the only one.
    """
    if has_marks(request):
        return request
    least = facts.min_cache_prefix_tokens * _CHARACTERS_PER_TOKEN
    weight = sum(map(_tool_weight, request.tools))
    tools = _marked(request.tools) if weight >= least else request.tools
    weight += sum(map(_weight, request.system))
    system = _marked(request.system) if weight >= least else request.system
    messages = _marked_turns(request.messages, least - weight)
    return msgspec.structs.replace(request, tools=tools, system=system, messages=messages)


def has_marks(request: Request) -> bool:
    """Whether the client itself said what is worth caching."""
    return (
        request.cache_control is not None
        or any(_has_mark(tool) for tool in request.tools)
        or any(_has_mark(block) for block in request.system)
        or any(_has_mark(block) for message in request.messages for block in message.content)
    )


def _has_mark(unit: Tool | Block) -> bool:
    return getattr(unit, "cache_control", None) is not None


def _marked_turns(messages: list[InputMessage], missing: int) -> list[InputMessage]:
    """`missing` characters are wanting until the prefix is long enough to be cached."""
    places = [place for place, message in enumerate(messages) if message.role == "user"][-_TURNS_MARKED:]
    marked = list(messages)
    begin = 0
    for place in places:
        for message in messages[begin : place + 1]:
            if missing <= 0:
                break
            missing -= sum(map(_weight, message.content))
        begin = place + 1
        if missing <= 0:
            marked[place] = InputMessage("user", _marked(messages[place].content))
    return marked


def _marked(units: Sequence[_Marked]) -> list[_Marked]:
    """The same with a mark on the last that can bear one."""
    marked = list(units)
    for place in range(len(marked) - 1, -1, -1):
        unit = marked[place]
        if not isinstance(unit, msgspec.Raw | ThinkingBlock | RedactedThinkingBlock):
            marked[place] = msgspec.structs.replace(unit, cache_control=_MARK)
            break
    return marked


def _tool_weight(tool: Tool | msgspec.Raw) -> int:
    if isinstance(tool, msgspec.Raw):
        return len(bytes(tool))
    return len(tool.name) + len(tool.description or "") + len(bytes(tool.input_schema))


def _weight(block: Block) -> int:
    """Characters, or what comes to as many tokens; those of other scripts than Latin count twice."""
    match block:
        case TextBlock(text=text) | ThinkingBlock(thinking=text):
            return _text_weight(text)
        case ToolUseBlock():
            return len(block.name) + len(bytes(block.input))
        case ToolResultBlock(content=content):
            return sum(map(_weight, content))
        case DocumentBlock(source=TextSource(data=text)):
            return _text_weight(text)
        case ImageBlock() | DocumentBlock():
            return _ATTACHMENT_TOKENS * _CHARACTERS_PER_TOKEN
        case RedactedThinkingBlock(data=text):
            return len(text)
        case msgspec.Raw():
            return len(bytes(block))
        case _:
            assert_never(block)


def _text_weight(text: str) -> int:
    return len(text) if text.isascii() else 2 * len(text)
