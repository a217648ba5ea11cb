"""Content blocks of requests and answers.

Source: the content block types of Anthropic's Messages API reference. Blocks this program does not have to
understand (server tools, what is yet to come) stay raw JSON, so that no answer fails to decode for their
sake.
"""

from typing import TypeAlias

import msgspec


class CacheControl(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A cache breakpoint; `ttl` is ``5m`` (the upstream's default) or ``1h``."""

    type: str
    ttl: str | None = None


class TextBlock(msgspec.Struct, frozen=True, tag_field="type", tag="text", omit_defaults=True):
    """Text; `citations` are kept as the upstream wrote them."""

    text: str
    citations: list[msgspec.Raw] | None = None
    cache_control: CacheControl | None = None


class Base64Source(msgspec.Struct, frozen=True, tag_field="type", tag="base64", gc=False):
    """Bytes in the request itself: `media_type` such as ``image/png``, `data` in standard base64."""

    media_type: str
    data: str


class UrlSource(msgspec.Struct, frozen=True, tag_field="type", tag="url", gc=False):
    """Something the upstream fetches."""

    url: str


class FileSource(msgspec.Struct, frozen=True, tag_field="type", tag="file", gc=False):
    """A file uploaded before, in the workspace of the credential."""

    file_id: str


class TextSource(msgspec.Struct, frozen=True, tag_field="type", tag="text", gc=False):
    """A plain text document in the request itself."""

    media_type: str
    data: str


class ImageBlock(msgspec.Struct, frozen=True, tag_field="type", tag="image", omit_defaults=True):
    """An image."""

    source: Base64Source | UrlSource | FileSource
    cache_control: CacheControl | None = None


class ContentSource(msgspec.Struct, frozen=True, tag_field="type", tag="content"):
    """A document made of blocks in the request itself."""

    content: str | list[TextBlock | ImageBlock]


class CitationsConfig(msgspec.Struct, frozen=True, gc=False):
    """Whether answers cite the document."""

    enabled: bool = False


class DocumentBlock(msgspec.Struct, frozen=True, tag_field="type", tag="document", omit_defaults=True):
    """A PDF or text document."""

    source: Base64Source | UrlSource | FileSource | TextSource | ContentSource
    title: str | None = None
    context: str | None = None
    citations: CitationsConfig | None = None
    cache_control: CacheControl | None = None


class ToolUseBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_use", omit_defaults=True):
    """A call of one of the client's tools; `input` is the JSON text of an object, as it came."""

    id: str
    name: str
    input: msgspec.Raw
    cache_control: CacheControl | None = None


class ThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="thinking", gc=False):
    """Thinking; its text is empty where the upstream shows none. `signature` proves whose it is."""

    thinking: str
    signature: str = ""


class RedactedThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="redacted_thinking", gc=False):
    """Thinking that is shown to nobody, encrypted."""

    data: str


UnknownBlock: TypeAlias = msgspec.Raw
"""A block this program carries without reading it: its JSON text."""

ResultContent: TypeAlias = TextBlock | ImageBlock | DocumentBlock | UnknownBlock
"""What a tool may answer with."""


class ToolResultBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_result", omit_defaults=True):
    """The answer to one tool call."""

    tool_use_id: str
    content: list[ResultContent] = msgspec.field(default_factory=list)
    is_error: bool = False
    cache_control: CacheControl | None = None


KnownBlock: TypeAlias = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
)
Block: TypeAlias = KnownBlock | UnknownBlock

GATEWAY_SIGNATURE_PREFIX = "gw1."
"""How the signatures begin that this program puts on other providers' reasoning; no provider knows them."""

EMPTY_OBJECT = msgspec.Raw(b"{}")
"""The input of a tool call without arguments."""


class _Typed(msgspec.Struct, gc=False):
    type: str


class _WireToolResult(msgspec.Struct):
    tool_use_id: str
    content: str | list[msgspec.Raw] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None


_KNOWN_TYPES = frozenset(
    ("text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking")
)
_block_decoder: msgspec.json.Decoder[Block] = msgspec.json.Decoder(Block)
_type_decoder = msgspec.json.Decoder(_Typed)
_tool_result_decoder = msgspec.json.Decoder(_WireToolResult)


def block_type(raw: bytes | msgspec.Raw) -> str:
    """The ``type`` of a block in JSON. Raises msgspec.ValidationError where there is none."""
    return _type_decoder.decode(raw).type


def decode_block(raw: bytes | msgspec.Raw) -> Block:
    """One block from its JSON; of a type not modelled here, the JSON itself without its insignificant spaces.

    Raises:
        msgspec.DecodeError: the text is no JSON object with a ``type``, or mistypes a field of a known block.
    """
    kind = block_type(raw)
    if kind not in _KNOWN_TYPES:
        return msgspec.Raw(msgspec.json.format(bytes(raw), indent=-1))
    if kind == "tool_result":
        return _decode_tool_result(raw)
    return _block_decoder.decode(raw)


def _decode_tool_result(raw: bytes | msgspec.Raw) -> ToolResultBlock:
    wire = _tool_result_decoder.decode(raw)
    content: list[ResultContent] = []
    if isinstance(wire.content, str):
        content = [TextBlock(wire.content)] if wire.content else []
    else:
        for part in wire.content or ():
            block = decode_block(part)
            if not isinstance(block, TextBlock | ImageBlock | DocumentBlock | msgspec.Raw):
                raise msgspec.ValidationError(
                    f"Invalid value {block_type(part)!r} - at `$.content[...].type`"
                )
            content.append(block)
    return ToolResultBlock(
        tool_use_id=wire.tool_use_id,
        content=content,
        is_error=bool(wire.is_error),
        cache_control=wire.cache_control,
    )
