"""The command line's door, ``app.py``, run as a process of its own in a folder of its own."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.canaries.marks import marked_settings

ROOT: Final = Path(__file__).parents[2]
_LISTENS: Final = re.compile(r"listens on http://\S*:(\d+)")
_START_S: Final = 30.0
_END_S: Final = 20.0
_THROUGH: Final[ContextVar[tuple[str, ...]]] = ContextVar("through", default=())


@dataclass(slots=True)
class Program:
    """A running process.

    Attributes:
        folder: where it runs.
        process: the process.
        lines: what it has written so far, both streams.
        url: its address, without a slash at the end.
    """

    folder: Path
    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def output(self) -> str:
        """What it has written so far."""
        return "".join(self.lines)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end. Returns the exit code."""
        return await asyncio.wait_for(self.process.wait(), _END_S)

    async def wrote(self, pattern: str) -> re.Match[str]:
        """Wait until a pattern is in the output. Raises RuntimeError when the process ends without it."""
        async with asyncio.timeout(_START_S):
            while (found := re.search(pattern, self.output)) is None:
                if self.process.returncode is not None:
                    raise RuntimeError(self.output)
                await asyncio.sleep(0.01)
        return found


@contextmanager
def through(*command: str) -> Iterator[None]:
    """Have this command run the programs that are started meanwhile."""
    token = _THROUGH.set(command)
    try:
        yield
    finally:
        _THROUGH.reset(token)


async def _start(folder: Path, arguments: tuple[str, ...], settings: Mapping[str, str]) -> Program:
    process = await asyncio.create_subprocess_exec(
        *_THROUGH.get(),
        sys.executable,
        str(ROOT / "app.py"),
        *arguments,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONWARNINGS": "error",
            "ADDRESS": "127.0.0.1:0",
            **marked_settings(settings),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return Program(folder, process)


async def _read(program: Program) -> None:
    stream = program.process.stdout
    if stream is None:
        raise RuntimeError("no pipe")
    while line := await stream.readline():
        program.lines.append(line.decode(errors="replace"))


async def finished(folder: Path, *arguments: str, **settings: str) -> Program:
    """Run the program to its end; nothing of the environment but the path and these settings is given to it."""
    program = await _start(folder, arguments, settings)
    try:
        await asyncio.wait_for(_read(program), _START_S)
        await program.ended()
    finally:
        if program.process.returncode is None:
            program.process.kill()
            await program.process.wait()
    return program


@asynccontextmanager
async def started(folder: Path, *arguments: str, **settings: str) -> AsyncIterator[Program]:
    """Start the program as a server, wait until it listens, and end it in the end, however it went."""
    program = await _start(folder, arguments, settings)
    reader = asyncio.get_running_loop().create_task(_read(program))
    try:
        program.url = f"http://127.0.0.1:{(await program.wrote(_LISTENS.pattern))[1]}"
        yield program
    finally:
        if program.process.returncode is None:
            program.process.kill()
        await program.process.wait()
        await reader
