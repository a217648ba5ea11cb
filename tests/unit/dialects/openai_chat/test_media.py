"""Images and documents inside a request."""

import binascii
from collections.abc import Callable
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.openai_chat.media import file_block, image_block
from proxy.dialects.openai_chat.schema import FileData, FilePart, ImagePart, ImageUrl
from proxy.errors import InvalidRequest, NotFound
from proxy.model.content import Base64Source, DocumentBlock, FileSource, ImageBlock, TextSource, UrlSource
from tests.support.pictures import gif, jpeg, png, webp

_AT = "messages[0].content[1]"
_MAGIC = {
    "image/png": b"\x89PNG\r\n\x1a\n\xfb\xff",
    "image/jpeg": b"\xff\xd8\xff\xe0rest",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\0\0\0\0WEBPVP8",
}


def _base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode()


def _source(url: str) -> object:
    return image_block(ImagePart(ImageUrl(url)), _AT).source


@pytest.mark.parametrize(("media_type", "content"), _MAGIC.items())
@pytest.mark.parametrize("claimed", ["image/png", "image/jpg", "text/plain", ""])
def test_the_bytes_decide_the_media_type(media_type: str, content: bytes, claimed: str) -> None:
    """What a client claims is often wrong, and the upstream refuses it then."""
    data = _base64(content)
    assert _source(f"data:{claimed};base64,{data}") == Base64Source(media_type, data)


@pytest.mark.parametrize(
    "data",
    [
        _base64(_MAGIC["image/png"]).replace("+", "-").replace("/", "_"),
        _base64(_MAGIC["image/png"]).rstrip("="),
        _base64(_MAGIC["image/png"])[:6] + "\r\n " + _base64(_MAGIC["image/png"])[6:],
    ],
)
def test_base64_of_other_styles_is_mended(data: str) -> None:
    """URL-safe letters, missing padding, line breaks."""
    assert _source("data:image/png;base64," + data) == Base64Source("image/png", _base64(_MAGIC["image/png"]))


def test_percent_encoded_data_becomes_base64() -> None:
    """A data URL need not be base64."""
    content = _MAGIC["image/gif"]
    assert _source("data:image/gif,GIF89a") == Base64Source("image/gif", _base64(content))


@given(
    st.lists(
        st.binary(max_size=3).map(quote_from_bytes) | st.sampled_from(["=", "=41", "\n", "+", "%3d", "é"])
    )
)
def test_percent_escapes_are_read_as_the_standard_library_reads_them(parts: list[str]) -> None:
    """Protects the content of a data URL from the faster way to read it, whose escapes have another sign."""
    data = "".join(parts)
    source = FilePart(FileData(file_data=f"data:text/plain,{data}"))
    expected = unquote_to_bytes(data).decode("utf-8", "replace")
    assert file_block(source, _AT).source == TextSource("text/plain", expected)


@pytest.mark.parametrize("data", ["%", "%4", "%zz", "a%", "%%41", "%\n41", "%\r\n41", "%é", "% 41"])
def test_a_percent_sign_that_begins_no_escape_is_refused(data: str) -> None:
    """Protects a client from content that is not what it sent."""
    with pytest.raises(InvalidRequest, match="percent sign"):
        _source(f"data:image/png,{data}")


@pytest.mark.parametrize("url", ["https://example.com/a.png", "http://example.com/a", "HTTPS://EXAMPLE.COM/"])
def test_web_addresses_are_passed_on(url: str) -> None:
    """The upstream fetches them; we do not."""
    assert _source(url) == UrlSource(url)
    assert image_block(ImagePart(url), _AT).source == UrlSource(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/etc/passwd",
        "file:///etc/passwd",
        "ftp://example.com/a.png",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,!!!!",
        "data:image/png;base64,\u00e4",
        "data:image/svg+xml;base64," + _base64(b"<svg/>"),
        "data:image/png;base64," + _base64(b"%PDF-1.7"),
    ],
)
def test_anything_else_is_refused_by_name(url: str) -> None:
    """With the path of the field, and nothing is fetched or opened."""
    with pytest.raises(InvalidRequest) as caught:
        _source(url)
    assert caught.value.param == f"{_AT}.image_url.url"


