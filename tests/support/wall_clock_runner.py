"""Runs a program whose wall clock is wrong: ``wall_clock_runner.py FILE PYTHON SCRIPT ARGUMENTS``.

FILE holds by how many seconds, as eight bytes; it may change meanwhile. Durations are left alone.
"""

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path

_NS = 1_000_000_000


def _run(file: str, script: str, arguments: list[str]) -> None:
    with Path(file).open("rb") as opened:
        shared = mmap.mmap(opened.fileno(), 8, access=mmap.ACCESS_READ)
    true_ns = time.time_ns

    def time_ns() -> int:
        return true_ns() + int(struct.unpack("<q", shared[:])[0]) * _NS

    time.time_ns = time_ns
    time.time = lambda: time_ns() / _NS  # noqa: TID251 - it is replaced
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


_run(sys.argv[1], sys.argv[3], sys.argv[4:])
