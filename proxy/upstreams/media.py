"""Images and documents that a request only names, turned into bytes: paths for every upstream, URLs for some.

The API takes images and PDFs by URL itself, so for it a URL goes out as it came. Kinds of upstream that need the bytes
ask for them here, once, before they are called.
"""

import asyncio
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from proxy.dialects.references import (
    Reference,
    local_references,
    names_local_files,
    position_of,
    with_content,
)
from proxy.errors import InvalidRequest
from proxy.model.content import (
    Base64Source,
    Block,
    ContentSource,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ToolResultBlock,
    UrlSource,
)
from proxy.model.media_type import IMAGES, MediaType, media_type_of, pixel_size, reader_of, too_large
from proxy.model.request import InputMessage
from proxy.settings import MediaSettings
from proxy.upstreams.image_fetch import ImageFetch, Unfetchable
from proxy.upstreams.local_files import LocalFiles, Unreadable

_NAMED_MAX: Final = 20
_ALL_MAX_BYTES: Final = 20 * 1024 * 1024
_DOCUMENTS: Final = frozenset({MediaType.PDF})
_CODE: Final = "invalid_image_url"
_PATH_REFUSED: Final = (
    "The file cannot be used. Paths are read only below the directories the operator names in CLAUDE_CODE_ROOTS, and "
    "have to lead to an image (PNG, JPEG, GIF or WebP, at most 8000 pixels a side) or a PDF of at most 5 MiB."
)
_URL_REFUSED: Final = (
    "The URL cannot be used. Where the upstream does not fetch it itself, it has to be an http or https URL that the "
    "operator's IMAGE_FETCH allows, and to lead to an image (PNG, JPEG, GIF or WebP, at most 8000 pixels a side) or a "
    "PDF of at most 5 MiB. A data URL always works."
)
_FETCH_OFF: Final = (
    "For the credential that would answer, the image or document would have to be fetched from its URL, and the "
    "operator's IMAGE_FETCH is off. A data URL always works."
)


_Part = TypeVar("_Part", bound=Block | TextBlock | ImageBlock)


class Content(msgspec.Struct, frozen=True):
    """What was got: ready to be sent, and its size before that."""

    source: Base64Source
    length_bytes: int


class Named(msgspec.Struct, frozen=True):
    """A URL in a request, and whether it stands for a document."""

    url: str
    document: bool

    @property
    def wanted(self) -> frozenset[MediaType]:
        """What may lie behind it."""
        return _DOCUMENTS if self.document else IMAGES


class Media:
    """Gets what requests name.

    Attributes:
        reads_files: whether any directory is open to requests; `inlined` only refuses otherwise.
        fetches: whether any URL may be fetched.
    """

    def __init__(self, settings: MediaSettings | None = None, *, fetch: ImageFetch | None = None) -> None:
        """Without settings nothing is allowed. `fetch` stands in for the real one in tests."""
        settings = settings or MediaSettings()
        self.reads_files = bool(settings.roots)
        self.fetches = settings.fetch.enabled
        self._files = LocalFiles(settings.roots)
        self._fetch = fetch or ImageFetch(settings.fetch)

    async def inlined(self, body: bytes) -> bytes:
        """A client's body with the files it names by path, as data URLs in their place.

        Raises InvalidRequest naming the field of a path that is not allowed or leads to nothing that can be shown.
        """
        if not names_local_files(body):
            return body
        named = await asyncio.to_thread(local_references, body)
        if len(named) > _NAMED_MAX:
            raise _too_many(named[_NAMED_MAX].at)
        left_bytes = _ALL_MAX_BYTES
        data_urls: dict[str, str] = {}
        for each in named:
            if each.url not in data_urls:
                content = await self._read(each)
                left_bytes -= content.length_bytes
                if left_bytes < 0:
                    raise _too_much(each.at)
                data_urls[each.url] = f"data:{content.source.media_type};base64,{content.source.data}"
        return await asyncio.to_thread(with_content, body, data_urls) if data_urls else body

    async def _read(self, reference: Reference) -> Content:
        try:
            kind, content = await self._files.read(
                reference.url, _DOCUMENTS if reference.document else IMAGES
            )
        except Unreadable:
            raise InvalidRequest(_PATH_REFUSED, param=reference.at, code=_CODE) from None
        if not _can_be_shown(kind, content):
            raise InvalidRequest(_PATH_REFUSED, param=reference.at, code=_CODE)
        return await asyncio.to_thread(_encoded, kind, content)

    async def fetched(self, named: Named) -> Content | None:
        """What lies behind a URL; None where it must not be fetched, cannot be, or is nothing that can be shown."""
        try:
            content = await self._fetch.fetch(named.url)
        except Unfetchable:
            return None
        kind = media_type_of(content)
        if kind is None or kind not in named.wanted or not _can_be_shown(kind, content):
            return None
        return await asyncio.to_thread(_encoded, kind, content)

    async def close(self) -> None:
        """Close every connection and let every thread go."""
        self._files.close()
        await self._fetch.close()


