"""What a prompt brings along: texts that travel inside the completion, and files that are uploaded before it.

A text needs no upload: the site takes it as ``extracted_content``. Images and PDFs it reads itself.
"""

import binascii
import re
from typing import Final, assert_never

import msgspec

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

CONTEXT_NAME: Final = "context.txt"
TEXT: Final = "text/plain"
_PDF: Final = "application/pdf"
_TEXT_TYPES: Final = ("application/json", "application/xml")
_EXTENSIONS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}
_NAME_MAX_CHARACTERS: Final = 120
_UNFIT_FOR_NAMES: Final = re.compile(r'[\x00-\x1f\x7f/\\"]')


class Attachment(msgspec.Struct, frozen=True):
    """A text sent with a completion, field by field as the site takes it; `file_size` is in bytes of UTF-8."""

    file_name: str
    file_type: str
    file_size: int
    extracted_content: str


class Upload(msgspec.Struct, frozen=True):
    """A file to be uploaded before the completion that names it."""

    name: str
    media_type: str
    content: bytes


def text_attachment(name: str, text: str, media_type: str = TEXT) -> Attachment:
    """A text as an attachment."""
    return Attachment(name, media_type, len(text.encode()), text)


class FileCollector:
    """Gathers the files of a request's blocks, each under a name of its own.

    Attributes:
        attachments: texts, in order.
        uploads: images and PDFs, in order.
    """

    def __init__(self) -> None:
        self.attachments: list[Attachment] = []
        self.uploads: list[Upload] = []
        self._names = {CONTEXT_NAME}

    def image(self, block: ImageBlock, at: str) -> str:
        """Take an image found at `at`; gives its name. Raises InvalidRequest where it cannot be uploaded."""
        match block.source:
            case Base64Source(media_type=media_type):
                extension = _EXTENSIONS.get(media_type)
                if extension is None:
                    raise InvalidRequest(
                        "The image is none of image/jpeg, image/png, image/gif and image/webp.",
                        param=f"{at}.source.media_type",
                    )
                return self._upload(f"image-{len(self.uploads) + 1}.{extension}", block.source, at)
            case UrlSource() | FileSource():
                raise _out_of_reach(at)
            case _:
                assert_never(block.source)

    def document(self, block: DocumentBlock, at: str) -> str:
        """Take a document found at `at`; gives its name. Raises InvalidRequest where it cannot be carried."""
        source = block.source
        name = block.title or f"document-{len(self.attachments) + len(self.uploads) + 1}"
        match source:
            case TextSource(data=text):
                return self._attach(name, text, TEXT)
            case ContentSource(content=content):
                text = content if isinstance(content, str) else self._texts(content, f"{at}.source.content")
                return self._attach(name, text, TEXT)
            case Base64Source(media_type=media_type) if media_type == _PDF:
                return self._upload(name if name.lower().endswith(".pdf") else f"{name}.pdf", source, at)
            case Base64Source(media_type=media_type):
                if not media_type.startswith("text/") and media_type not in _TEXT_TYPES:
                    raise InvalidRequest(
                        "The document is neither a PDF nor text.", param=f"{at}.source.media_type"
                    )
                return self._attach(name, _decoded(source, at).decode("utf-8", "replace"), media_type)
            case UrlSource() | FileSource():
                raise _out_of_reach(at)
            case _:
                assert_never(source)

    def _texts(self, blocks: list[TextBlock | ImageBlock], at: str) -> str:
        texts = []
        for index, block in enumerate(blocks):
            if isinstance(block, TextBlock):
                texts.append(block.text)
            else:
                texts.append(f"[{self.image(block, f'{at}[{index}]')}]")
        return "\n".join(texts)

    def _attach(self, name: str, text: str, media_type: str) -> str:
        own = self._own_name(name if "." in name else f"{name}.txt")
        self.attachments.append(text_attachment(own, text, media_type))
        return own

    def _upload(self, name: str, source: Base64Source, at: str) -> str:
        own = self._own_name(name)
        self.uploads.append(Upload(own, source.media_type, _decoded(source, at)))
        return own

    def _own_name(self, wanted: str) -> str:
        name = _UNFIT_FOR_NAMES.sub("_", wanted)[-_NAME_MAX_CHARACTERS:]
        stem, dot, extension = name.rpartition(".")
        own, number = name, 1
        while own in self._names:
            number += 1
            own = f"{stem}-{number}{dot}{extension}" if dot else f"{name}-{number}"
        self._names.add(own)
        return own


def _decoded(source: Base64Source, at: str) -> bytes:
    try:
        return binascii.a2b_base64(source.data, strict_mode=True)
    except ValueError:
        raise InvalidRequest(
            "The data is no valid base64.", param=f"{at}.source.data", code="invalid_base64"
        ) from None


def _out_of_reach(at: str) -> InvalidRequest:
    return InvalidRequest(
        "A claude.ai session takes files only as data in the request.", param=f"{at}.source.type"
    )
