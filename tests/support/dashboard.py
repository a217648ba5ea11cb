"""The dashboard's scripts run by Node on a stand-in for a browser, logged in at a running gateway."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from proxy.server.dashboard.cookie import LOCAL_NAME
from tests.support.gateway import ADMIN_KEY
from tests.support.program import ROOT

_SCRIPTS: Final = ROOT / "proxy" / "server" / "dashboard" / "static"
_STAND_IN: Final = ROOT / "tests" / "support" / "page"
_PATIENCE_S: Final = 30.0


class Card(msgspec.Struct):
    """One credential as it is shown."""

    alias: str
    state: str
    text: str


class Row(msgspec.Struct):
    """One row of the last requests, or what opens below it."""

    hidden: bool
    text: str


class Shown(msgspec.Struct):
    """What the page shows; `complaints` are mistakes of its scripts, and forbidden things they did."""

    connection: str
    notice: str
    totals: str
    cards: list[Card]
    requests: list[Row]
    picture: str
    clients: str
    usage: str
    audit: str
    made: str
    hidden: list[str]
    asks: bool
    left: str | None
    complaints: list[str]

    def state(self, alias: str) -> str:
        """The state of a credential; empty where it is not shown."""
        return next((card.state for card in self.cards if card.alias == alias), "")


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is open."""

    process: asyncio.subprocess.Process

    async def _told(self, order: Mapping[str, object]) -> bytes:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        line = await asyncio.wait_for(self.process.stdout.readline(), _PATIENCE_S)
        assert line, await self.process.communicate()
        return line

    async def shown(self) -> Shown:
        """What it shows now; fails where its scripts made a mistake."""
        found = msgspec.json.decode(await self._told({"do": "show"}), type=Shown)
        assert not found.complaints, found.complaints
        return found

    async def until(self, condition: Callable[[Shown], bool]) -> Shown:
        """Wait until it shows something; fails with what it shows instead."""
        found: Shown | None = None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    found = await self.shown()
                    if condition(found):
                        return found
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"never shown, but {found}") from None

    async def click(self, label: str) -> None:
        """Press the button of this name."""
        assert b"true" in await self._told({"do": "click", "label": label}), f"no button is called {label}"

    async def submit(self, **fields: str) -> None:
        """Ask for a client key."""
        await self._told({"do": "submit", "fields": fields})


async def login_cookie(url: str) -> str:
    """Log in as the administrator. Returns the cookie, as a browser sends it."""
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.post(f"{url}/dashboard/login", json={"key": ADMIN_KEY}, headers={"origin": url}) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return f"{LOCAL_NAME}={answer.cookies[LOCAL_NAME].value}"


def _laid_out(folder: Path) -> Path:
    """The scripts and the stand-in in one folder, as modules."""
    target = folder / "page"
    shutil.copytree(_SCRIPTS, target)
    shutil.copytree(_STAND_IN, target, dirs_exist_ok=True)
    (target / "package.json").write_text('{"type": "module"}')
    return target


@asynccontextmanager
async def opened(folder: Path, url: str) -> AsyncIterator[Page]:
    """Open the dashboard of a gateway, until the end of the block."""
    cookie = await login_cookie(url)
    target = await asyncio.to_thread(_laid_out, folder)
    process = await asyncio.create_subprocess_exec(
        *("node", "page.mjs", url, cookie, "dashboard.html"),
        cwd=target,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        yield Page(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
