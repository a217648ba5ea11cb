"""No path of a client's opens anything but regular files below the directories the operator named.

What must stay closed is an image of its own here, so that nothing but the path can keep it closed.
"""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.model.media_type import MediaType
from proxy.upstreams.local_files import LocalFiles, Unreadable, read_beneath
from tests.support.pictures import png

_ANYTHING = tuple(MediaType)
_OPEN = png(1, 1)
_CLOSED = png(666, 666)
_TRIES = 10_000


@dataclass(frozen=True, slots=True)
class Disk:
    """A directory that is open to requests, and what lies around it.

    Attributes:
        root: the directory.
        outside: its neighbour, which is closed.
    """

    root: Path
    outside: Path

    def read(self, reference: str) -> bytes:
        """What a client would get."""
        return read_beneath([os.fsencode(self.root)], reference, _ANYTHING, 5 * 1024 * 1024)[1]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """An open directory with an image, beside a closed one whose name begins alike."""
    root, outside = tmp_path / "img", tmp_path / "img2"
    for folder, content in ((root, _OPEN), (outside, _CLOSED)):
        (folder / "inner").mkdir(parents=True)
        (folder / "a.png").write_bytes(content)
        (folder / "inner" / "a.png").write_bytes(content)
    (tmp_path / "sessions.json").write_text('{"credentials": []}')
    return Disk(root, outside)


PATHS = (
    "{root}/../img2/a.png",
    "{root}/inner/../../img2/a.png",
    "{root}/./../img2/a.png",
    "{root}//..//img2/a.png",
    "{root}/inner/../a.png",
    "{root}/..",
    "{root}",
    "{root}/",
    "{root}/.",
    "{root}/inner",
    "{root}2/a.png",
    "{outside}/a.png",
    "file://{root}/%2e%2e/img2/a.png",
    "file://{root}/%2E%2E%2Fimg2%2Fa.png",
    "file://{root}/..%2fimg2/a.png",
    "{root}/%2e%2e/img2/a.png",
    "{root}/..%c0%afimg2/a.png",
    "{root}/\uff0e\uff0e/img2/a.png",
    "{root}/..\\img2\\a.png",
    "file://{root}\\..\\img2\\a.png",
    "file:{outside}/a.png",
    "file://localhost{outside}/a.png",
    "file://other.example{root}/a.png",
    "file://127.0.0.1{root}/a.png",
    "file:a.png",
    "file://a.png",
    "file:",
    "a.png",
    "./a.png",
    "~/a.png",
    "",
    "/",
    "{root}/a.png\0",
    "{root}/a.png\0.png",
    "file://{root}/a.png%00",
    "{root}/a.png/",
    "{root}/a.png ",
    "{root}/a.png/../a.png",
    "{root}/a.png?x",
    "{root}/a.png::$DATA",
    "{root}/" + "a/" * 3000 + "a.png",
    "{root}/" + "a" * 300,
    "{root}/" + "/" * 5000 + "a.png",
    "file://{root}/%ff%fe",
    "{root}/\ud7ff\U0010ffff",
    "/proc/self/environ",
    "/proc/self/cwd/pyproject.toml",
    "/proc/self/root{outside}/a.png",
    "/proc/self/fd/0",
    "{root}/../../proc/self/environ",
    "/dev/zero",
    "/dev/stdin",
    "/etc/passwd",
    "{root}/../sessions.json",
)


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_no_path_leads_out_of_the_directory(disk: Disk, path: str) -> None:
    """Protects every other file of the machine, however its path is dressed up."""
    reference = path.format(root=disk.root, outside=disk.outside)
    if reference.rstrip(" /") != f"{disk.root}/a.png" or reference.endswith(" "):
        with pytest.raises(Unreadable) as caught:
            disk.read(reference)
        assert str(caught.value) == ""
        assert caught.value.__cause__ is None


def test_the_open_files_are_open(disk: Disk) -> None:
    """Protects the other tests from passing because nothing works."""
    assert disk.read(f"{disk.root}/a.png") == _OPEN
    assert disk.read(f"file://{disk.root}/inner/a.png") == _OPEN


def _links(disk: Disk) -> Iterator[Path]:
    for name, target in (
        ("file.png", disk.outside / "a.png"),
        ("inside.png", disk.root / "a.png"),
        ("relative.png", Path("../img2/a.png")),
        ("process.png", Path("/proc/self/environ")),
        ("twice.png", Path("file.png")),
        ("circle.png", Path("circle.png")),
        ("nowhere.png", Path("/none")),
    ):
        (disk.root / name).symlink_to(target)
        yield disk.root / name
    (disk.root / "folder").symlink_to(disk.outside)
    yield disk.root / "folder" / "a.png"
    yield disk.root / "folder" / "inner" / "a.png"
    (disk.root / "inner" / "up").symlink_to("..")
    yield disk.root / "inner" / "up" / "a.png"


def test_no_link_is_followed(disk: Disk) -> None:
    """Protects from links somebody else could place in the directory, wherever they lead."""
    for path in _links(disk):
        with pytest.raises(Unreadable):
            disk.read(str(path))


