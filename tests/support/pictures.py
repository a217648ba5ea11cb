"""The smallest files that are what they say: headers with a size of one's choice, and next to nothing behind them."""

import struct
import zlib
from typing import Final

PDF: Final = b"%PDF-1.7\n%%EOF\n"


def png(width: int = 2, height: int = 3) -> bytes:
    """A PNG whose pixels are all missing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    sized = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + sized + b"\0\0\0\0IEND\xaeB\x60\x82"


def gif(width: int = 2, height: int = 3, version: bytes = b"89a") -> bytes:
    """A GIF without a frame."""
    return b"GIF" + version + struct.pack("<HHBBB", width, height, 0, 0, 0) + b";"


def jpeg(width: int = 2, height: int = 3, before: bytes = b"", marker: int = 0xC0) -> bytes:
    """A JPEG that ends after its frame header; `before` are the segments in front of that."""
    frame = struct.pack(">BBHBHHB", 0xFF, marker, 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8" + before + frame + b"\xff\xd9"


def segment(content: bytes, marker: int = 0xE1) -> bytes:
    """One segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def webp(width: int = 2, height: int = 3, form: bytes = b"VP8X") -> bytes:
    """A WebP of one of its three forms: ``VP8 ``, ``VP8L``, ``VP8X``."""
    match form:
        case b"VP8 ":
            inside = b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height)
        case b"VP8L":
            inside = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(8)
        case _:
            inside = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = form + struct.pack("<I", len(inside)) + inside
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk
