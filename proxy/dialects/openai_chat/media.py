"""Images and documents inside a request.

Sources: "Images and vision" of OpenAI's documentation for what comes in, "Vision" and "PDF support" of
Anthropic's for what goes out: JPEG, PNG, GIF and WebP, PDF, and plain text.
"""

import binascii
from collections.abc import Mapping
from typing import Final

from proxy.dialects.openai_chat.schema import FileData, FilePart, ImagePart, ImageUrl
from proxy.errors import InvalidRequest, NotFound
from proxy.model.content import Base64Source, DocumentBlock, FileSource, ImageBlock, TextSource, UrlSource
from proxy.model.media_type import (
    HEAD_BYTES,
    IMAGES,
    SIDE_MAX_PIXELS,
    MediaType,
    base64_reader,
    media_type_of,
    pixel_size,
    too_large,
)

_FILE_ID: Final = "file_"
_TEXT_TYPES: Final = frozenset(("application/json", "application/xml"))
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE: Final = b" \t\n\r\v\f"


def image_block(part: ImagePart, at: str, files: Mapping[str, str] | None = None) -> ImageBlock:
    """The image of a content part found at `at`. Raises as `file_block` does."""
    given = part.image_url
    if isinstance(given, ImageUrl) and given.file_id is not None:
        return ImageBlock(_uploaded(given.file_id, f"{at}.image_url.file_id", files))
    param = f"{at}.image_url.url" if isinstance(given, ImageUrl) else f"{at}.image_url"
    url = given.url if isinstance(given, ImageUrl) else given
    scheme = url[:8].lower()
    if scheme.startswith("data:"):
        return ImageBlock(inline_image(url, param))
    if scheme.startswith(("http://", "https://")):
        return ImageBlock(UrlSource(url))
    raise InvalidRequest(
        "An image has to be given as an http(s) URL or as a data URL. Paths of the server's files are read only below "
        "the directories its operator names in CLAUDE_CODE_ROOTS.",
        param=param,
        code="invalid_image_url",
    )


def inline_image(url: str, param: str) -> Base64Source:
    """The image of a data URL that stands in the field `param`. Raises InvalidRequest."""
    _, data, head = _data_url(url, param)
    media_type = media_type_of(head)
    if media_type is None or media_type not in IMAGES:
        raise InvalidRequest(
            "The image is none of image/jpeg, image/png, image/gif and image/webp.",
            param=param,
            code="invalid_image_format",
        )
    size = pixel_size(media_type, base64_reader(data))
    if size is not None and too_large(size):
        raise InvalidRequest(
            f"The image is larger than {SIDE_MAX_PIXELS} pixels on a side.",
            param=param,
            code="image_too_large",
        )
    return Base64Source(media_type.value, data)


def file_block(part: FilePart, at: str, files: Mapping[str, str] | None = None) -> DocumentBlock | ImageBlock:
    """The file of a content part found at `at`: a document, or an image uploaded before.

    `files` is that of `proxy.dialects.common.Target`. Raises InvalidRequest, or NotFound for an id that may not be
    named; both name the field.
    """
    file = part.file
    if file.file_id is not None and file.file_data is None and file.file_url is None:
        source = _uploaded(file.file_id, f"{at}.file.file_id", files)
        if files is not None and files[file.file_id].startswith("image/"):
            return ImageBlock(source)
        return DocumentBlock(source, title=file.filename)
    param = f"{at}.file.file_data" if file.file_url is None else f"{at}.file.file_url"
    url = file.file_data if file.file_url is None else file.file_url
    if url is None:
        raise InvalidRequest(
            "The file has neither file_data nor file_id.", param=param, code="missing_required_parameter"
        )
    if url[:8].lower() == "https://":
        return DocumentBlock(UrlSource(url), title=file.filename)
    if file.file_url is not None:
        raise InvalidRequest(
            "A file's URL has to begin with https://.", param=param, code="unsupported_value"
        )
    return _inline_document(file, url, param)


def _inline_document(file: FileData, url: str, param: str) -> DocumentBlock:
    if not url[:5].lower().startswith("data:"):
        url = f"data:{MediaType.PDF};base64,{url}"
    media_type, data, head = _data_url(url, param)
    if media_type_of(head) is MediaType.PDF:
        return DocumentBlock(Base64Source(MediaType.PDF.value, data), title=file.filename)
    if media_type.startswith("text/") or media_type in _TEXT_TYPES:
        text = binascii.a2b_base64(data).decode("utf-8", "replace")
        return DocumentBlock(TextSource("text/plain", text), title=file.filename)
    raise InvalidRequest("The file is neither a PDF nor text.", param=param, code="unsupported_value")


def _uploaded(file_id: str, param: str, files: Mapping[str, str] | None) -> FileSource:
    """A file uploaded to the upstream before. Raises as `file_block` does; ids of other providers are invalid."""
    if files is not None and file_id not in files:
        raise NotFound(f"{param}: File not found.", param=param)
    if not file_id.startswith(_FILE_ID):
        raise InvalidRequest(
            f"Only files uploaded to the upstream can be named: their ids begin with {_FILE_ID}.",
            param=param,
            code="unsupported_value",
        )
    return FileSource(file_id)


def _data_url(url: str, param: str) -> tuple[str, str, bytes]:
    """A data URL's media type, its content in standard base64, and the first bytes of the content."""
    comma = url.find(",", 5)
    if comma < 0:
        raise InvalidRequest("The data URL has no data.", param=param, code="invalid_base64")
    media_type, *parameters = (word.strip().lower() for word in url[5:comma].split(";"))
    data = url[comma + 1 :]
    if "base64" not in parameters:
        content = _unescaped(data, param)
        return media_type, binascii.b2a_base64(content, newline=False).decode(), content[:HEAD_BYTES]
    if not _is_base64(data):
        data = data.encode("utf-8", "replace").translate(_URL_SAFE, _WHITE_SPACE).decode()
        data += "=" * (-len(data) % 4)
        if not _is_base64(data):
            raise InvalidRequest("The data URL holds no valid base64.", param=param, code="invalid_base64")
    return media_type, data, binascii.a2b_base64(data[: HEAD_BYTES // 3 * 4])


def _unescaped(data: str, param: str) -> bytes:
    """The bytes of text with percent escapes. Raises InvalidRequest where a percent sign begins none.

    Quoted-printable has another sign for the same. The standard library reads it in a twentieth of the time of these.
    """
    escaped = data.encode("utf-8", "surrogatepass")
    content = binascii.a2b_qp(escaped.replace(b"=", b"=3D").replace(b"%", b"="))
    broken_line = b"%\n" in escaped or b"%\r" in escaped
    if broken_line or len(content) != len(escaped) - 2 * escaped.count(b"%"):
        raise InvalidRequest(
            "The data URL has a percent sign without two hexadecimal digits behind it.", param=param
        )
    return content


def _is_base64(data: str) -> bool:
    """Whether `data` is padded base64 in the standard alphabet: a third of the time of decoding it."""
    if len(data) % 4 or not data.isascii():
        return False
    body = data[:-4] + data[-4:].rstrip("=")
    return len(data) - len(body) <= 2 and not body.encode().translate(None, _ALPHABET)
