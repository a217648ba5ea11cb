"""The cache marks some OpenAI clients set themselves, as Anthropic's ``cache_control``.

Source: "Prompt caching" in Anthropic's documentation: at most four in a request, the automatic one included.
"""

from typing import Final, TypeVar

import msgspec

from proxy.dialects.common import Dropped
from proxy.model.content import Block, CacheControl, RedactedThinkingBlock, ThinkingBlock
from proxy.model.request import InputMessage, Request

_MARKS_MAX: Final = 4
_Unit = TypeVar("_Unit")


def mark_last(blocks: list[Block], mark: CacheControl | None) -> list[Block]:
    """The blocks of a message that was marked as a whole."""
    if mark is None or not blocks:
        return blocks
    last = blocks[-1]
    if (
        isinstance(last, msgspec.Raw | ThinkingBlock | RedactedThinkingBlock)
        or last.cache_control is not None
    ):
        return blocks
    return [*blocks[:-1], msgspec.structs.replace(last, cache_control=mark)]


def within_limit(request: Request) -> tuple[Request, tuple[Dropped, ...]]:
    """The request with its last four marks, which cover the longest prefixes, and what was lost."""
    marks = sum(_is_marked(unit) for unit in (*request.tools, *request.system))
    marks += sum(_is_marked(block) for turn in request.messages for block in turn.content)
    surplus = marks + (request.cache_control is not None) - _MARKS_MAX
    if surplus <= 0:
        return request, ()
    without = _Without(surplus)
    changed = msgspec.structs.replace(
        request,
        tools=[without.mark(tool) for tool in request.tools],
        system=[without.mark(block) for block in request.system],
        messages=[
            InputMessage(turn.role, [without.mark(block) for block in turn.content])
            for turn in request.messages
        ],
    )
    return changed, (Dropped("cache_control", "only the last four marks count"),)


class _Without:
    """Takes marks away, so many of them."""

    def __init__(self, surplus: int) -> None:
        self._surplus = surplus

    def mark(self, unit: _Unit) -> _Unit:
        if not self._surplus or not isinstance(unit, msgspec.Struct) or not _is_marked(unit):
            return unit
        self._surplus -= 1
        return msgspec.structs.replace(unit, cache_control=None)


def _is_marked(unit: object) -> bool:
    return getattr(unit, "cache_control", None) is not None
