"""Content parts of items, one by one."""

import base64

import msgspec
import pytest

from proxy.dialects.openai_responses.parts import blocks_of, texts_of
from proxy.dialects.openai_responses.schema import Part
from proxy.errors import InvalidRequest, NotFound
from proxy.model.content import (
    Base64Source,
    DocumentBlock,
    FileSource,
    ImageBlock,
    TextBlock,
    TextSource,
    UrlSource,
)

_PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 50).decode()
_PDF = base64.b64encode(b"%PDF-1.7" + b"\0" * 50).decode()


def _part(**fields: object) -> Part:
    return msgspec.convert(fields, Part)


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (_part(type="input_text", text="a"), TextBlock("a")),
        (_part(type="output_text", text="a"), TextBlock("a")),
        (_part(type="text", text="a"), TextBlock("a")),
        (_part(type="refusal", refusal="no"), TextBlock("no")),
        (
            _part(type="input_image", image_url="https://a/b.png", detail="low"),
            ImageBlock(UrlSource("https://a/b.png")),
        ),
        (
            _part(type="input_image", image_url=f"data:image/jpeg;base64,{_PNG}"),
            ImageBlock(Base64Source("image/png", _PNG)),
        ),
        (
            _part(type="input_file", file_data=f"data:application/pdf;base64,{_PDF}", filename="a.pdf"),
            DocumentBlock(Base64Source("application/pdf", _PDF), title="a.pdf"),
        ),
        (
            _part(type="input_file", file_data="data:text/plain,hello"),
            DocumentBlock(TextSource("text/plain", "hello")),
        ),
        (
            _part(type="input_file", file_url="https://a/b.pdf", filename="b"),
            DocumentBlock(UrlSource("https://a/b.pdf"), title="b"),
        ),
        (_part(type="input_image", file_id="file_1"), ImageBlock(FileSource("file_1"))),
        (
            _part(type="input_file", file_id="file_1", filename="b"),
            DocumentBlock(FileSource("file_1"), title="b"),
        ),
    ],
    ids=str,
)
def test_a_part_becomes_its_block(part: Part, block: object) -> None:
    """Protects texts, images and documents on their way to the model."""
    assert blocks_of([part], "input[0].content") == [block]


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (_part(type="input_text"), "text"),
        (_part(type="refusal"), "refusal"),
        (_part(type="input_image"), "image_url"),
        (_part(type="input_image", file_id="file-1"), "file_id"),
        (_part(type="input_image", image_url="ftp://a"), "image_url"),
        (_part(type="input_image", image_url="data:image/png;base64,AAAA"), "image_url"),
        (_part(type="input_file"), "file_data"),
        (_part(type="input_file", file_id="file-1"), "file_id"),
        (_part(type="input_file", file_url="file:///etc/passwd"), "file_url"),
        (_part(type="input_file", file_data="data:application/zip;base64,UEsDBA=="), "file_data"),
        (_part(type="input_audio"), "type"),
        (_part(type="hologram"), "type"),
    ],
    ids=str,
)
def test_a_part_that_cannot_be_carried_is_named(part: Part, field: str) -> None:
    """Protects users from an answer that has not seen what they sent."""
    with pytest.raises(InvalidRequest) as caught:
        blocks_of([_part(type="text", text="a"), part], "input[0].content")
    assert caught.value.param == f"input[0].content[1].{field}"


@pytest.mark.parametrize("kind", ["input_image", "input_file"])
def test_only_files_that_may_be_named_are(kind: str) -> None:
    """Protects the files of other clients; one that is an image becomes one, however it is named."""
    part = _part(type=kind, file_id="file_1")
    with pytest.raises(NotFound) as caught:
        blocks_of([part], "input[0].content", {})
    assert caught.value.param == "input[0].content[0].file_id"
    assert caught.value.message.startswith("input[0].content[0].file_id: ")
    image = ImageBlock(FileSource("file_1"))
    assert blocks_of([part], "input[0].content", {"file_1": "image/png"}) == [image]


def test_plain_text_is_one_text_and_nothing_is_none() -> None:
    """Protects the shorthands."""
    assert blocks_of("a", "x") == [TextBlock("a")]
    assert blocks_of(None, "x") == []


def test_where_only_text_may_be_an_image_is_refused() -> None:
    """Protects instructions and the assistant's words from what the upstream does not take there."""
    with pytest.raises(InvalidRequest) as caught:
        texts_of([_part(type="input_image", image_url="https://a")], "input[0].content")
    assert caught.value.param == "input[0].content[0].type"
