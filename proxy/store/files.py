"""Files and folders only our own user may open: made that way, and refused if they are not.

These functions block; they are for the start and for threads.
"""

import os
import stat
from pathlib import Path
from secrets import token_hex
from typing import Final

from proxy.store.base import StoreError

MAX_BYTES: Final = 64 * 1024
_FILE_MODE: Final = 0o600
_DIR_MODE: Final = 0o700
_OTHERS: Final = 0o077
_EVERYONE_WRITES: Final = stat.S_IWOTH | stat.S_ISVTX


def ensure_private_dir(path: Path) -> None:
    """Make a folder of mode 0700, or take an existing one and close it to others.

    Raises:
        StoreError: it is a link, no folder, another user's, or one that is meant to be shared such as ``/tmp``.
    """
    try:
        path.mkdir(mode=_DIR_MODE, parents=True, exist_ok=True)
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise StoreError(f"{path} is a symbolic link; name the folder it leads to.")
        if found.st_uid != os.geteuid():
            raise StoreError(f"{path} belongs to another user; it must belong to the one the server runs as.")
        if found.st_mode & _EVERYONE_WRITES:
            raise StoreError(f"{path} is a folder everyone may write to; name one for the server alone.")
        if found.st_mode & _OTHERS:
            path.chmod(_DIR_MODE)
    except OSError as error:
        raise StoreError(f"{path} cannot be used as a folder: {error.strerror}.") from None


def check_private(path: Path) -> bool:
    """Whether the file exists. Raises StoreError if it is not a plain file of ours that only we may open."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{path} cannot be looked at: {error.strerror}.") from None
    _refuse_unsafe(path, found)
    return True


def make_private(path: Path) -> None:
    """Make an empty file of mode 0600, whatever the umask. An existing one is left as it is.

    Raises:
        StoreError: it cannot be made.
    """
    try:
        descriptor = _create(path)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror}.") from None
    os.close(descriptor)


def read_private(path: Path) -> bytes | None:
    """A file of ours of at most 64 KiB, or None if there is none.

    Raises:
        StoreError: it is a link, no plain file, another user's, open to others, too large or unreadable.
    """
    # Without O_NONBLOCK a pipe put in the file's place would hang the start.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if not check_private(path):
        return None
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            _refuse_unsafe(path, os.fstat(file.fileno()))
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_BYTES:
        raise StoreError(f"{path} is larger than {MAX_BYTES} bytes.")
    return data


def write_private(path: Path, data: bytes, *, replace: bool = True) -> bool:
    """Put a file of mode 0600 in place, whole or not at all, and have it on disk when this returns.

    Args:
        path: where; the folder must exist.
        data: what it holds.
        replace: whether an existing file gives way; if not, it stays and False is returned.

    Raises:
        StoreError: it cannot be written; an existing file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{token_hex(8)}.tmp")
    try:
        try:
            _write(temporary, data)
            placed = _place(temporary, path, replace=replace)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_dir(path.parent)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}.") from None
    return placed


def _place(temporary: Path, path: Path, *, replace: bool) -> bool:
    if replace:
        temporary.replace(path)
        return True
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    except OSError:
        # Some shared folders know no hard links; what is left is to look first.
        if os.path.lexists(path):
            return False
        temporary.replace(path)
    return True


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(_create(path), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, _FILE_MODE)


def _sync_dir(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_unsafe(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path} is a link or no plain file; remove it.")
    if found.st_uid != os.geteuid():
        raise StoreError(f"{path} belongs to another user than the one the server runs as.")
    if found.st_mode & _OTHERS:
        raise StoreError(
            f"{path} can be opened by other users; chmod 600 it after making sure of its content."
        )
