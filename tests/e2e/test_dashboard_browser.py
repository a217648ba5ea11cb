"""The dashboard in a real Chromium: as people see it, by keyboard and screen reader too, and as other pages may not."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from proxy.simulator import Step
from tests.support.browser import Scheme, tab
from tests.support.house import Spoken, house
from tests.support.payloads import MARKUP

_AT_ONCE: Final = 8
_LOOKS: Final[tuple[tuple[Scheme, bool], ...]] = (
    ("light", False),
    ("dark", False),
    ("light", True),
    ("dark", True),
)


async def test_a_key_is_watched_going_out_of_use_and_back_and_a_request_is_opened(tmp_path: Path) -> None:
    """The whole way of an operator: log in, see a key cool down and come back, and look why a request took so long."""
    async with house(tmp_path, keys=("k1", "k2")) as running, tab() as seen:
        await seen.log_in(running.server.url)
        card = seen.page.locator('.card[data-alias="api-1"]')
        running.simulator.script("k1", [Step("status", status=429, headers={"retry-after": "3"})])
        answers = [await running.ask(Spoken.MESSAGES) for _ in range(2)]
        await seen.page.locator('.card[data-alias="api-1"][data-state="cooling"]').wait_for()
        assert "rate limit" in await card.inner_text()
        await seen.page.locator('.card[data-alias="api-1"][data-state="trial"]').wait_for()
        for _ in range(2):
            await running.ask(Spoken.MESSAGES)
        await seen.page.locator('.card[data-alias="api-1"][data-state="ready"]').wait_for()
        asked_two = next(each for each in answers if each.headers["x-carousel-attempts"] == "2")
        await seen.page.get_by_role("button", name=asked_two.headers["x-request-id"]).click()
        waterfall = await seen.page.locator(f"#about-{asked_two.headers['x-request-id']}").inner_text()
        assert "rate" in waterfall
        assert "success" in waterfall
        assert not seen.complaints


async def test_a_client_key_is_made_shown_once_and_revoked(tmp_path: Path) -> None:
    """The way of a client key through the page: what it shows opens the server, until it is revoked."""
    async with house(tmp_path, keys=("k1",)) as running, tab() as seen:
        await seen.log_in(running.server.url)
        await seen.page.get_by_label("Name").fill("alice")
        await seen.page.get_by_label("Requests a minute").fill("60")
        await seen.page.get_by_role("button", name="Make a key").click()
        made = await seen.page.get_by_label("The key of alice, shown this once").input_value()
        row = seen.page.get_by_role("row", name="alice")
        await row.get_by_text("60 requests a minute").wait_for()
        assert (await running.ask(Spoken.CHAT, key=made)).status == 200
        await seen.page.get_by_role("button", name="I have it").click()
        assert made not in await seen.page.content()
        await seen.page.get_by_role("button", name="Revoke alice").click()
        await seen.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await row.get_by_text("revoked").wait_for()
        assert (await running.ask(Spoken.CHAT, key=made)).status == 401
        assert not seen.complaints


async def test_a_wrong_key_is_told_at_the_login_and_logging_out_ends_the_login(tmp_path: Path) -> None:
    """Protects the way in and out: nothing but the key opens the page, and a login that was ended opens nothing."""
    async with house(tmp_path, keys=("k1",)) as running, tab() as seen:
        await seen.page.goto(f"{running.server.url}/dashboard")
        await seen.page.get_by_label("Admin key").fill("wrong")
        await seen.page.get_by_role("button", name="Log in").click()
        await seen.page.get_by_text("This is not the admin key.").wait_for()
        await seen.log_in(running.server.url)
        assert await seen.page.evaluate("document.cookie") == ""
        cookies = await seen.page.context.cookies()
        await seen.page.get_by_role("button", name="Log out").click()
        await seen.page.get_by_label("Admin key").wait_for()
        await seen.page.context.add_cookies(
            [{"name": each["name"], "value": each["value"], "url": running.server.url} for each in cookies]
        )
        await seen.page.goto(f"{running.server.url}/dashboard")
        await seen.page.get_by_label("Admin key").wait_for()


@pytest.mark.needs("node", "npm")
@pytest.mark.parametrize(("scheme", "phone"), _LOOKS)
async def test_nothing_keeps_out_who_uses_a_keyboard_or_a_screen_reader(
    tmp_path: Path, scheme: Scheme, *, phone: bool
) -> None:
    """Login and dashboard pass axe in the light, in the dark and on a phone, with a request opened."""
    async with house(tmp_path, keys=("k1", "k2")) as running, tab(scheme, phone=phone) as seen:
        answer = await running.ask(Spoken.CHAT)
        await seen.page.goto(f"{running.server.url}/dashboard/login")
        assert await seen.violations() == []
        await seen.log_in(running.server.url)
        await seen.page.get_by_role("button", name=answer.headers["x-request-id"]).click()
        assert await seen.violations() == []
        width = await seen.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert width <= 0
        assert not seen.complaints


async def test_no_markup_of_a_client_does_anything(tmp_path: Path) -> None:
    """Sixty ways to make a page run something, none of which opens a dialog or is even refused by the policy."""
    gate = asyncio.Semaphore(_AT_ONCE)
    async with house(tmp_path, keys=("k1",)) as running, tab() as seen:
        await seen.log_in(running.server.url)

        async def one(payload: str) -> None:
            async with gate:
                await running.ask(Spoken.MESSAGES, model=payload)

        await asyncio.gather(*[one(payload) for payload in MARKUP])
        await seen.page.locator("#traces > tr").nth(40).wait_for(state="attached")
        assert not seen.complaints
