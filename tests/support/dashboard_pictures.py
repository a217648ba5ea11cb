"""Makes the pictures of the dashboard in ``docs/images``: ``python -m tests.support.dashboard_pictures``."""

import asyncio
import random
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from proxy.simulator import Step
from tests.support.browser import Tab, tab
from tests.support.house import House, Spoken, house
from tests.support.program import ROOT

FOLDER: Final = ROOT / "docs" / "images"
_MODELS: Final = ("claude-sonnet-5-5", "claude-sonnet-5-5", "claude-haiku-4-5")
_NAMES: Final = ("work", "team", "spare")
_ASKED_S: Final = 25.0
_AT_ONCE: Final = 3
_SETTLES_S: Final = 2.0


def _credentials(_: str) -> Iterable[Mapping[str, object]]:
    for name in _NAMES:
        yield {"name": name, "key": _key(name)}


def _key(name: str) -> str:
    """A key that is not its name, which would be taken for the secret it is."""
    return f"key-of-{name}"


async def _ask(running: House, chance: random.Random) -> None:
    """Ask as several people do, one question after the other."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + _ASKED_S
    while loop.time() < until_s:
        await running.ask(
            chance.choice(list(Spoken)),
            stream=chance.random() < 0.7,
            model=chance.choice(_MODELS),
            text="Tell me a story.",
        )
        await asyncio.sleep(chance.random() / 2)


async def _walked(running: House) -> str:
    """Ask until a request had to go on to another key. Returns its id."""
    while True:
        running.simulator.script(_key("work"), [Step("status", status=503)])
        answer = await running.ask(Spoken.MESSAGES, stream=True)
        if answer.headers["x-carousel-attempts"] == "2":
            return answer.headers["x-request-id"]


async def _taken(seen: Tab, name: str) -> None:
    await asyncio.sleep(_SETTLES_S)
    await seen.page.screenshot(path=FOLDER / name)


async def main() -> None:
    """Let a gateway work for a while, one of its keys being at its limit, and take its pictures."""
    await asyncio.to_thread(FOLDER.mkdir, exist_ok=True)
    chance = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        async with house(Path(folder), credentials=_credentials) as running:
            limited = Step("status", status=429, headers={"retry-after": "240"})
            running.simulator.script(_key("spare"), [limited])
            await asyncio.gather(*[_ask(running, chance) for _ in range(_AT_ONCE)])
            walked = await _walked(running)
            for name, phone in (("dashboard.png", False), ("dashboard-phone.png", True)):
                async with tab(phone=phone) as seen:
                    await seen.log_in(running.server.url)
                    await _taken(seen, name)
            async with tab("dark") as seen:
                await seen.log_in(running.server.url)
                await seen.page.get_by_role("button", name=walked).click()
                await seen.page.locator("#requests").evaluate("each => each.scrollIntoView()")
                await _taken(seen, "dashboard-request.png")


if __name__ == "__main__":
    asyncio.run(main())
