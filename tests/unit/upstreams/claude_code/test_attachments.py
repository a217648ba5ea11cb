"""Files and images of this machine before the question."""

import binascii
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from proxy.dialects.claude_options import ClaudeOptions
from proxy.errors import GatewayError
from proxy.model.content import Base64Source, DocumentBlock, ImageBlock, TextSource
from proxy.upstreams.claude_code.attachments import attached
from proxy.upstreams.local_files import LocalFiles
from tests.support.pictures import PDF, png


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a file of each kind."""
    found = tmp_path / "root"
    found.mkdir()
    (found / "note.txt").write_text("a heron")
    (found / "dot.png").write_bytes(png())
    (found / "paper.pdf").write_bytes(PDF)
    (found / "raw.bin").write_bytes(b"\0\1\2")
    (found / "large.txt").write_text("x" * (5 * 1024 * 1024 + 1))
    (tmp_path / "outside.txt").write_text("canary")
    (found / "link.txt").symlink_to(tmp_path / "outside.txt")
    return found


@pytest.fixture
async def files(root: Path) -> AsyncIterator[LocalFiles]:
    """Reads below it."""
    found = LocalFiles([root])
    yield found
    found.close()


def _options(**fields: object) -> ClaudeOptions:
    return msgspec.convert(fields, ClaudeOptions)


async def test_each_kind_becomes_what_the_model_is_shown(root: Path, files: LocalFiles) -> None:
    """Protects the content, its place and its name."""
    options = _options(files=["note.txt", f"{root}/paper.pdf", "dot.png"], images=["./dot.png"])
    note, paper, dot, image = await attached(options, root, [root], files)
    assert note == DocumentBlock(TextSource("text/plain", "a heron"), title="note.txt")
    assert isinstance(paper, DocumentBlock)
    assert paper.title == f"{root}/paper.pdf"
    assert isinstance(dot, ImageBlock)
    assert dot == image


@pytest.mark.parametrize(
    ("option", "path", "status"),
    [
        ("files", "missing.txt", 400),
        ("files", "raw.bin", 400),
        ("files", "large.txt", 400),
        ("files", "link.txt", 400),
        ("files", "../outside.txt", 400),
        ("files", "a\0b", 400),
        ("files", "x" * 4096, 400),
        ("images", "note.txt", 400),
        ("images", "paper.pdf", 400),
        ("files", "/etc/passwd", 403),
        ("files", "file:///etc/passwd", 400),
    ],
)
async def test_what_cannot_be_used_is_named_and_nothing_is_told(
    root: Path, files: LocalFiles, option: str, path: str, status: int
) -> None:
    """Protects other files; a client learns which of its paths is meant, and nothing of what lies there."""
    with pytest.raises(GatewayError) as caught:
        await attached(_options(**{option: [path]}), root, [root], files)
    assert (caught.value.status, caught.value.param) == (status, f"claude_options.{option}[0]")
    assert "canary" not in caught.value.message


async def test_without_a_directory_only_absolute_paths_lead_anywhere(root: Path, files: LocalFiles) -> None:
    """Protects against paths that begin nowhere."""
    (block,) = await attached(_options(files=[f"{root}/note.txt"]), None, [root], files)
    assert isinstance(block, DocumentBlock)
    with pytest.raises(GatewayError) as caught:
        await attached(_options(files=["note.txt"]), None, [root], files)
    assert (caught.value.status, "CLAUDE_CODE_ROOTS" in caught.value.message) == (403, True)


async def test_all_together_are_bounded(root: Path, files: LocalFiles) -> None:
    """Protects the memory of the server."""
    (root / "big.txt").write_text("x" * (5 * 1024 * 1024))
    with pytest.raises(GatewayError) as caught:
        await attached(_options(files=["big.txt"] * 5), root, [root], files)
    assert caught.value.param == "claude_options.files[4]"


async def test_an_image_may_be_a_data_url(root: Path, files: LocalFiles) -> None:
    """Protects clients that send what no directory here holds; it is told by its bytes, not by its label."""
    data = binascii.b2a_base64(png(), newline=False).decode()
    options = _options(images=[f"DATA:image/jpeg;base64,{data}", "dot.png"])
    first, second = await attached(options, root, [root], files)
    assert first == second == ImageBlock(Base64Source("image/png", data))
    assert await attached(_options(images=[f"data:image/png;base64,{data}"]), None, [], files) == (first,)


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:image/png;base64,*",
        "data:text/plain,a%20heron",
        f"data:image/png;base64,{binascii.b2a_base64(PDF, newline=False).decode()}",
        "data:image/png;base64," + binascii.b2a_base64(png() + b"x" * 5 * 1024 * 1024).decode(),
    ],
    ids=["empty", "no base64", "text", "a PDF", "too large"],
)
async def test_a_data_url_that_cannot_be_used_is_named(root: Path, files: LocalFiles, url: str) -> None:
    """Protects the process from what is no image, and the client from guessing which one is meant."""
    with pytest.raises(GatewayError) as caught:
        await attached(_options(images=["dot.png", url]), root, [root], files)
    assert (caught.value.status, caught.value.param) == (400, "claude_options.images[1]")


async def test_data_urls_count_into_what_a_request_may_have(root: Path, files: LocalFiles) -> None:
    """Protects memory from many that are each small enough."""
    url = "data:image/png;base64," + binascii.b2a_base64(png() + b"x" * 4_900_000).decode()
    with pytest.raises(GatewayError) as caught:
        await attached(_options(images=[url] * 5), root, [root], files)
    assert caught.value.param == "claude_options.images[4]"
