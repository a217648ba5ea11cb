"""Which parts of a Messages request Claude Code takes, and which make it the wrong one to ask."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

import msgspec

from proxy.errors import InvalidRequest
from proxy.model.content import (
    Block,
    ContentSource,
    DocumentBlock,
    FileSource,
    ImageBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from proxy.model.request import InputMessage

APPLIED: Final = (
    "max_tokens",
    "stop_sequences",
    "tools",
    "tool_choice",
    "output_config",
    "thinking",
    "context_management",
)
"""The fields that take the place of the program's own."""
_TOLD: Final = frozenset({"model", "messages", "system", "stream", "cache_control"})
_REFUSED: Final = ("mcp_servers", "container", "thread")
NOTHING: Final = (b"null", b"[]")
"""Values with which a field is as good as left out."""


def lost_fields(names: Collection[str]) -> list[str]:
    """Those of a request's fields that the program does not send."""
    return [name for name in names if name not in _TOLD and name not in APPLIED and name not in _REFUSED]


def refusal(fields: Mapping[str, msgspec.Raw], messages: Sequence[InputMessage]) -> InvalidRequest | None:
    """Why a request cannot be put to the program, with the field as its `param`; None where it can."""
    for name in _REFUSED:
        if name in fields and bytes(fields[name]) not in NOTHING:
            return InvalidRequest("Claude Code cannot be given it; an API key can.", param=name)
    said = [message for message in messages if message.content]
    if said and said[-1].role == "assistant":
        return InvalidRequest(
            "A conversation with Claude Code ends with what the user says; an API key takes an answer that is begun.",
            param="messages",
        )
    return _named_file(messages) or _unanswered(said)


def results_in(blocks: Iterable[Block]) -> frozenset[str]:
    """The ids of the calls whose results are among these blocks."""
    return frozenset(block.tool_use_id for block in blocks if isinstance(block, ToolResultBlock))


def _named_file(messages: Sequence[InputMessage]) -> InvalidRequest | None:
    for place, message in enumerate(messages):
        for index, block in enumerate(message.content):
            if _names_file(block):
                return InvalidRequest(
                    "Claude Code cannot be given a file by its id; an API key that holds it can.",
                    param=f"messages[{place}].content[{index}].source.type",
                )
    return None


def _names_file(block: Block) -> bool:
    match block:
        case ImageBlock(source=FileSource()) | DocumentBlock(source=FileSource()):
            return True
        case DocumentBlock(source=ContentSource(content=list(parts))) | ToolResultBlock(content=parts):
            return any(map(_names_file, parts))
        case _:
            return False


def _unanswered(messages: Sequence[InputMessage]) -> InvalidRequest | None:
    """Calls without a result, which the program would make up, and results without a call, which it would leave out."""
    called: frozenset[str] = frozenset()
    for assistant, together in groupby(messages, lambda message: message.role == "assistant"):
        blocks = [block for message in together for block in message.content]
        if assistant:
            called = frozenset(block.id for block in blocks if isinstance(block, ToolUseBlock))
            continue
        given = results_in(blocks)
        if missing := called - given:
            return _unpaired("These calls have no tool_result right behind them", missing)
        if unknown := given - called:
            return _unpaired("These results belong to no call right before them", unknown)
    return None


def _unpaired(words: str, ids: Collection[str]) -> InvalidRequest:
    return InvalidRequest(f"{words}: {', '.join(sorted(ids))}.", param="messages")
