"""Images and documents inside a request.

Sources: "Images and vision" of OpenAI's documentation for what comes in, "Vision" and "PDF support" of
Anthropic's for what goes out: JPEG, PNG, GIF and WebP, PDF, and plain text.
"""

import binascii
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.dialects.openai_chat.schema import FileData, FilePart, ImagePart, ImageUrl
from proxy.errors import InvalidRequest, NotFound
from proxy.model.content import Base64Source, DocumentBlock, FileSource, ImageBlock, TextSource, UrlSource

NO_FILES: Final[Mapping[str, str]] = MappingProxyType({})
_PDF: Final = "application/pdf"
_TEXT_TYPES: Final = frozenset(("application/json", "application/xml"))
_HEAD_BYTES: Final = 48
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL_SAFE: Final = str.maketrans("-_", "+/")


def image_block(part: ImagePart, at: str) -> ImageBlock:
    """The image of a content part found at `at`. Raises InvalidRequest naming ``image_url.url``."""
    given = part.image_url
    param = f"{at}.image_url.url" if isinstance(given, ImageUrl) else f"{at}.image_url"
    url = given.url if isinstance(given, ImageUrl) else given
    scheme = url[:8].lower()
    if scheme.startswith("data:"):
        _, data, head = _data_url(url, param)
        media_type = _image_type(head)
        if media_type is None:
            raise InvalidRequest(
                "The image is none of image/jpeg, image/png, image/gif and image/webp.",
                param=param,
                code="invalid_image_format",
            )
        return ImageBlock(Base64Source(media_type, data))
    if scheme.startswith(("http://", "https://")):
        return ImageBlock(UrlSource(url))
    raise InvalidRequest(
        "An image has to be given as an http(s) URL or as a data URL.", param=param, code="invalid_image_url"
    )


def file_block(part: FilePart, at: str, files: Mapping[str, str] = NO_FILES) -> DocumentBlock | ImageBlock:
    """The file of a content part found at `at`: what it holds itself, or one uploaded before.

    `files` are the media types of the uploaded files that may be named, by id. Raises InvalidRequest, or NotFound for
    an id that is not among them; both name the field.
    """
    param = f"{at}.file.file_data"
    if part.file.file_data is None:
        return _uploaded(part.file, f"{at}.file.file_id", files)
    url = part.file.file_data
    if not url[:5].lower().startswith("data:"):
        url = f"data:{_PDF};base64,{url}"
    media_type, data, head = _data_url(url, param)
    if head.startswith(b"%PDF-"):
        return DocumentBlock(Base64Source(_PDF, data), title=part.file.filename)
    if media_type.startswith("text/") or media_type in _TEXT_TYPES:
        text = binascii.a2b_base64(data).decode("utf-8", "replace")
        return DocumentBlock(TextSource("text/plain", text), title=part.file.filename)
    raise InvalidRequest("The file is neither a PDF nor text.", param=param, code="unsupported_value")


def _uploaded(file: FileData, param: str, files: Mapping[str, str]) -> DocumentBlock | ImageBlock:
    if file.file_id is None:
        raise InvalidRequest(
            "A file has to be given as file_data, or by the file_id of one uploaded before.",
            param=param,
            code="unsupported_value",
        )
    media_type = files.get(file.file_id)
    if media_type is None:
        raise NotFound(f"{param}: File not found.", param=param)
    source = FileSource(file.file_id)
    return (
        ImageBlock(source) if media_type.startswith("image/") else DocumentBlock(source, title=file.filename)
    )


def _data_url(url: str, param: str) -> tuple[str, str, bytes]:
    """A data URL's media type, its content in standard base64, and the first bytes of the content."""
    comma = url.find(",", 5)
    if comma < 0:
        raise InvalidRequest("The data URL has no data.", param=param, code="invalid_base64")
    media_type, *parameters = (word.strip().lower() for word in url[5:comma].split(";"))
    data = url[comma + 1 :]
    if "base64" not in parameters:
        content = unquote_to_bytes(data)
        return media_type, binascii.b2a_base64(content, newline=False).decode(), content[:_HEAD_BYTES]
    if not _is_base64(data):
        data = "".join(data.split()).translate(_URL_SAFE)
        data += "=" * (-len(data) % 4)
        if not _is_base64(data):
            raise InvalidRequest("The data URL holds no valid base64.", param=param, code="invalid_base64")
    return media_type, data, binascii.a2b_base64(data[: _HEAD_BYTES // 3 * 4])


def _is_base64(data: str) -> bool:
    """Whether `data` is padded base64 in the standard alphabet: a third of the time of decoding it."""
    if len(data) % 4 or not data.isascii():
        return False
    body = data[:-4] + data[-4:].rstrip("=")
    return len(data) - len(body) <= 2 and not body.encode().translate(None, _ALPHABET)


def _image_type(head: bytes) -> str | None:
    """The media type the first bytes show; what the URL claims is often wrong, and the upstream checks."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None
