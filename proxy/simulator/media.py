"""What an image or a document is, read from its first bytes."""

import base64
import binascii
import math
import struct

import msgspec

from proxy.simulator.wire import Block, Message, Source, blocks_of

_PATCH_PIXELS = 28
_WEBP_EXTENDED_BYTES = 30
_HEADER_CHARACTERS = 1 << 20
_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Attachment(msgspec.Struct, frozen=True):
    """An image or a document of a request.

    Attributes:
        kind: ``image`` or ``document``.
        media_type: as declared; ``url`` or ``file`` where only a reference came.
        size: width and height in pixels, where they could be read.
        length_bytes: of the decoded data.
        text: of a document that is plain text.
    """

    kind: str
    media_type: str
    size: tuple[int, int] | None
    length_bytes: int
    text: str = ""

    def describe(self) -> str:
        """``image/png 10x20 70 bytes``."""
        words = [self.media_type]
        if self.size is not None:
            words.append(f"{self.size[0]}x{self.size[1]}")
        words.append(f"{self.length_bytes} bytes")
        return " ".join(words)

    def tokens(self, most: int) -> int:
        """What it costs: for an image one token for each patch of 28 by 28 pixels begun, at most `most`."""
        if self.kind == "image":
            width, height = self.size or (_PATCH_PIXELS, _PATCH_PIXELS)
            return min(most, math.ceil(width / _PATCH_PIXELS) * math.ceil(height / _PATCH_PIXELS))
        return max(1, self.length_bytes // 4)


def attachments_of(messages: list[Message]) -> list[Attachment]:
    """Every image and document of the messages, those inside tool results too, in order."""
    return [
        attachment
        for message in messages
        if not isinstance(message.content, str)
        for attachment in _attachments(message.content)
    ]


def _attachments(blocks: list[Block]) -> list[Attachment]:
    found = []
    for block in blocks:
        if (attachment := attachment_of(block)) is not None:
            found.append(attachment)
        elif isinstance(block.content, list):
            found.extend(_attachments(block.content))
    return found


def attachment_of(block: Block) -> Attachment | None:
    """What an image or document block brings; None for other blocks."""
    source = block.source
    if block.type not in {"image", "document"} or not isinstance(source, Source):
        return None
    match source.type:
        case "base64":
            size = pixel_size(first_bytes(source.data))
            return Attachment(block.type, source.media_type, size, _decoded_length(source.data))
        case "text":
            media_type = source.media_type or "text/plain"
            return Attachment(block.type, media_type, None, len(source.data.encode()), source.data)
        case "content" if source.content is not None:
            text = "\n".join(part.text or "" for part in blocks_of(source.content))
            return Attachment(block.type, "content", None, len(text.encode()), text)
        case other:
            return Attachment(block.type, other, None, 0)


def first_bytes(data: str) -> bytes:
    """The beginning of base64 data, enough for any header; empty where it is no base64."""
    try:
        return base64.b64decode(data[:_HEADER_CHARACTERS], validate=True)
    except (binascii.Error, ValueError):
        return b""


def _decoded_length(data: str) -> int:
    return len(data) * 3 // 4 - data[-2:].count("=")


def media_type_of(data: bytes) -> str | None:
    """The image type the first bytes announce, or None."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def pixel_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, JPEG, GIF or WebP image, or None where the header does not tell."""
    try:
        match media_type_of(data):
            case "image/png":
                return _pair(struct.unpack_from(">II", data, 16))
            case "image/gif":
                return _pair(struct.unpack_from("<HH", data, 6))
            case "image/jpeg":
                return _jpeg_size(data)
            case "image/webp":
                return _webp_size(data)
            case _:
                return None
    except (struct.error, IndexError):
        return None


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return values[0], values[1]


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _SOF_MARKERS:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        if marker == 0xFF:
            position += 1
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            position += 2 + length
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
        case b"VP8X" if len(data) >= _WEBP_EXTENDED_BYTES:
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case _:
            return None
