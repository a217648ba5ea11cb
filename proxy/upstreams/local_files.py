"""Files of this machine that a client names by their path: only below directories the operator named.

From such a directory each part of the path is opened below the one before it, and none of them may be a symbolic link:
there is no moment between a check and a use in which something could be exchanged. What is opened has to be a regular
file with no second name elsewhere, and its content, not its name, has to be of a kind that was asked for. Links that
the operator's own path to a directory goes through are the operator's.
"""

import asyncio
import os
import stat
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.model.media_type import HEAD_BYTES, MediaType, is_text, media_type_of

_LIMIT_S: Final = 10.0
_MAX_BYTES: Final = 5 * 1024 * 1024
_AT_ONCE: Final = 4
_PATH_MAX_BYTES: Final = 4096
_REFERENCE_MAX_CHARACTERS: Final = 3 * _PATH_MAX_BYTES + len("file://localhost")
"""Every byte of a path may be escaped."""

_SCHEME: Final = "file:"
_PIECE_BYTES: Final = 256 * 1024
# Where the system knows it, a folder is opened for passing through alone: it need not be readable.
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Unreadable(Exception):
    """Nothing is given out. That is all a client may learn; the text says no more."""


class LocalFiles:
    """The files below the operator's directories."""

    def __init__(self, roots: Sequence[Path]) -> None:
        """`roots` are absolute and without ``..``."""
        self._roots = [os.fsencode(root) for root in roots]
        self._threads: ThreadPoolExecutor | None = None

    async def read(
        self, reference: str, accepted: Collection[MediaType], *, max_bytes: int = _MAX_BYTES
    ) -> tuple[MediaType, bytes]:
        """The kind and the content of the file at an absolute path, or at a ``file:`` URL.

        It is read in a thread, one of a few, and waited for 10 seconds. Raises Unreadable, for every reason alike.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_AT_ONCE, "local-files")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_LIMIT_S):
                return await loop.run_in_executor(
                    self._threads, read_beneath, self._roots, reference, frozenset(accepted), max_bytes
                )
        except TimeoutError:
            raise Unreadable from None

    def close(self) -> None:
        """Let the threads go as soon as they are done."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def read_beneath(
    roots: Sequence[bytes], reference: str, accepted: Collection[MediaType], max_bytes: int
) -> tuple[MediaType, bytes]:
    """The same, in this thread, for roots as the file system writes them. Raises Unreadable."""
    try:
        parts = _parts(reference)
        for root in roots:
            below = [part for part in root.split(b"/") if part]
            if parts[: len(below)] == below and len(parts) > len(below):
                return _read(root, parts[len(below) :], accepted, max_bytes)
    except (OSError, ValueError):
        pass
    raise Unreadable


def _parts(reference: str) -> list[bytes]:
    """The names of a path from the root of the file system on. Raises ValueError."""
    if len(reference) > _REFERENCE_MAX_CHARACTERS:
        raise ValueError("a path that is too long")
    path = reference.encode()
    if reference[: len(_SCHEME)].lower() == _SCHEME:
        rest = reference[len(_SCHEME) :]
        if rest.startswith("//"):
            host, slash, rest = rest[2:].partition("/")
            if host.lower() not in {"", "localhost"}:
                raise ValueError("a file of another machine")
            rest = slash + rest
        path = unquote_to_bytes(rest)
    if not path.startswith(b"/") or len(path) > _PATH_MAX_BYTES or b"\0" in path:
        raise ValueError("no path")
    parts = [part for part in path.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise ValueError("a path that leads upwards")
    return parts


def _read(
    root: bytes, parts: list[bytes], accepted: Collection[MediaType], max_bytes: int
) -> tuple[MediaType, bytes]:
    folder = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        seen = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        # opening a device can already do something
        if not _plain(seen):
            raise ValueError("no regular file with one name")
        file = os.open(parts[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        if not os.path.samestat(seen, os.fstat(file)):
            raise ValueError("another file than a moment before")
        return _content(file, accepted, max_bytes)
    finally:
        os.close(file)


def _plain(found: os.stat_result) -> bool:
    """Whether something is a regular file with one name.

    Names are counted before and after opening, as one can come or go in between. That is no proof against somebody who
    links and unlinks there without pause; keeping others from linking to files they cannot write is the kernel's part
    (``fs.protected_hardlinks``, see proc_sys_fs(5)).
    """
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _content(file: int, accepted: Collection[MediaType], max_bytes: int) -> tuple[MediaType, bytes]:
    found = os.fstat(file)
    if not _plain(found) or not 0 < found.st_size <= max_bytes:
        raise ValueError("no regular file with one name, empty or too large")
    head = os.read(file, HEAD_BYTES)
    kind = media_type_of(head)
    if (kind or MediaType.TEXT) not in accepted:
        raise ValueError("of no kind that was asked for")
    content = bytearray(head)
    # it may grow while it is read
    while piece := os.read(file, _PIECE_BYTES):
        content += piece
        if len(content) > max_bytes:
            raise ValueError("too large")
    if kind is None and not is_text(bytes(content)):
        raise ValueError("no text")
    return kind or MediaType.TEXT, bytes(content)
