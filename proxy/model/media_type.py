"""What a file is, told by its own bytes: what a name, a header or a client calls it is often wrong.

Only headers are read, never pixels. Sources: the signatures of PNG (RFC 2083), JPEG (ITU-T T.81), GIF89a, WebP
(RFC 9649) and PDF (ISO 32000), and the limits on "Vision" in Anthropic's documentation.
"""

import binascii
from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

HEAD_BYTES: Final = 48
"""How many of the first bytes tell the type of an image or a PDF."""

SIDE_MAX_PIXELS: Final = 8000
"""Neither side of an image may be longer."""

_JPEG_SEGMENTS_MAX: Final = 1024
_JPEG_SIZE_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WEBP_SIDE_MASK: Final = 0x3FFF
_NOT_IN_TEXT: Final = bytes(set(range(0x20)) - set(b"\t\n\f\r\x1b")) + b"\x7f"

Reader: TypeAlias = Callable[[int, int], bytes]
"""Gives the bytes from an offset on, of a length; fewer at the end of the file."""


class MediaType(StrEnum):
    """What Claude can be shown."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    GIF = "image/gif"
    WEBP = "image/webp"
    PDF = "application/pdf"
    TEXT = "text/plain"


IMAGES: Final = frozenset({MediaType.PNG, MediaType.JPEG, MediaType.GIF, MediaType.WEBP})


def media_type_of(head: bytes) -> MediaType | None:
    """The type of an image or a PDF by its first `HEAD_BYTES`, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return MediaType.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return MediaType.PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return MediaType.GIF
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return MediaType.WEBP
    return MediaType.PDF if head.startswith(b"%PDF-") else None


def is_text(content: bytes) -> bool:
    """Whether a whole file is text in UTF-8: some of it, and no control characters but those of layout."""
    if not content or len(content.translate(None, _NOT_IN_TEXT)) < len(content):
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def reader_of(content: bytes) -> Reader:
    """Reads a file that is at hand."""
    return lambda offset, length: content[offset : offset + length]


def base64_reader(data: str) -> Reader:
    """Reads a file out of its padded standard base64 without decoding the rest of it."""

    def read(offset: int, length: int) -> bytes:
        first = offset // 3
        behind = -(-(offset + length) // 3)
        content = binascii.a2b_base64(data[first * 4 : behind * 4])
        return content[offset - first * 3 :][:length]

    return read


def pixel_size(media_type: MediaType, read: Reader) -> tuple[int, int] | None:
    """Width and height of an image by its header; None where it has none that can be read."""
    match media_type:
        case MediaType.PNG:
            return _png_size(read(0, 24))
        case MediaType.GIF:
            return _gif_size(read(0, 10))
        case MediaType.JPEG:
            return _jpeg_size(read)
        case MediaType.WEBP:
            return _webp_size(read(0, 30))
        case MediaType.PDF | MediaType.TEXT:
            return None
        case _:
            assert_never(media_type)


def too_large(size: tuple[int, int]) -> bool:
    """Whether the API would refuse an image of this width and height."""
    return max(size) > SIDE_MAX_PIXELS


def _little(number: bytes) -> int:
    return int.from_bytes(number, "little")


def _png_size(head: bytes) -> tuple[int, int] | None:
    if len(head) < 24 or head[12:16] != b"IHDR":
        return None
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def _gif_size(head: bytes) -> tuple[int, int] | None:
    return (_little(head[6:8]), _little(head[8:10])) if len(head) == 10 else None


def _jpeg_size(read: Reader) -> tuple[int, int] | None:
    """Hops from segment to segment; a file with more of them than any camera writes is given up."""
    offset = 2
    for _ in range(_JPEG_SEGMENTS_MAX):
        segment = read(offset, 9)
        if len(segment) < 9 or segment[0] != 0xFF:
            return None
        if segment[1] in _JPEG_SIZE_MARKERS:
            return int.from_bytes(segment[7:9]), int.from_bytes(segment[5:7])
        # any number of fill bytes may stand before a marker
        offset += 1 if segment[1] == 0xFF else 2 + int.from_bytes(segment[2:4])
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    if len(head) < 30:
        return None
    match head[12:16]:
        case b"VP8 ":
            return _little(head[26:28]) & _WEBP_SIDE_MASK, _little(head[28:30]) & _WEBP_SIDE_MASK
        case b"VP8L":
            bits = _little(head[21:25])
            return (bits & _WEBP_SIDE_MASK) + 1, (bits >> 14 & _WEBP_SIDE_MASK) + 1
        case b"VP8X":
            return _little(head[24:27]) + 1, _little(head[27:30]) + 1
        case _:
            return None
