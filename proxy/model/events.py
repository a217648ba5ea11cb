"""The canonical stream: the server-sent events of Anthropic's Messages API.

Source: "Streaming messages" in Anthropic's documentation. A delta of a type not modelled here stays raw JSON.
"""

from typing import TypeAlias

import msgspec

from proxy.model.content import Block
from proxy.model.message import Message, StopDetails, Usage


class MessageStart(msgspec.Struct, frozen=True, tag_field="type", tag="message_start"):
    """The answer begins; `message` has no content yet."""

    message: Message


class ContentBlockStart(msgspec.Struct, frozen=True, tag_field="type", tag="content_block_start"):
    """A block begins. Indexes count from 0 without gaps; blocks never interleave."""

    index: int
    content_block: Block


class TextDelta(msgspec.Struct, frozen=True, tag_field="type", tag="text_delta", gc=False):
    """More text."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, tag_field="type", tag="thinking_delta", gc=False):
    """More thinking; may be empty."""

    thinking: str


class SignatureDelta(msgspec.Struct, frozen=True, tag_field="type", tag="signature_delta", gc=False):
    """The signature of a thinking block."""

    signature: str


class InputJsonDelta(msgspec.Struct, frozen=True, tag_field="type", tag="input_json_delta", gc=False):
    """A piece of the JSON text of a tool's input; may be empty."""

    partial_json: str


class CitationsDelta(msgspec.Struct, frozen=True, tag_field="type", tag="citations_delta"):
    """One citation for the open text block, as the upstream wrote it."""

    citation: msgspec.Raw


UnknownDelta: TypeAlias = msgspec.Raw
"""A delta this program carries without reading it: its JSON text."""

Delta: TypeAlias = TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta | CitationsDelta | UnknownDelta


class ContentBlockDelta(msgspec.Struct, frozen=True, tag_field="type", tag="content_block_delta"):
    """More of the open block."""

    index: int
    delta: Delta


class ContentBlockStop(msgspec.Struct, frozen=True, tag_field="type", tag="content_block_stop", gc=False):
    """The open block is whole."""

    index: int


class Stop(msgspec.Struct, frozen=True):
    """Why the answer ends."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None


class MessageDelta(msgspec.Struct, frozen=True, tag_field="type", tag="message_delta"):
    """The end is near: its reason, and the usage so far. It may come several times; the last one counts."""

    delta: Stop
    usage: Usage = msgspec.field(default_factory=Usage)


class MessageStop(msgspec.Struct, frozen=True, tag_field="type", tag="message_stop", gc=False):
    """The answer is whole. Nothing else says so."""


class Ping(msgspec.Struct, frozen=True, tag_field="type", tag="ping", gc=False):
    """A sign of life."""


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong, in Anthropic's words; `details` as the upstream wrote them."""

    type: str = "api_error"
    message: str = ""
    details: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ErrorEvent(msgspec.Struct, frozen=True, tag_field="type", tag="error", omit_defaults=True):
    """The answer ends here and is not whole."""

    error: ErrorBody
    request_id: str | None = None


Event: TypeAlias = (
    MessageStart
    | ContentBlockStart
    | ContentBlockDelta
    | ContentBlockStop
    | MessageDelta
    | MessageStop
    | Ping
    | ErrorEvent
)
