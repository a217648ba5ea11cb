"""The one file of a ``multipart/form-data`` body. Source of the grammar: RFC 7578 and RFC 2046."""

import re
from typing import Final

import msgspec

_BOUNDARY: Final = re.compile(r'boundary="?([^";]{1,70})"?')
_NAME: Final = re.compile(rb'(?<![a-z])name="([^"]*)"')
_FILE_NAME: Final = re.compile(rb'filename="([^"]*)"')
_TYPE: Final = re.compile(rb"^content-type:[ \t]*([^\r\n;]+)", re.IGNORECASE | re.MULTILINE)


class Part(msgspec.Struct, frozen=True):
    """A file as it was sent: name, declared media type, content."""

    name: str
    media_type: str
    content: bytes


def file_part(content_type: str, body: bytes) -> Part | None:
    """The part named ``file``; None where there is none, or the body is no form."""
    boundary = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or boundary is None:
        return None
    mark = b"\r\n--" + boundary[1].encode()
    pieces = (b"\r\n" + body).split(mark)
    # After the last boundary come two hyphens; without them the body was cut short.
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        return None
    for piece in pieces[1:-1]:
        head, blank, content = piece.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if blank and name is not None and name[1] == b"file":
            file_name, media_type = _FILE_NAME.search(head), _TYPE.search(head)
            return Part(
                file_name[1].decode("utf-8", "replace") if file_name else "",
                media_type[1].decode("latin-1").strip().lower() if media_type else "",
                content,
            )
    return None
