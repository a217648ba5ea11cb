"""What a request asks for: as much of it as makes a difference between kinds of credentials."""

import re
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final, assert_never

import msgspec

from proxy.capabilities.feature import Feature, Front, Verdict
from proxy.capabilities.table import ROWS, asked
from proxy.dialects.common import Translated
from proxy.model.content import (
    Base64Source,
    Block,
    ContentSource,
    DocumentBlock,
    FileSource,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    TextSource,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from proxy.model.media_type import MediaType
from proxy.model.request import Request, ThinkingAdaptive, ThinkingEnabled, Tool, ToolChoiceNone

_PLACES: Final = re.compile(r"\[\d+\]")
_UP_TO_HIGH: Final = frozenset({"low", "medium", "high"})
_STOPS: Final = 4
_KEPT: Final = frozenset({Feature.CONTAINER, Feature.MCP_CONNECTOR, Feature.CONTEXT_MANAGEMENT})

_LOST: Final = MappingProxyType(
    {
        (front, row.fields[front]): feature
        for feature, row in ROWS.items()
        for front in Front
        if front in row.fields
        and (asked(row, front).verdict is Verdict.DROPPED or (front is Front.MESSAGES and feature in _KEPT))
    }
)
"""The features of fields that no canonical request holds, by dialect and field."""


def features_of(translated: Translated, front: Front, own_fields: Sequence[str] = ()) -> frozenset[Feature]:
    """The features of a request that some kind of credential may lose.

    Args:
        translated: the request, with what it has lost on the way into the canonical form.
        front: the dialect it was written in.
        own_fields: fields of ours in it, which are no upstream's.
    """
    found = set(_of_request(translated.request))
    for loss in translated.dropped:
        if loss.field in own_fields:
            continue
        feature = _LOST.get((front, _PLACES.sub("[]", loss.field)))
        if feature is not None:
            found.add(feature)
        elif "." not in loss.field and loss.reason == "unknown field":
            found.add(Feature.OTHER_FIELDS)
    return frozenset(found)


def _of_request(request: Request) -> Iterator[Feature]:
    yield from _of_fields(request)
    yield from _of_tools(request)
    for text in request.system:
        yield from _of_block(text)
    for message in request.messages:
        for block in message.content:
            yield from _of_block(block)


def _of_fields(request: Request) -> Iterator[Feature]:
    given = (
        (Feature.TEMPERATURE, request.temperature),
        (Feature.TOP_P, request.top_p),
        (Feature.TOP_K, request.top_k),
        (Feature.END_USER, request.metadata),
        (Feature.SERVICE_TIER, request.service_tier),
        (Feature.SPEED, request.speed),
        (Feature.CACHE_MARKS, request.cache_control),
    )
    yield from (feature for feature, value in given if value is not None)
    if request.messages and request.messages[-1].role == "assistant":
        yield Feature.PREFILL
    if len(request.stop_sequences) > _STOPS:
        yield Feature.MORE_STOP_SEQUENCES
    if isinstance(request.thinking, ThinkingAdaptive | ThinkingEnabled):
        yield Feature.THINKING
    if isinstance(request.thinking, ThinkingEnabled):
        yield Feature.THINKING_BUDGET
    config = request.output_config
    if config is not None and config.effort is not None:
        yield Feature.EFFORT if config.effort in _UP_TO_HIGH else Feature.GREATER_EFFORT
    if config is not None and config.format is not msgspec.UNSET:
        yield Feature.JSON_SCHEMA


def _of_tools(request: Request) -> Iterator[Feature]:
    withheld = isinstance(request.tool_choice, ToolChoiceNone)
    if request.tools:
        yield Feature.WITHHELD_TOOLS if withheld else Feature.TOOLS
    for tool in request.tools:
        if not isinstance(tool, Tool):
            # they need the provider even where they may not be called
            yield Feature.SERVER_TOOLS
        elif tool.cache_control is not None:
            yield Feature.CACHE_MARKS


def _of_block(block: Block) -> Iterator[Feature]:
    if isinstance(block, msgspec.Raw):
        yield Feature.SEARCH_RESULTS
        return
    if isinstance(block, ThinkingBlock | RedactedThinkingBlock):
        yield Feature.THINKING_SIGNATURES
        return
    if block.cache_control is not None:
        yield Feature.CACHE_MARKS
    match block:
        case TextBlock() | ToolUseBlock():
            pass
        case ImageBlock():
            yield from _of_image(block)
        case DocumentBlock():
            yield from _of_document(block)
        case ToolResultBlock(content=content):
            if block.is_error:
                yield Feature.TOOL_ERRORS
            for part in content:
                yield from _of_block(part)
        case _:
            assert_never(block)


def _of_image(block: ImageBlock) -> Iterator[Feature]:
    match block.source:
        case Base64Source():
            pass
        case UrlSource():
            yield Feature.IMAGE_URL
        case FileSource():
            yield Feature.IMAGE_FILE
        case _:
            assert_never(block.source)


def _of_document(block: DocumentBlock) -> Iterator[Feature]:
    if block.context:
        yield Feature.DOCUMENT_CONTEXT
    if block.citations is not None and block.citations.enabled:
        yield Feature.CITATIONS
    match block.source:
        case Base64Source(media_type=MediaType.PDF):
            yield Feature.PDF_DATA
        case Base64Source() | TextSource():
            yield Feature.TEXT_DOCUMENT
        case ContentSource(content=content):
            yield Feature.TEXT_DOCUMENT
            for part in content if isinstance(content, list) else ():
                yield from _of_block(part)
        case UrlSource():
            yield Feature.DOCUMENT_URL
        case FileSource():
            yield Feature.DOCUMENT_FILE
        case _:
            assert_never(block.source)
