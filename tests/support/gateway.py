"""The gateway as users run it: a process of its own, started by ``app.py``, asked over a socket."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from tests.support.canaries.deep import visited
from tests.support.canaries.marks import secret
from tests.support.program import Program, started

CLIENT_KEY: Final = secret("client")
ADMIN_KEY: Final = secret("admin")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running server process, and the keys that open it."""

    program: Program
    admin_key: str = field(default=ADMIN_KEY, repr=False)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self.program.url

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process."""
        return self.program.process

    @property
    def output(self) -> list[str]:
        """The lines it wrote so far, both streams."""
        return self.program.lines

    @property
    def headers(self) -> dict[str, str]:
        """A client's headers."""
        return {"authorization": f"Bearer {CLIENT_KEY}"}

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end. Returns the exit code."""
        if self.process.returncode is None and number is not signal.SIGKILL:
            # a kill is for the moment it was meant for
            await visited(self.url, self.admin_key)
        if self.process.returncode is None:
            self.program.send(number)
        return await self.program.ended()

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
    data_dir: Path, settings: Mapping[str, str], *, arguments: tuple[str, ...] = ("serve",)
) -> AsyncIterator[Gateway]:
    """Start a server with these settings and the keys of this module, and end it."""
    environment = {
        "API_KEY": CLIENT_KEY,
        "ADMIN_KEY": ADMIN_KEY,
        "DATA_DIR": str(data_dir / "data"),
        "LOG_LEVEL": "debug",
        **settings,
    }
    async with started(data_dir, *arguments, **environment) as program:
        running = Gateway(program, environment["ADMIN_KEY"])
        yield running
        if program.process.returncode is None:
            await visited(running.url, running.admin_key)
