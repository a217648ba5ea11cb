"""What requests only name becomes what they hold."""

import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from proxy.errors import InvalidRequest
from proxy.model.content import (
    Base64Source,
    Block,
    ContentSource,
    DocumentBlock,
    FileSource,
    ImageBlock,
    TextBlock,
    TextSource,
    ToolResultBlock,
    UrlSource,
)
from proxy.model.request import InputMessage
from proxy.settings import FetchRule, MediaSettings
from proxy.upstreams.image_fetch import ImageFetch, Unfetchable
from proxy.upstreams.media import Media, resolve_media
from tests.support.pictures import PDF, png

_OFF = Media()


class Pages(ImageFetch):
    """Knows its pages instead of fetching them."""

    def __init__(self, pages: Mapping[str, bytes]) -> None:
        super().__init__(FetchRule(enabled=True))
        self.pages = pages
        self.asked: list[str] = []

    async def fetch(self, text: str) -> bytes:
        """See `ImageFetch.fetch`."""
        self.asked.append(text)
        if text not in self.pages:
            raise Unfetchable("none")
        return self.pages[text]


def _media(pages: Mapping[str, bytes] | None = None, *roots: Path) -> Media:
    fetch = Pages({"https://h/a.png": png(), "https://h/a.pdf": PDF, **(pages or {})})
    return Media(MediaSettings(fetch=FetchRule(enabled=True), roots=roots), fetch=fetch)


def _base64(content: bytes, media_type: str) -> Base64Source:
    return Base64Source(media_type, binascii.b2a_base64(content, newline=False).decode())


def _turns(*blocks: Block) -> list[InputMessage]:
    return [InputMessage("user", [TextBlock("first")]), InputMessage("user", list(blocks))]


IMAGE = ImageBlock(UrlSource("https://h/a.png"))
DOCUMENT = DocumentBlock(UrlSource("https://h/a.pdf"), title="t")
SHOWN = ImageBlock(_base64(png(), "image/png"))
READ = DocumentBlock(_base64(PDF, "application/pdf"), title="t")


async def test_every_url_of_an_image_or_a_document_becomes_bytes() -> None:
    """Protects images wherever they may stand, and everything beside them."""
    media = _media()
    given = _turns(
        IMAGE,
        TextBlock("between"),
        DOCUMENT,
        ToolResultBlock("toolu_1", [TextBlock("r"), IMAGE, DOCUMENT], is_error=True),
        DocumentBlock(ContentSource([TextBlock("c"), IMAGE])),
    )
    assert await resolve_media(given, media) == _turns(
        SHOWN,
        TextBlock("between"),
        READ,
        ToolResultBlock("toolu_1", [TextBlock("r"), SHOWN, READ], is_error=True),
        DocumentBlock(ContentSource([TextBlock("c"), SHOWN])),
    )
    assert given[1].content[0] is IMAGE


@pytest.mark.parametrize(
    "block",
    [
        TextBlock("https://h/a.png"),
        SHOWN,
        ImageBlock(FileSource("file_1")),
        DocumentBlock(TextSource("text/plain", "https://h/a.pdf")),
        DocumentBlock(ContentSource("https://h/a.pdf")),
        ToolResultBlock("toolu_1"),
        msgspec.Raw(b'{"type":"search_result","source":{"type":"url","url":"https://h/a.png"}}'),
    ],
)
async def test_what_names_no_url_stays_as_it_is(block: Block) -> None:
    """Protects requests without any, even where nothing may be fetched."""
    given = _turns(block)
    assert await resolve_media(given, _OFF) is given


async def test_a_url_is_fetched_once_for_each_use() -> None:
    """Protects other people's servers, and the limit, from one image that is named often."""
    pages = Pages({"https://h/a.png": png()})
    media = Media(MediaSettings(fetch=FetchRule(enabled=True)), fetch=pages)
    assert await resolve_media(_turns(*[IMAGE] * 30), media) == _turns(*[SHOWN] * 30)
    assert pages.asked == ["https://h/a.png"]


def _body(url: str) -> bytes:
    part = {"type": "image_url", "image_url": {"url": url}}
    return msgspec.json.encode({"messages": [{"content": "s"}, {"content": [{"type": "text"}, part]}]})