def test_a_file_with_a_second_name_stays_closed(disk: Disk) -> None:
    """Protects files of which somebody has made a hard link in the directory."""
    (disk.root / "hard.png").hardlink_to(disk.outside / "a.png")
    with pytest.raises(Unreadable):
        disk.read(f"{disk.root}/hard.png")
    (disk.outside / "a.png").unlink()
    assert disk.read(f"{disk.root}/hard.png") == _CLOSED


@pytest.mark.parametrize("before", [True, False])
def test_a_second_name_that_comes_or_goes_in_between_opens_nothing(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, *, before: bool
) -> None:
    """Protects the moment of opening itself, from either side."""
    name, aside, really_open = disk.root / "a.png", disk.root / "aside.png", os.open

    def opened(path: bytes, flags: int, *, dir_fd: int | None = None) -> int:
        if path != b"a.png":
            return really_open(path, flags, dir_fd=dir_fd)
        if before:
            name.rename(aside)
            name.hardlink_to(disk.outside / "a.png")
        file = really_open(path, flags, dir_fd=dir_fd)
        name.unlink()
        return file

    if not before:
        name.rename(aside)
        name.hardlink_to(disk.outside / "a.png")
    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(Unreadable):
        disk.read(str(name))


async def test_what_is_no_regular_file_is_not_even_opened(disk: Disk) -> None:
    """Protects the loop and its threads: a pipe without a writer, a socket, a device."""
    os.mkfifo(disk.root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(disk.root / "socket.png"))
    names = ["pipe.png", "socket.png", "inner"]
    try:
        os.mknod(disk.root / "zero.png", 0o600 | 0o020000, os.makedev(1, 5))
        names.append("zero.png")
    except PermissionError:
        pass
    files = LocalFiles([disk.root])
    async with asyncio.timeout(5):
        for name in names * 5:
            with pytest.raises(Unreadable):
                await files.read(f"{disk.root}/{name}", _ANYTHING)
        _, content = await files.read(f"{disk.root}/a.png", _ANYTHING)
    assert content == _OPEN
    files.close()


def test_a_huge_file_is_not_read(disk: Disk) -> None:
    """Protects memory: a sparse file of a terabyte with the head of an image."""
    huge = disk.root / "huge.png"
    huge.write_bytes(_OPEN)
    os.truncate(huge, 2**40)
    with pytest.raises(Unreadable):
        disk.read(str(huge))
    (disk.root / "empty.png").touch()
    with pytest.raises(Unreadable):
        disk.read(f"{disk.root}/empty.png")


@pytest.mark.parametrize("name", ["sessions.json", "carousel.db", ".env", "client.key", "image.svg"])
def test_secrets_that_lie_in_the_directory_itself_are_no_images(disk: Disk, name: str) -> None:
    """Protects operators who open the directory their configuration lies in."""
    content = {"carousel.db": b"SQLite format 3\0canary", "image.svg": b"<svg>canary</svg>"}
    (disk.root / name).write_bytes(content.get(name, b"sk-ant-canary"))
    images = [kind for kind in MediaType if kind is not MediaType.TEXT]
    with pytest.raises(Unreadable):
        read_beneath([os.fsencode(disk.root)], f"{disk.root}/{name}", images, 1000)


@dataclass(slots=True)
class _Swapping:
    """Exchanges a name for a link to something else all the time, in a thread.

    Attributes:
        rounds: how often it did.
    """

    name: Path
    target: Path
    rounds: int = 0
    _over: bool = False

    def start(self) -> threading.Thread:
        """Begin."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End after this round."""
        self._over = True

    def _run(self) -> None:
        aside, evil = self.name.with_name("aside"), self.name.with_name("evil")
        while not self._over:
            evil.symlink_to(self.target)
            self.name.rename(aside)
            evil.rename(self.name)
            self.name.unlink()
            aside.rename(self.name)
            self.rounds += 1


@pytest.fixture
async def swaps() -> AsyncIterator[list[tuple[_Swapping, threading.Thread]]]:
    """What exchanges names until the test is over."""
    found: list[tuple[_Swapping, threading.Thread]] = []
    yield found
    for swapping, thread in found:
        swapping.stop()
        await asyncio.to_thread(thread.join, 10)


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_nothing_can_be_exchanged_between_a_look_and_a_use(
    disk: Disk, what: str, swaps: list[tuple[_Swapping, threading.Thread]]
) -> None:
    """Protects from a race: ten thousand tries while the name changes under the reader's hands."""
    name = disk.root / "inner" if what == "folder" else disk.root / "a.png"
    target = disk.outside / ("inner" if what == "folder" else "a.png")
    swapping = _Swapping(name, target)
    swaps.append((swapping, swapping.start()))
    reference = f"{disk.root}/inner/a.png" if what == "folder" else f"{disk.root}/a.png"

    def read() -> set[bytes]:
        seen = set()
        for _ in range(_TRIES):
            try:
                seen.add(disk.read(reference))
            except Unreadable:
                seen.add(b"")
        return seen

    assert await asyncio.to_thread(read) <= {_OPEN, b""}
    assert swapping.rounds >= 1
