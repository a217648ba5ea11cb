"""One Claude Code process under its guard: lines in, lines out, and a certain end."""

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from proxy.pool import Fault
from proxy.tasks import spawn
from proxy.upstreams.base import UpstreamFault

LINE_MAX_BYTES: Final = 32 * 1024 * 1024
STDERR_MAX_BYTES: Final = 64 * 1024
_GUARD: Final = Path(__file__).with_name("guard.py")
_READ_BYTES: Final = 64 * 1024
_LEAVING_S: Final = 1.0
_KILLED_S: Final = 8.0
_STEP_S: Final = 0.02


class Process:
    """A program and everything it starts, from its start to the moment nothing of it is left.

    Attributes:
        pid: of its guard.
    """

    def __init__(self, process: asyncio.subprocess.Process, lifeline: int) -> None:
        self._process = process
        self._lifeline: int | None = lifeline
        self._complaints: deque[bytes] = deque()
        self._complaints_bytes = 0
        self._reading_complaints = spawn(self._read_complaints(), name="read what Claude Code complains of")
        self.pid = process.pid

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], working_dir: Path
    ) -> "Process":
        """Start it in `working_dir` with nothing but `environment`. Raises OSError where that cannot be done."""
        watched, lifeline = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_GUARD), str(watched)),
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=working_dir,
                env=dict(environment),
                pass_fds=(watched,),
                start_new_session=True,
            )
        except BaseException:
            # a guard that was started all the same finds its lifeline cut
            os.close(lifeline)
            raise
        finally:
            os.close(watched)
        return cls(process, lifeline)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None and self._lifeline is not None

    @property
    def complaints(self) -> str:
        """The end of what it wrote to standard error, at most 64 KiB."""
        return b"".join(self._complaints).decode(errors="replace")[-STDERR_MAX_BYTES:]

    async def write(self, data: bytes) -> None:
        """Write to its standard input. Raises UpstreamFault when it reads no more."""
        if self._process.stdin is None or self._lifeline is None:
            raise UpstreamFault(Fault.RESET)
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (OSError, RuntimeError):
            raise UpstreamFault(Fault.RESET) from None

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines of its standard output until it ends.

        Raises UpstreamFault for a line over 32 MiB.
        """
        if (output := self._process.stdout) is None:
            return
        unfinished: list[bytes] = []
        size_bytes = 0
        while chunk := await output.read(_READ_BYTES):
            *whole, rest = chunk.split(b"\n")
            for line in whole:
                yield b"".join((*unfinished, line))
                unfinished, size_bytes = [], 0
            unfinished.append(rest)
            size_bytes += len(rest)
            if size_bytes > LINE_MAX_BYTES:
                raise UpstreamFault(Fault.BODY_TOO_LARGE)

    def end_input(self) -> None:
        """Close its standard input, on which it ends by itself."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """Cut its lifeline: its guard kills it and all it has started, within seconds. Idempotent."""
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)

    async def close(self, *, at_once: bool) -> None:
        """End it, after it was given a second to leave by itself unless it is to end `at_once`."""
        self.end_input()
        try:
            if not at_once:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LEAVING_S):
                        await self._process.wait()
        finally:
            self.kill()
        try:
            async with asyncio.timeout(_KILLED_S):
                await self._read_out()
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
        finally:
            self._reading_complaints.cancel()

    async def _read_out(self) -> None:
        """Read what nobody wants any more: until its pipes are empty, a process is not taken for ended."""
        await asyncio.wait({self._reading_complaints})
        output = self._process.stdout
        while output is not None and not output.at_eof():
            try:
                await output.read(_READ_BYTES)
            except RuntimeError:
                # somebody else reads it, and does so to its end or stops
                await asyncio.sleep(_STEP_S)

    async def _read_complaints(self) -> None:
        if (stream := self._process.stderr) is None:
            return
        while chunk := await stream.read(_READ_BYTES):
            self._complaints.append(chunk)
            self._complaints_bytes += len(chunk)
            while self._complaints_bytes - len(self._complaints[0]) >= STDERR_MAX_BYTES:
                self._complaints_bytes -= len(self._complaints.popleft())