async def _error(given: Sequence[Block], media: Media, url: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        await resolve_media(_turns(*given), media, body=_body(url))
    return caught.value


async def test_an_error_names_the_clients_own_field_and_the_setting() -> None:
    """Protects clients and operators from guessing."""
    off = await _error([IMAGE], _OFF, "https://h/a.png")
    missing = ImageBlock(UrlSource("https://h/none"))
    refused = await _error([IMAGE, missing], _media(), "https://h/none")
    for error in (off, refused):
        assert error.param == "messages[1].content[1].image_url.url"
        assert (error.status, error.code) == (400, "invalid_image_url")
        assert "IMAGE_FETCH" in error.message
        assert "https://h" not in error.message
    assert (await _error([IMAGE], _OFF, "elsewhere")).param is None


@pytest.mark.parametrize(
    ("block", "content"),
    [
        (ImageBlock, b""),
        (ImageBlock, b"<html>"),
        (ImageBlock, b"<svg/>"),
        (ImageBlock, PDF),
        (ImageBlock, png()[:20]),
        (ImageBlock, png(50_000, 50_000)),
        (DocumentBlock, png()),
        (DocumentBlock, b"text"),
    ],
)
async def test_all_refusals_are_told_alike(
    block: type[ImageBlock] | type[DocumentBlock], content: bytes
) -> None:
    """Protects networks from being mapped: nothing tells an open door from a closed one."""
    named = [block(UrlSource("https://h/x"))]
    there = await _error(named, _media({"https://h/x": content}), "https://h/x")
    nowhere = await _error(named, _media(), "https://h/x")
    assert (there.message, there.param, there.code) == (nowhere.message, nowhere.param, nowhere.code)


async def test_the_number_and_the_sum_are_limited() -> None:
    """Protects memory, and the sites that would be asked."""
    blocks = [ImageBlock(UrlSource(f"https://h/{number}")) for number in range(21)]
    pages = {f"https://h/{number}": png() for number in range(21)}
    assert len((await resolve_media(_turns(*blocks[:20]), _media(pages)))[1].content) == 20
    many = await _error(blocks, _media(pages), "https://h/20")
    assert "20" in many.message
    assert many.param is not None
    large = {f"https://h/{number}": png().ljust(5 * 1024 * 1024, b"\0") for number in range(5)}
    assert len((await resolve_media(_turns(*blocks[:4]), _media(large)))[1].content) == 4
    much = await _error(blocks[:5], _media(large), "https://h/4")
    assert "20 MiB" in much.message


def _chat(*urls: str) -> bytes:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": parts}]})


async def test_files_named_by_path_stand_in_the_body_as_data_urls(tmp_path: Path) -> None:
    """Protects clients on the operator's own machine, whoever answers them."""
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "a.pdf").write_bytes(PDF)
    media = _media(None, tmp_path)
    assert media.reads_files
    data = f"data:image/png;base64,{_base64(png(), 'image/png').data}"
    changed = await media.inlined(_chat(f"{tmp_path}/a.png", "https://h/a.png", f"file://{tmp_path}/a.png"))
    assert changed == _chat(data, "https://h/a.png", data)
    file = {"type": "file", "file": {"file_data": f"file:{tmp_path}/a.pdf", "filename": "a.pdf"}}
    body = msgspec.json.encode({"messages": [{"content": [file]}]})
    assert b'"data:application/pdf;base64,JVBERi' in await media.inlined(body)
    await media.close()


async def test_a_path_that_is_not_allowed_is_refused_by_name(tmp_path: Path) -> None:
    """Protects the machine's files; the error tells nothing about them."""
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "wide.png").write_bytes(png(9000, 1))
    (tmp_path / "a.pdf").write_bytes(PDF)
    media = _media(None, tmp_path)
    messages = set()
    for path in ("/etc/passwd", f"{tmp_path}/none.png", f"{tmp_path}/wide.png", f"{tmp_path}/a.pdf"):
        with pytest.raises(InvalidRequest) as caught:
            await media.inlined(_chat(f"{tmp_path}/a.png", path))
        assert caught.value.param == "messages[0].content[1].image_url.url"
        messages.add(caught.value.message)
    await media.close()
    assert len(messages) == 1
    assert "CLAUDE_CODE_ROOTS" in messages.pop()


async def test_a_body_without_paths_is_the_same_object(tmp_path: Path) -> None:
    """Protects the time of requests that name nothing."""
    media = _media(None, tmp_path)
    for body in (_chat("https://h/a.png"), _chat("data:image/png;base64,AAAA"), b"not even JSON"):
        assert await media.inlined(body) is body
    await media.close()


async def test_files_are_limited_in_number_and_sum(tmp_path: Path) -> None:
    """Protects memory from one request that names a whole library."""
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(png().ljust(5 * 1024 * 1024, b"\0"))
    media = _media(None, tmp_path)
    await media.inlined(_chat(*[f"{tmp_path}/0.png"] * 3))
    with pytest.raises(InvalidRequest) as caught:
        await media.inlined(_chat(*[f"{tmp_path}/{number}.png" for number in range(5)]))
    assert caught.value.param == "messages[0].content[4].image_url.url"
    with pytest.raises(InvalidRequest) as caught:
        await media.inlined(_chat(*[f"{tmp_path}/0.png"] * 21))
    assert caught.value.param == "messages[0].content[20].image_url.url"
    await media.close()
