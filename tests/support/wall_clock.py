"""A wall clock that can be set while the programs that go by it run."""

import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.program import ROOT, through

_RUNNER: Final = ROOT / "tests/support/wall_clock_runner.py"


class WallClock:
    """The wall clock of programs that are started inside `used`; what measures durations is left alone."""

    def __init__(self, file: Path) -> None:
        """`file` holds by how much it is wrong."""
        self._file = file
        file.write_bytes(bytes(8))

    def set(self, seconds: int) -> None:
        """Let it be wrong by so many seconds from now on."""
        # in its place: the programs have it in memory
        with self._file.open("r+b") as file:
            file.write(struct.pack("<q", seconds))

    @contextmanager
    def used(self) -> Iterator[None]:
        """Have the programs that are started meanwhile go by it."""
        with through(sys.executable, str(_RUNNER), str(self._file)):
            yield