async def resolve_media(
    messages: list[InputMessage], media: Media, *, body: bytes = b""
) -> list[InputMessage]:
    """The messages with bytes in place of every URL of an image or a document; the same list where there is none.

    Files uploaded before stay what they are.

    Args:
        messages: in the canonical form.
        media: what may be fetched.
        body: as the client sent it, so that an error can name its own field.

    Raises:
        InvalidRequest: as `fetched_sources`.
    """
    named = list(dict.fromkeys(_named(block for message in messages for block in message.content)))
    if not named:
        return messages
    sources = await fetched_sources(named, media, body=body)
    return [
        InputMessage(message.role, [_filled(block, sources) for block in message.content])
        for message in messages
    ]


async def fetched_sources(named: Sequence[Named], media: Media, *, body: bytes) -> dict[Named, Base64Source]:
    """The bytes behind URLs that a request names, all fetched at one time.

    Args:
        named: each once, one at least.
        media: what may be fetched.
        body: as the client sent it, so that an error can name its own field.

    Raises:
        InvalidRequest: for a URL that must not or cannot be fetched, for more than 20 of them, or 20 MiB.
    """
    if not media.fetches:
        raise await _refusal(_FETCH_OFF, body, named[0])
    if len(named) > _NAMED_MAX:
        raise _too_many(await _position(body, named[_NAMED_MAX]))
    sources: dict[Named, Base64Source] = {}
    left_bytes = _ALL_MAX_BYTES
    for each, content in zip(named, await asyncio.gather(*map(media.fetched, named)), strict=True):
        if content is None:
            raise await _refusal(_URL_REFUSED, body, each)
        left_bytes -= content.length_bytes
        if left_bytes < 0:
            raise _too_much(await _position(body, each))
        sources[each] = content.source
    return sources


async def _refusal(why: str, body: bytes, named: Named) -> InvalidRequest:
    """The 400 for what stands somewhere in the body; its words name the place too, for clients that see no param."""
    at = await _position(body, named)
    return InvalidRequest(why if at is None else f"{at}: {why}", param=at, code=_CODE)


async def _position(body: bytes, named: Named) -> str | None:
    return await asyncio.to_thread(position_of, body, named.url)


def _named(blocks: Iterable[Block | TextBlock | ImageBlock]) -> Iterator[Named]:
    for block in blocks:
        match block:
            case ImageBlock(source=UrlSource(url=url)):
                yield Named(url, document=False)
            case DocumentBlock(source=UrlSource(url=url)):
                yield Named(url, document=True)
            case DocumentBlock(source=ContentSource(content=list() as parts)):
                yield from _named(parts)
            case ToolResultBlock(content=parts):
                yield from _named(parts)
            case _:
                pass


def _filled(block: _Part, sources: Mapping[Named, Base64Source]) -> _Part:
    """The block with the bytes of what it named."""
    match block:
        case ImageBlock(source=UrlSource(url=url)):
            return msgspec.structs.replace(block, source=sources[Named(url, document=False)])
        case DocumentBlock(source=UrlSource(url=url)):
            return msgspec.structs.replace(block, source=sources[Named(url, document=True)])
        case DocumentBlock(source=ContentSource(content=list() as parts)):
            inside = ContentSource([_filled(part, sources) for part in parts])
            return msgspec.structs.replace(block, source=inside)
        case ToolResultBlock(content=results):
            return msgspec.structs.replace(block, content=[_filled(part, sources) for part in results])
        case _:
            return block


def _can_be_shown(kind: MediaType, content: bytes) -> bool:
    """Whether an image has a size, and one that the API takes; a PDF is the API's to judge."""
    if kind not in IMAGES:
        return True
    size = pixel_size(kind, reader_of(content))
    return size is not None and not too_large(size)


def _encoded(kind: MediaType, content: bytes) -> Content:
    return Content(
        Base64Source(kind.value, binascii.b2a_base64(content, newline=False).decode()), len(content)
    )


def _too_many(at: str | None) -> InvalidRequest:
    return InvalidRequest(
        f"A request may name {_NAMED_MAX} images and documents by URL or by path; more have to be data URLs.",
        param=at,
        code=_CODE,
    )


def _too_much(at: str | None) -> InvalidRequest:
    return InvalidRequest(
        f"The images and documents a request names by URL or by path may have {_ALL_MAX_BYTES >> 20} MiB in all.",
        param=at,
        code=_CODE,
    )
