"""Files of a request: which travel as text, which are uploaded, and under what name."""

import base64

import pytest

from proxy.dialects.claude_web.files import Attachment, FileCollector, Upload
from proxy.errors import InvalidRequest
from proxy.model.content import (
    Base64Source,
    ContentSource,
    DocumentBlock,
    FileSource,
    ImageBlock,
    TextBlock,
    TextSource,
    UrlSource,
)

_DATA = base64.b64encode("é%PDF".encode()).decode()


@pytest.mark.parametrize(
    ("document", "attachment"),
    [
        (DocumentBlock(TextSource("text/plain", "é")), Attachment("document-1.txt", "text/plain", 2, "é")),
        (
            DocumentBlock(TextSource("text/plain", "x"), title="a.md"),
            Attachment("a.md", "text/plain", 1, "x"),
        ),
        (DocumentBlock(ContentSource("x")), Attachment("document-1.txt", "text/plain", 1, "x")),
        (
            DocumentBlock(ContentSource([TextBlock("x"), TextBlock("y")])),
            Attachment("document-1.txt", "text/plain", 3, "x\ny"),
        ),
        (
            DocumentBlock(Base64Source("text/csv", _DATA), title="t.csv"),
            Attachment("t.csv", "text/csv", 6, "é%PDF"),
        ),
        (
            DocumentBlock(Base64Source("application/json", "/w=="), title="t"),
            Attachment("t.txt", "application/json", 3, "\ufffd"),
        ),
    ],
)
def test_a_text_travels_as_an_attachment(document: DocumentBlock, attachment: Attachment) -> None:
    """Protects documents of text: their size is counted in bytes."""
    files = FileCollector()
    assert files.document(document, "at") == attachment.file_name
    assert (files.attachments, files.uploads) == ([attachment], [])


def test_images_and_pdfs_are_uploaded() -> None:
    """Protects what the site reads itself, byte for byte."""
    files = FileCollector()
    files.image(ImageBlock(Base64Source("image/jpeg", _DATA)), "at")
    files.document(DocumentBlock(Base64Source("application/pdf", _DATA), title="a"), "at")
    content = "é%PDF".encode()
    assert files.uploads == [
        Upload("image-1.jpg", "image/jpeg", content),
        Upload("a.pdf", "application/pdf", content),
    ]


def test_an_image_inside_a_document_is_uploaded_and_named_in_it() -> None:
    """Protects documents made of blocks."""
    files = FileCollector()
    block = DocumentBlock(ContentSource([TextBlock("x"), ImageBlock(Base64Source("image/png", _DATA))]))
    files.document(block, "at")
    assert [one.extracted_content for one in files.attachments] == ["x\n[image-1.png]"]
    assert [one.name for one in files.uploads] == ["image-1.png"]


def test_names_are_their_own_and_fit_for_a_form() -> None:
    """Protects the form an upload is sent in, and the name the history goes by."""
    files = FileCollector()
    titles = ("a.txt", "a.txt", "context.txt", 'x/..\\"\r\n.txt', "y" * 500 + ".txt", "z", "z")
    names = [files.document(DocumentBlock(TextSource("text/plain", ""), title=one), "at") for one in titles]
    assert names[:4] == ["a.txt", "a-2.txt", "context-2.txt", "x_..____.txt"]
    assert (len(names[4]), names[5:]) == (120, ["z.txt", "z-2.txt"])


@pytest.mark.parametrize(
    ("block", "param"),
    [
        (ImageBlock(UrlSource("https://x.test")), "at.source.type"),
        (ImageBlock(FileSource("f")), "at.source.type"),
        (ImageBlock(Base64Source("image/svg+xml", _DATA)), "at.source.media_type"),
        (ImageBlock(Base64Source("image/png", "!")), "at.source.data"),
        (DocumentBlock(UrlSource("https://x.test")), "at.source.type"),
        (DocumentBlock(FileSource("f")), "at.source.type"),
        (DocumentBlock(Base64Source("application/zip", _DATA)), "at.source.media_type"),
        (DocumentBlock(Base64Source("text/plain", "é")), "at.source.data"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(block: ImageBlock | DocumentBlock, param: str) -> None:
    """Protects clients from a question about a file that is not there."""
    with pytest.raises(InvalidRequest) as refused:
        _take(block)
    assert refused.value.param == param


def _take(block: ImageBlock | DocumentBlock) -> str:
    files = FileCollector()
    return files.image(block, "at") if isinstance(block, ImageBlock) else files.document(block, "at")