@pytest.mark.parametrize("picture", [png, gif, jpeg, webp])
def test_an_image_no_model_can_be_shown_is_refused_by_name(picture: Callable[[int, int], bytes]) -> None:
    """With the limit, and without decoding more than its header."""
    size = 16_000 if picture is webp else 50_000
    kept = _base64(picture(8000, 8000))
    assert _source(f"data:image/png;base64,{kept}").data == kept  # type: ignore[attr-defined]  # it is base64
    with pytest.raises(InvalidRequest, match="8000 pixels") as caught:
        _source("data:image/png;base64," + _base64(picture(size, 10)))
    assert caught.value.param == f"{_AT}.image_url.url"


def test_a_path_is_told_which_setting_could_open_it() -> None:
    """Not merely that it is no URL."""
    with pytest.raises(InvalidRequest, match="CLAUDE_CODE_ROOTS"):
        _source("/srv/images/a.png")


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (
            "data:application/pdf;base64," + _base64(b"%PDF-1.7"),
            Base64Source("application/pdf", _base64(b"%PDF-1.7")),
        ),
        (_base64(b"%PDF-1.7"), Base64Source("application/pdf", _base64(b"%PDF-1.7"))),
        ("data:text/markdown;base64," + _base64(b"# a"), TextSource("text/plain", "# a")),
        ("data:application/json,%7B%7D", TextSource("text/plain", "{}")),
        ("https://h/a.pdf", UrlSource("https://h/a.pdf")),
    ],
)
def test_documents_are_pdf_or_text(data: str, source: Base64Source | TextSource | UrlSource) -> None:
    """Under the name of their file."""
    block = file_block(FilePart(FileData(data, filename="f")), _AT)
    assert block == DocumentBlock(source, title="f")


def test_what_was_uploaded_before_goes_by_its_id() -> None:
    """The upstream's own ids only, for documents and images."""
    assert file_block(FilePart(FileData(file_id="file_01A", filename="f")), _AT) == DocumentBlock(
        FileSource("file_01A"), title="f"
    )
    assert file_block(FilePart(FileData(file_url="https://h/a")), _AT).source == UrlSource("https://h/a")
    assert image_block(ImagePart(ImageUrl(file_id="file_01A")), _AT).source == FileSource("file_01A")
    with pytest.raises(InvalidRequest) as caught:
        image_block(ImagePart(ImageUrl(file_id="file-1")), _AT)
    assert caught.value.param == f"{_AT}.image_url.file_id"


@pytest.mark.parametrize(
    ("file", "param"),
    [
        (FileData(file_id="file-1"), "file_id"),
        (FileData(), "file_data"),
        (FileData(file_url="http://h/a.pdf"), "file_url"),
        (FileData("http://h/a.pdf"), "file_data"),
        (FileData("data:application/zip;base64,UEsDBA=="), "file_data"),
        (FileData("UEsDBA=="), "file_data"),
    ],
)
def test_other_files_are_refused_by_name(file: FileData, param: str) -> None:
    """A file the model would not see is not lost in silence."""
    with pytest.raises(InvalidRequest) as caught:
        file_block(FilePart(file), _AT)
    assert caught.value.param == f"{_AT}.file.{param}"


def test_an_uploaded_file_becomes_an_image_or_a_document_by_its_media_type() -> None:
    """A picture in a document's place is refused by the upstream."""
    files = {"file_1": "image/png", "file_2": "application/pdf", "file_3": ""}
    found = [file_block(FilePart(FileData(file_id=one, filename="f")), _AT, files) for one in files]
    assert found == [
        ImageBlock(FileSource("file_1")),
        DocumentBlock(FileSource("file_2"), title="f"),
        DocumentBlock(FileSource("file_3"), title="f"),
    ]


@pytest.mark.parametrize("files", [{"file_2": ""}, {}])
def test_a_file_that_is_not_the_clients_is_not_found(files: dict[str, str]) -> None:
    """Whoever may have one of that id: the field is named, and nothing of it goes upstream."""
    with pytest.raises(NotFound) as caught:
        file_block(FilePart(FileData(file_id="file_1")), _AT, files)
    assert caught.value.param == f"{_AT}.file.file_id"
    with pytest.raises(NotFound) as caught:
        image_block(ImagePart(ImageUrl(file_id="file_1")), _AT, files)
    assert caught.value.param == f"{_AT}.image_url.file_id"
