"""Memory that processes of one parent share: each writes a piece of its own, and all read every piece."""

import os
import struct
import tempfile
import zlib
from typing import Final

_HEAD: Final = struct.Struct("<QI")
_NUMBER: Final = struct.Struct("<Q")
_TRIES: Final = 3


class Slots:
    """Pieces that begin empty. To be made before the processes are, which inherit them; no file has a name.

    What one process writes while another reads may be read half; such a piece is known by its checksum.
    """

    __slots__ = ("_files", "_wanted")

    def __init__(self, count: int) -> None:
        """`count` pieces. Raises OSError where there is no memory for them."""
        self._files = [_memory() for _ in range(count)]
        self._wanted = _memory()

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return len(self._files)

    def write(self, number: int, data: bytes) -> None:
        """Replace a piece, which one process alone may write. Raises OSError."""
        os.pwrite(self._files[number], _HEAD.pack(len(data), zlib.crc32(data)) + data, 0)

    def read(self, number: int) -> bytes | None:
        """A piece; None where it was never written, or never whole while it was looked at."""
        file = self._files[number]
        for _ in range(_TRIES):
            found = os.pread(file, os.fstat(file).st_size, 0)
            if len(found) < _HEAD.size:
                return None
            length, checksum = _HEAD.unpack_from(found)
            data = found[_HEAD.size : _HEAD.size + length]
            if len(data) == length and zlib.crc32(data) == checksum:
                return data
        return None

    def close(self) -> None:
        """Give the memory back; that of other processes stays theirs."""
        for file in (*self._files, self._wanted):
            os.close(file)

    @property
    def wanted(self) -> int:
        """How often anybody has asked for all pieces to be written anew; two that ask at once may count as one."""
        found = os.pread(self._wanted, _NUMBER.size, 0)
        return _NUMBER.unpack(found)[0] if len(found) == _NUMBER.size else 0

    def want(self) -> int:
        """Ask all others to write theirs anew. Returns what `wanted` tells from now on, at least."""
        wanted = self.wanted + 1
        os.pwrite(self._wanted, _NUMBER.pack(wanted), 0)
        return wanted


def _memory() -> int:
    """A descriptor of memory, or where the system knows none, of a file without a name; children inherit it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("carousel")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
