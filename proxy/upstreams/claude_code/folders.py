"""The folders children live in: one each, for this server alone, and none left when it has gone.

These functions block; they are for threads.
"""

import fcntl
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import msgspec

_MODE: Final = 0o700
_LOCK: Final = "lock"
_TEMPORARY: Final = "tmp"
_NAME_BYTES: Final = 8


class Folder(msgspec.Struct, frozen=True):
    """Where one child lives. Whoever reads a path of it finds the folder made.

    Attributes:
        root: everything of it lies below; gone when the child is.
        home: its home.
        configuration: its settings and transcripts.
        temporary: its temporary files.
        work: where it runs, unless the operator said where; empty.
    """

    root: Path

    @property
    def home(self) -> Path:
        """See the class."""
        return self.root / "home"

    @property
    def configuration(self) -> Path:
        """See the class."""
        return self.root / "configuration"

    @property
    def temporary(self) -> Path:
        """See the class."""
        return self.root / _TEMPORARY

    @property
    def work(self) -> Path:
        """See the class."""
        return self.root / "work"

    def remove(self) -> None:
        """Remove it with everything in it."""
        shutil.rmtree(self.root, ignore_errors=True)


class Folders:
    """Makes them below one folder of this server, which it holds locked; those of servers that died are removed."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._own: Path | None = None
        self._lock = -1
        self._opening = threading.Lock()

    def new(self) -> Folder:
        """A new one. Raises OSError."""
        with self._opening:
            if self._own is None:
                self._own = self._open()
        folder = Folder(_made_in(self._own))
        for part in (folder.home, folder.configuration, folder.temporary, folder.work):
            part.mkdir(mode=_MODE)
        return folder

    @property
    def temporary_path_bytes(self) -> int:
        """The length of the path of any child's folder for temporary files."""
        return len(os.fsencode(self._base / ("x" * _NAME_BYTES) / ("x" * _NAME_BYTES) / _TEMPORARY))

    def close(self) -> None:
        """Remove what is left, and let go of the lock."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._lock)
            self._own = None

    def _open(self) -> Path:
        self._base.mkdir(mode=_MODE, parents=True, exist_ok=True)
        for left in self._base.iterdir():
            _remove_if_left(left)
        own = _made_in(self._base)
        self._lock = os.open(own / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return own


def _made_in(folder: Path) -> Path:
    """A new folder of a short name: paths of sockets below it have to be short."""
    return Path(mkdtemp(prefix="", dir=folder))


def _remove_if_left(folder: Path) -> None:
    """Remove what an earlier server left; one that still runs holds its lock."""
    with suppress(OSError):
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
