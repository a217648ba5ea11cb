"""What a file is, by its own bytes."""

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.media_type import (
    HEAD_BYTES,
    IMAGES,
    MediaType,
    base64_reader,
    is_text,
    media_type_of,
    pixel_size,
    reader_of,
    too_large,
)
from tests.support.pictures import PDF, gif, jpeg, png, segment, webp

_FILLED = b"\xff" * 3 + segment(b"Exif\0" * 20)
FILES = {
    "png": (MediaType.PNG, png(7, 9)),
    "gif87": (MediaType.GIF, gif(7, 9, b"87a")),
    "gif89": (MediaType.GIF, gif(7, 9)),
    "jpeg": (MediaType.JPEG, jpeg(7, 9)),
    "jpeg behind segments": (MediaType.JPEG, jpeg(7, 9, segment(b"x" * 65_000) * 3 + segment(b""))),
    "jpeg behind fill bytes": (MediaType.JPEG, jpeg(7, 9, _FILLED)),
    "jpeg, progressive": (MediaType.JPEG, jpeg(7, 9, segment(b"table", 0xC4), 0xC2)),
    "webp, lossy": (MediaType.WEBP, webp(7, 9, b"VP8 ")),
    "webp, lossless": (MediaType.WEBP, webp(7, 9, b"VP8L")),
    "webp, extended": (MediaType.WEBP, webp(7, 9)),
}


@pytest.mark.parametrize("name", FILES)
def test_an_image_is_known_by_its_head_and_tells_its_size(name: str) -> None:
    """Protects requests from types and sizes that the upstream refuses."""
    kind, content = FILES[name]
    assert media_type_of(content[:HEAD_BYTES]) is kind
    assert kind in IMAGES
    assert pixel_size(kind, reader_of(content)) == (7, 9)


@pytest.mark.parametrize("name", FILES)
def test_the_size_is_read_out_of_base64_as_out_of_bytes(name: str) -> None:
    """Protects large images from being decoded for the sake of their header."""
    kind, content = FILES[name]
    data = binascii.b2a_base64(content, newline=False).decode()
    assert pixel_size(kind, base64_reader(data)) == (7, 9)


@pytest.mark.parametrize("name", FILES)
def test_an_image_cut_off_in_its_header_has_no_size(name: str) -> None:
    """Protects from reading a size that is not there; nothing raises wherever the cut is."""
    kind, content = FILES[name]
    whole = pixel_size(kind, reader_of(content))
    for length in range(min(len(content), 200)):
        assert pixel_size(kind, reader_of(content[:length])) in {None, whole}
    assert pixel_size(kind, reader_of(content[:9])) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"SIMPLE  =                    T",
        b"\x89PNG\n",
        b"RIFF\0\0\0\0WAVE",
        b" %PDF-1.7",
        b"BM",
        b"II*\0",
    ],
)
def test_nothing_else_is_taken_for_an_image_or_a_pdf(content: bytes) -> None:
    """Protects the upstream from formats whose readers were attacked before."""
    assert media_type_of(content) is None


def test_a_pdf_is_known_and_has_no_size_in_pixels() -> None:
    """Protects documents from the rules of images."""
    assert media_type_of(PDF) is MediaType.PDF
    assert pixel_size(MediaType.PDF, reader_of(PDF)) is None
    assert pixel_size(MediaType.TEXT, reader_of(b"text")) is None


def test_a_jpeg_of_endless_segments_is_given_up() -> None:
    """Protects the loop: five megabytes of empty segments are more than a million of them."""
    asked = []

    def read(offset: int, length: int) -> bytes:
        asked.append(offset)
        return (b"\xff\xe1\0\x02" * 3)[:length]

    assert pixel_size(MediaType.JPEG, read) is None
    assert len(asked) <= 1024


@pytest.mark.parametrize(
    "content", [jpeg()[:2] + b"\0" * 20, png().replace(b"IHDR", b"iHDR"), webp().replace(b"VP8X", b"VP8?")]
)
def test_a_header_of_an_unknown_build_has_no_size(content: bytes) -> None:
    """Protects from numbers read out of something else."""
    kind = media_type_of(content) or MediaType.JPEG
    assert pixel_size(kind, reader_of(content)) is None


@pytest.mark.parametrize(
    ("size", "refused"),
    [((8000, 8000), False), ((8001, 1), True), ((1, 8001), True), ((50_000, 50_000), True)],
)
def test_sides_are_limited_as_the_api_does(size: tuple[int, int], *, refused: bool) -> None:
    """Protects the figure, and both sides."""
    assert too_large(size) is refused


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"plain\r\n\ttext", True),
        ("ä €".encode(), True),
        (b"\x1b[1mbold", True),
        (b"", False),
        (b"nul\0", False),
        (b"\x7f", False),
        (b"\xff\xfe", False),
        (b"half a letter \xc3", False),
    ],
)
def test_text_is_utf_8_without_control_characters(content: bytes, *, text: bool) -> None:
    """Protects documents from being binary files in disguise."""
    assert is_text(content) is text


@given(st.binary(max_size=300), st.integers(0, 310), st.integers(0, 40))
def test_base64_is_read_anywhere_as_its_content_would_be(content: bytes, offset: int, length: int) -> None:
    """Protects every offset modulo three, and the end of the file."""
    data = binascii.b2a_base64(content, newline=False).decode()
    assert base64_reader(data)(offset, length) == reader_of(content)(offset, length)


@given(st.sampled_from(sorted(IMAGES)), st.binary(max_size=200))
def test_no_bytes_make_the_reading_of_a_size_fail(kind: MediaType, content: bytes) -> None:
    """Protects clients from a 500 for a broken image."""
    size = pixel_size(kind, reader_of(content))
    assert size is None or min(size) >= 0
