"""Runs first in each program of ours that the tests start, and writes down what is told from within.

``CANARIES_TAPES`` names the folder for it: one file each for answers to clients, answers to administrators, and the
command lines of what the program itself starts.
"""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from pathlib import Path

_FOLDER = os.environ.pop("CANARIES_TAPES", "")
_ROOT = Path(__file__).parents[4]


def _tape(kind: str) -> int:
    path = f"{_FOLDER}/{os.getpid()}.{kind}"
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _hear(is_page: bool, data: bytes) -> None:
    tape = _tape("page" if is_page else "answer")
    os.write(tape, data)
    os.close(tape)


def _note_commands() -> None:
    start = asyncio.create_subprocess_exec

    async def create_subprocess_exec(*command: str, **options: object) -> Process:
        tape = _tape("command")
        os.write(tape, "\0".join(map(str, command)).encode(errors="replace") + b"\n")
        os.close(tape)
        return await start(*command, **options)  # type: ignore[arg-type]  # passed on as they came

    asyncio.create_subprocess_exec = asyncio.subprocess.create_subprocess_exec = create_subprocess_exec  # type: ignore[assignment]  # it takes its place


if _FOLDER:
    sys.path.append(str(_ROOT))
    _note_commands()
    if not {"keys", "check", "shell-hook"} & set(sys.orig_argv):
        from tests.support.canaries.edge import overhear

        overhear(_hear)
