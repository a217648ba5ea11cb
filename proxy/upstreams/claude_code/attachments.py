"""``claude_options.files`` and ``images``: what is put before the question, most of it files of this machine."""

import binascii
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from proxy.dialects.claude_options import FIELD, ClaudeOptions
from proxy.dialects.openai_chat.media import inline_image
from proxy.errors import InvalidRequest
from proxy.model.content import Base64Source, Block, DocumentBlock, ImageBlock, TextSource
from proxy.model.media_type import IMAGES, MediaType
from proxy.upstreams.claude_code.options import refused
from proxy.upstreams.local_files import LocalFiles, Unreadable

_FILES: Final = IMAGES | {MediaType.PDF, MediaType.TEXT}
_ALL_MAX_BYTES: Final = 20 * 1024 * 1024
_ONE_MAX_BYTES: Final = 5 * 1024 * 1024
_DATA: Final = "data:"
_UNREADABLE: Final = (
    "The file cannot be used. It has to be {what} of at most 5 MiB, below a directory that may be read, with no "
    "symbolic link on the way."
)


async def attached(
    options: ClaudeOptions, working_dir: Path | None, roots: Sequence[Path], files: LocalFiles
) -> tuple[Block, ...]:
    """What the named files hold, in their order, images last.

    Args:
        options: what names them.
        working_dir: what paths that are not absolute begin at; None where there is none.
        roots: directories below which files may be named; those `files` reads below.
        files: reads them.

    Raises:
        GatewayError: 403 for a path that lies below none of them.
        InvalidRequest: naming the place of a file, or of a data URL, that cannot be used.
    """
    left_bytes = _ALL_MAX_BYTES
    found: list[Block] = []
    for option, paths, accepted in (("files", options.files, _FILES), ("images", options.images, IMAGES)):
        for at, path in enumerate(paths or ()):
            place = f"{option}[{at}]"
            if option == "images" and path[: len(_DATA)].lower() == _DATA:
                block, size_bytes = _told(path, place)
            else:
                name = path if path.startswith("/") else f"{working_dir or ''}/{path}"
                if not any(Path(name).is_relative_to(root) for root in roots):
                    raise refused(place, "CLAUDE_CODE_ROOTS")
                block, size_bytes = await _read(name, path, place, accepted, files)
            left_bytes -= size_bytes
            if left_bytes < 0:
                raise _wrong(place, f"The files of a request may have {_ALL_MAX_BYTES >> 20} MiB in all.")
            found.append(block)
    return tuple(found)


async def _read(
    name: str, path: str, place: str, accepted: Collection[MediaType], files: LocalFiles
) -> tuple[Block, int]:
    """The file at `name`, under the path the client has for it, and its size."""
    try:
        kind, content = await files.read(name, accepted)
    except (Unreadable, ValueError):
        what = "an image" if place.startswith("images") else "a text, a PDF or an image"
        raise _wrong(place, _UNREADABLE.format(what=what)) from None
    return _block(kind, content, path), len(content)


def _told(url: str, place: str) -> tuple[Block, int]:
    """The image of a data URL, and its size."""
    source = inline_image(url, f"{FIELD}.{place}")
    size_bytes = len(source.data) * 3 // 4
    if size_bytes > _ONE_MAX_BYTES + 2:
        raise _wrong(place, f"An image may have {_ONE_MAX_BYTES >> 20} MiB.")
    return ImageBlock(source), size_bytes


def _wrong(place: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{FIELD}.{place}: {why}", param=f"{FIELD}.{place}")


def _block(kind: MediaType, content: bytes, path: str) -> Block:
    if kind is MediaType.TEXT:
        return DocumentBlock(TextSource(kind.value, content.decode(errors="replace")), title=path[-500:])
    source = Base64Source(kind.value, binascii.b2a_base64(content, newline=False).decode())
    return DocumentBlock(source, title=path[-500:]) if kind is MediaType.PDF else ImageBlock(source)
