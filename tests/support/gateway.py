"""The gateway as users run it: a process of its own, started by ``app.py``, asked over a socket."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

ROOT: Final = Path(__file__).parents[2]
CLIENT_KEY: Final = "test-client-key-0123456789abcdef"
ADMIN_KEY: Final = "test-admin-key-0123456789abcdef"
_LISTENS: Final = re.compile(r"listens on http://[^ ]*:(\d+)")
_START_S: Final = 30.0
_END_S: Final = 10.0


@dataclass(slots=True)
class Gateway:
    """A running server process.

    Attributes:
        url: its address, without a slash at the end.
        process: the process.
        output: what it wrote so far, both streams.
    """

    url: str
    process: asyncio.subprocess.Process
    output: list[str] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        """A client's headers."""
        return {"authorization": f"Bearer {CLIENT_KEY}"}

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end. Returns the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), _END_S)

    async def pool(self) -> list[dict[str, object]]:
        """The credentials as the admin sees them."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/admin/pool", headers={"authorization": f"Bearer {ADMIN_KEY}"}) as answer,
        ):
            found: dict[str, list[dict[str, object]]] = await answer.json()
            return found["credentials"]


@asynccontextmanager
async def gateway(
    data_dir: Path, settings: Mapping[str, str], *, arguments: tuple[str, ...] = ()
) -> AsyncIterator[Gateway]:
    """Start a server with these settings alone, and end it."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONWARNINGS": "error",
        "ADDRESS": "127.0.0.1:0",
        "API_KEY": CLIENT_KEY,
        "ADMIN_KEY": ADMIN_KEY,
        "DATA_DIR": str(data_dir / "data"),
        "LOG_LEVEL": "debug",
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "app.py"),
        *(arguments or ("serve",)),
        cwd=data_dir,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Gateway("", process)
    reader = asyncio.get_running_loop().create_task(_read(running))
    try:
        await asyncio.wait_for(_listening(running), _START_S)
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reader


async def _read(running: Gateway) -> None:
    stream = running.process.stdout
    if stream is None:
        raise RuntimeError("no pipe")
    while line := await stream.readline():
        text = line.decode(errors="replace")
        running.output.append(text)
        if found := _LISTENS.search(text):
            running.url = f"http://127.0.0.1:{found[1]}"


async def _listening(running: Gateway) -> None:
    while not running.url:
        if running.process.returncode is not None:
            raise RuntimeError("".join(running.output))
        await asyncio.sleep(0.01)
