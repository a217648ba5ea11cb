"""Reading what an image is from its first bytes."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulator.media import attachment_of, attachments_of, first_bytes, media_type_of, pixel_size
from proxy.simulator.wire import Block, Message, Source

_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 10, 20) + b"\x08\x06\x00\x00\x00"
_GIF = b"GIF89a" + struct.pack("<HH", 10, 20)
_JPEG = (
    b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc4\x00\x02\xff\xc0\x00\x0b\x08"
    + struct.pack(">HH", 20, 10)
    + b"\x03"
)
_LOSSY = b"RIFF\x00\x00\x00\x00WEBPVP8 " + b"\x00" * 10 + struct.pack("<HH", 10, 20)
_LOSSLESS = b"RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f" + struct.pack("<I", 9 | 19 << 14)
_EXTENDED = b"RIFF\x00\x00\x00\x00WEBPVP8X" + b"\x00" * 8 + b"\x09\x00\x00\x13\x00\x00"
_IMAGES = {
    "image/png": [_PNG],
    "image/gif": [_GIF],
    "image/jpeg": [_JPEG],
    "image/webp": [_LOSSY, _LOSSLESS, _EXTENDED],
}


@pytest.mark.parametrize(
    ("media_type", "data"), [(name, data) for name, images in _IMAGES.items() for data in images]
)
def test_type_and_size_are_read_from_the_header(media_type: str, data: bytes) -> None:
    """A test sees by the echo that an image arrived whole."""
    assert media_type_of(data) == media_type
    assert pixel_size(data) == (10, 20)


@given(st.sampled_from([_PNG, _GIF, _JPEG, _LOSSY, _LOSSLESS, _EXTENDED]), st.integers(0, 40))
def test_a_cut_header_gives_a_size_or_nothing(data: bytes, length: int) -> None:
    """Broken images must not break the simulator."""
    assert pixel_size(data[:length]) in {None, (10, 20)}


def _image(data: bytes, media_type: str = "image/png") -> Block:
    source = Source(type="base64", media_type=media_type, data=base64.b64encode(data).decode())
    return Block(type="image", source=source)


def test_an_image_is_described_by_type_size_and_length() -> None:
    """The length is that of the decoded bytes, whatever the padding."""
    for extra in (b"", b"x", b"xy"):
        attachment = attachment_of(_image(_PNG + extra))
        assert attachment is not None
        assert attachment.describe() == f"image/png 10x20 {len(_PNG + extra)} bytes"


def test_images_inside_tool_results_are_found() -> None:
    """They cost and count like the others."""
    result = Block(type="tool_result", tool_use_id="t", content=[_image(_PNG)])
    found = attachments_of([Message("user", "text"), Message("user", [result, _image(_GIF, "image/gif")])])
    assert [one.media_type for one in found] == ["image/png", "image/gif"]


@pytest.mark.parametrize(
    ("source", "described"),
    [
        (Source(type="text", data="hé"), "text/plain 3 bytes"),
        (Source(type="content", content="abc"), "content 3 bytes"),
        (Source(type="content", content=[Block(type="text", text="ab")]), "content 2 bytes"),
        (Source(type="url", url="https://example.com/a.pdf"), "url 0 bytes"),
        (Source(type="file", file_id="file_1"), "file 0 bytes"),
        (Source(type="base64", media_type="application/pdf", data="JVBERi0="), "application/pdf 5 bytes"),
    ],
)
def test_a_document_is_described_by_its_source(source: Source, described: str) -> None:
    """Every kind of source the API takes."""
    attachment = attachment_of(Block(type="document", source=source))
    assert attachment is not None
    assert attachment.describe() == described


def test_an_image_costs_its_patches_up_to_a_bound() -> None:
    """One token for each patch of 28 pixels begun."""
    small, large = attachment_of(_image(_PNG)), attachment_of(_image(_PNG.replace(b"\x00\x0a", b"\x40\x0a")))
    assert small is not None
    assert large is not None
    assert small.tokens(1568) == 1
    assert large.tokens(1568) == 586
    assert large.tokens(500) == 500


def test_what_is_no_base64_has_no_bytes() -> None:
    """Validation refuses it later by its missing type."""
    assert first_bytes("%%%") == b""
    assert attachment_of(Block(type="text", text="a")) is None
