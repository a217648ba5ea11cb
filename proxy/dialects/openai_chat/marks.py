"""The cache marks OpenAI clients set themselves, in Anthropic's words or in OpenAI's, as ``cache_control``.

Sources: "Prompt caching" in Anthropic's documentation: at most four in a request, the automatic one included, and
none that lasts an hour behind one of five minutes. "Prompt caching" in OpenAI's for the names of its fields; what is
to last longer than five minutes lasts an hour.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.openai_chat.schema import CacheBreakpoint, ChatRequest
from proxy.model.content import Block, CacheControl, RedactedThinkingBlock, ThinkingBlock
from proxy.model.request import InputMessage, Request, Tool

_MARKS_MAX: Final = 4
_HOUR: Final = "1h"
_LIFETIMES: Final[Mapping[str | None, str | None]] = MappingProxyType(
    {None: None, "5m": None, "in_memory": None, "30m": _HOUR, "1h": _HOUR, "12h": _HOUR, "24h": _HOUR}
)
"""By OpenAI's words for how long; None is the upstream's default."""
_EXPLICIT: Final = "explicit"
_Unit = TypeVar("_Unit")


def mark_of(mark: CacheControl | None, breakpoint_: CacheBreakpoint | None) -> CacheControl | None:
    """The mark of a content part: Anthropic's, or OpenAI's in its words."""
    if mark is not None or breakpoint_ is None:
        return mark
    return CacheControl("ephemeral", _LIFETIMES.get(breakpoint_.ttl, _HOUR))


def only_marked(request: ChatRequest) -> bool:
    """Whether the client wants nothing cached but what it marks."""
    options = request.prompt_cache_options
    return options is not None and options.mode == _EXPLICIT


def whole_mark(request: ChatRequest) -> CacheControl | None:
    """The mark behind the whole request: the client's own, or what its cache options come to."""
    options = request.prompt_cache_options
    if request.cache_control is not None or (options is None and request.prompt_cache_retention is None):
        return request.cache_control
    if only_marked(request):
        return None
    asked = options.ttl if options is not None and options.ttl is not None else request.prompt_cache_retention
    lifetime = _LIFETIMES.get(asked, _HOUR)
    if lifetime is None and (options is None or options.mode is None):
        return None
    return CacheControl("ephemeral", lifetime)


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


def lawful(request: Request) -> tuple[Request, tuple[Dropped, ...]]:
    """The request with marks the upstream takes, and what was lost: it keeps the last four, of the longest prefixes."""
    marks = 0
    for tool in request.tools:
        marks += isinstance(tool, Tool) and tool.cache_control is not None
    for part in request.system:
        marks += part.cache_control is not None
    for turn in request.messages:
        for block in turn.content:
            marks += getattr(block, "cache_control", None) is not None
    if not marks:
        return request, ()
    surplus = marks + (request.cache_control is not None) - _MARKS_MAX
    if surplus <= 0:
        return _in_order(request), ()
    return _in_order(_without(request, surplus)), (
        Dropped("cache_control", "only the last four marks count"),
    )


def _without(request: Request, surplus: int) -> Request:
    without = _Without(surplus)
    return msgspec.structs.replace(
        request,
        tools=[without.mark(tool) for tool in request.tools],
        system=[without.mark(block) for block in request.system],
        messages=[
            InputMessage(turn.role, [without.mark(block) for block in turn.content])
            for turn in request.messages
        ],
    )


def _in_order(request: Request) -> Request:
    """The request with marks that last as long as those behind them."""
    units: list[object] = [*request.tools, *request.system]
    units += [block for turn in request.messages for block in turn.content]
    lasting = [place for place, unit in enumerate(units) if _lifetime(unit) == _HOUR]
    last = len(units) if request.cache_control is not None and request.cache_control.ttl == _HOUR else -1
    last = max(last, *lasting) if lasting else last
    if all(not _is_marked(unit) or _lifetime(unit) == _HOUR for unit in units[: max(last, 0)]):
        return request
    longer = _Lasting(last)
    return msgspec.structs.replace(
        request,
        tools=[longer.mark(tool) for tool in request.tools],
        system=[longer.mark(block) for block in request.system],
        messages=[
            InputMessage(turn.role, [longer.mark(block) for block in turn.content])
            for turn in request.messages
        ],
    )


def _lifetime(unit: object) -> str | None:
    mark = getattr(unit, "cache_control", None)
    return mark.ttl if isinstance(mark, CacheControl) else None


class _Lasting:
    """Makes the marks of so many units last an hour."""

    def __init__(self, units: int) -> None:
        self._left = units

    def mark(self, unit: _Unit) -> _Unit:
        self._left -= 1
        if self._left < 0 or not isinstance(unit, msgspec.Struct) or not _is_marked(unit):
            return unit
        return msgspec.structs.replace(unit, cache_control=CacheControl("ephemeral", _HOUR))


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
