"""Files named by their path."""

import asyncio
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from proxy.model.media_type import IMAGES, MediaType
from proxy.upstreams import local_files
from proxy.upstreams.local_files import LocalFiles, Unreadable, read_beneath
from tests.support.pictures import PDF, png

_MAX_BYTES = 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory that is open to requests."""
    root = tmp_path / "images"
    (root / "inner").mkdir(parents=True)
    (root / "a.png").write_bytes(png())
    (root / "inner" / "ä b%.png").write_bytes(png(5, 5))
    (root / "a.pdf").write_bytes(PDF)
    (root / "a.txt").write_text("text")
    return root


def _read(root: Path, reference: str, *accepted: MediaType) -> bytes:
    return read_beneath([os.fsencode(root)], reference, accepted or tuple(IMAGES), _MAX_BYTES)[1]


@pytest.mark.parametrize(
    "reference",
    [
        "{root}/a.png",
        "{root}//./a.png",
        "//{root}/a.png",
        "file:{root}/a.png",
        "file://{root}/a.png",
        "FILE://LocalHost{root}/a.png",
    ],
)
def test_a_file_below_the_directory_is_read(root: Path, reference: str) -> None:
    """Protects clients that send paths, however they are written."""
    assert _read(root, reference.format(root=root)) == png()


def test_a_file_url_is_freed_of_its_escapes_and_a_path_is_not(root: Path) -> None:
    """Protects names with a percent sign, and letters of every script."""
    name = root / "inner" / "ä b%.png"
    assert _read(root, str(name)) == png(5, 5)
    assert _read(root, "file://" + quote(str(name))) == png(5, 5)
    with pytest.raises(Unreadable):
        _read(root, quote(str(name)))


def test_a_reference_longer_than_any_path_is_not_even_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the processor from megabytes of escapes."""
    monkeypatch.setattr(local_files, "unquote_to_bytes", pytest.fail)
    with pytest.raises(Unreadable):
        _read(root, "file:///" + "%61" * 5000)


def test_a_name_that_is_no_utf_8_can_be_given_as_a_url(root: Path) -> None:
    """Protects files of older systems."""
    (root / os.fsdecode(b"\xff.png")).write_bytes(png())
    assert _read(root, f"file://{root}/%ff.png") == png()


def test_the_content_decides_what_a_file_is(root: Path) -> None:
    """Protects every file that is no image: nothing of it is given out, whatever it is called."""
    assert read_beneath([os.fsencode(root)], f"{root}/a.png", IMAGES, _MAX_BYTES)[0] is MediaType.PNG
    assert _read(root, f"{root}/a.pdf", MediaType.PDF) == PDF
    assert _read(root, f"{root}/a.txt", MediaType.TEXT) == b"text"
    (root / "b.png").write_text("sk-secret")
    (root / "b.txt").write_bytes(b"\0")
    for reference, accepted in (
        ("b.png", MediaType.PNG),
        ("a.pdf", MediaType.PNG),
        ("a.png", MediaType.PDF),
        ("a.png", MediaType.TEXT),
        ("b.txt", MediaType.TEXT),
    ):
        with pytest.raises(Unreadable):
            _read(root, f"{root}/{reference}", accepted)


def test_the_size_is_limited_to_the_byte(root: Path) -> None:
    """Protects memory, and files of exactly the size that is allowed."""
    (root / "most.png").write_bytes(png().ljust(_MAX_BYTES, b"\0"))
    (root / "more.png").write_bytes(png().ljust(_MAX_BYTES + 1, b"\0"))
    assert len(_read(root, f"{root}/most.png")) == _MAX_BYTES
    with pytest.raises(Unreadable):
        _read(root, f"{root}/more.png")


def test_the_operators_own_path_may_go_through_links(root: Path, tmp_path: Path) -> None:
    """Protects directories that are mounted elsewhere: the operator chose the link, not the client."""
    (tmp_path / "link").symlink_to(root)
    assert _read(tmp_path / "link", f"{tmp_path}/link/a.png") == png()
    with pytest.raises(Unreadable):
        _read(tmp_path / "link", f"{root}/a.png")


def test_every_directory_is_looked_at(root: Path, tmp_path: Path) -> None:
    """Protects the second and every further one."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.png").write_bytes(png())
    roots = [os.fsencode(root), os.fsencode(tmp_path / "other")]
    assert read_beneath(roots, f"{tmp_path}/other/b.png", IMAGES, _MAX_BYTES)[1] == png()


async def test_files_are_read_in_a_thread(root: Path) -> None:
    """Protects the loop: a test fails that blocks it."""
    files = LocalFiles([root])
    assert await files.read(f"{root}/a.png", IMAGES) == (MediaType.PNG, png())
    with pytest.raises(Unreadable):
        await files.read(f"{root}/none.png", IMAGES)
    files.close()
    files.close()


async def test_a_file_system_that_does_not_answer_is_given_up(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects requests from a network share that hangs."""
    monkeypatch.setattr("proxy.upstreams.local_files._LIMIT_S", 0.0)
    files = LocalFiles([root])
    with pytest.raises(Unreadable):
        await files.read(f"{root}/a.png", IMAGES)
    files.close()


async def test_no_descriptor_is_left_open(root: Path) -> None:
    """Protects a server that runs for months, whatever clients name."""

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def ask() -> tuple[int, int]:
        before = descriptors()
        for reference in ("a.png", "a.txt", "inner", "inner/none", "none/a.png", "a.png/b"):
            for _ in range(3):
                try:
                    _read(root, f"{root}/{reference}")
                except Unreadable:
                    continue
        return before, descriptors()

    before, after = await asyncio.to_thread(ask)
    assert after == before
