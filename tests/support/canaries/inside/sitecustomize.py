"""Runs first in each program of ours that the tests start, and writes down what is told from within.

``CANARIES_TAPES`` names the folder for it: one file each for answers to clients, answers to administrators, and the
command lines of what the program itself starts.
"""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

_FOLDER = os.environ.pop("CANARIES_TAPES", "")
_ROOT = Path(__file__).parents[4]


def _write(kind: str, data: bytes) -> None:
    path = f"{_FOLDER}/{os.getpid()}.{kind}"
    # a test may have left the program no room to write in
    with suppress(OSError):
        tape = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(tape, data)
        finally:
            os.close(tape)


def _hear(is_page: bool, data: bytes) -> None:
    _write("page" if is_page else "answer", data)


def _note_commands() -> None:
    start = asyncio.create_subprocess_exec

    async def create_subprocess_exec(*command: str, **options: object) -> Process:
        _write("command", "\0".join(map(str, command)).encode(errors="replace") + b"\n")
        return await start(*command, **options)  # type: ignore[arg-type]  # passed on as they came

    asyncio.create_subprocess_exec = asyncio.subprocess.create_subprocess_exec = create_subprocess_exec  # type: ignore[assignment]  # it takes its place


if _FOLDER:
    sys.path.append(str(_ROOT))
    _note_commands()
    if not {"keys", "check", "shell-hook"} & set(sys.orig_argv):
        from tests.support.canaries.edge import overhear

        overhear(_hear)
