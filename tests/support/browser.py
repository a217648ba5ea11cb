"""A real browser: the system's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tests.support.gateway import ADMIN_KEY
from tests.support.lacking import lacks
from tests.support.node import node_programs

if TYPE_CHECKING:
    from playwright.async_api import Page

_ARGUMENTS: Final = ("--no-sandbox", "--disable-dev-shm-usage")
_WIDE: Final = (1280, 900)
_PHONE: Final = (390, 844)
_PATIENCE_MS: Final = 20_000

Scheme = Literal["light", "dark"]


@dataclass(slots=True)
class Tab:
    """A tab of the browser.

    Attributes:
        page: to be driven.
        complaints: errors of scripts, refusals of the page's policy, and dialogs.
    """

    page: "Page"
    complaints: list[str] = field(default_factory=list)

    async def log_in(self, url: str) -> None:
        """Open the dashboard as a person does, by way of the login."""
        await self.page.goto(f"{url}/dashboard")
        await self.page.get_by_label("Admin key").fill(ADMIN_KEY)
        await self.page.get_by_role("button", name="Log in").click()
        await self.page.locator(".card").first.wait_for()

    async def violations(self) -> list[str]:
        """What axe-core finds wrong for people with a keyboard or a screen reader."""
        source = (node_programs("node") / "node_modules" / "axe-core" / "axe.min.js").read_text()
        await self.page.evaluate(source)
        found: list[str] = await self.page.evaluate(
            "async () => (await axe.run()).violations.map(each => `${each.id}: ${each.nodes.map(n => n.target)}`)"
        )
        return found


@asynccontextmanager
async def tab(scheme: Scheme = "light", *, phone: bool = False) -> AsyncIterator[Tab]:
    """A new browser with one tab. Skips the test, or fails it under ``REQUIRE_ALL=1``, where there is none."""
    try:
        from playwright.async_api import async_playwright  # noqa: PLC0415 - may be missing
    except ImportError:
        lacks("not installed here: playwright")
    program = shutil.which("chromium")
    if program is None:
        lacks("not installed here: chromium")
    width, height = _PHONE if phone else _WIDE
    async with async_playwright() as started:
        browser = await started.chromium.launch(
            executable_path=program, args=list(_ARGUMENTS), env={"PATH": os.environ["PATH"]}
        )
        context = await browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": height}, reduced_motion="reduce"
        )
        page = await context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        opened = Tab(page)
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on("console", lambda line: opened.complaints.append(line.text) if line.type == "error" else None)
        page.on("dialog", lambda dialog: opened.complaints.append(dialog.message))
        try:
            yield opened
        finally:
            await browser.close()
