"""The dashboard's own scripts against a running server: what they show, order, and refuse to become."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from proxy.simulator import Pace, Step
from tests.support.dashboard import Shown, login_cookie, opened
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway
from tests.support.house import MODEL, House, Spoken, house
from tests.support.payloads import MARKUP

pytestmark = pytest.mark.needs("node")

_AT_ONCE = 8
_SHOWN_MAX = 100
_ROWS = 50


async def _asked_until(running: House, condition: asyncio.Event) -> None:
    while not condition.is_set():
        await running.ask(Spoken.MESSAGES)
        await asyncio.sleep(0.1)


async def test_a_credential_is_seen_going_out_of_use_and_coming_back(tmp_path: Path) -> None:
    """The picture of the pool is alive: ready, cooling with a countdown, and ready again."""
    async with house(tmp_path, keys=("k1", "k2")) as running, opened(tmp_path, running.server.url) as page:
        await page.until(lambda shown: [card.state for card in shown.cards] == ["ready", "ready"])
        running.simulator.script("k1", [Step("status", status=429, headers={"retry-after": "3"})])
        await running.ask(Spoken.MESSAGES)
        await running.ask(Spoken.MESSAGES)
        found = await page.until(lambda shown: shown.state("api-1") == "cooling")
        assert "rate limit" in found.cards[0].text
        assert " s" in found.cards[0].text.partition("rate limit")[2]
        assert "1 ready, 1 cooling" in found.picture or "1 cooling, 1 ready" in found.picture
        back = asyncio.Event()
        asking = asyncio.gather(_asked_until(running, back))
        found = await page.until(lambda shown: shown.state("api-1") == "ready")
        back.set()
        await asking
    assert found.connection == "Live"
    assert "2 ready" in found.picture


async def test_what_is_in_flight_is_seen_while_it_is(tmp_path: Path) -> None:
    """The carousel turns with the requests: a long answer is seen on its credential until its end."""
    async with house(tmp_path, keys=("k1",)) as running, opened(tmp_path, running.server.url) as page:
        running.simulator.script("k1", [Step(pace=Pace(tokens_per_s=10.0, events=30))])
        answer = asyncio.gather(running.ask(Spoken.CHAT, stream=True))
        await page.until(lambda shown: "1 requests in flight" in shown.picture)
        await answer
        found = await page.until(lambda shown: "0 requests in flight" in shown.picture)
    assert found.cards[0].state == "ready"


async def test_a_request_opens_into_the_attempts_that_were_made_for_it(tmp_path: Path) -> None:
    """Why a request took so long is one press away: who was asked, what came of it, and when."""
    async with house(tmp_path, keys=("k1", "k2")) as running, opened(tmp_path, running.server.url) as page:
        running.simulator.script("k1", [Step("status", status=500)])
        answer = await running.ask(Spoken.MESSAGES)
        name = answer.headers["x-request-id"]
        found = await page.until(lambda shown: any(name in row.text for row in shown.requests))
        assert [row.hidden for row in found.requests] == [False, True]
        assert MODEL in found.requests[0].text
        await page.click(name)
        found = await page.shown()
        assert [row.hidden for row in found.requests] == [False, False]
        waterfall = found.requests[1].text
        assert f"Upstream calls for {name}" in waterfall
        assert waterfall.index("api-1server500") < waterfall.index("api-2success200")


async def test_orders_are_asked_about_carried_out_and_written_down(tmp_path: Path) -> None:
    """An operator with a phone can take a key out and bring it back, and is asked before it hurts."""
    async with house(tmp_path, keys=("k1", "k2")) as running, opened(tmp_path, running.server.url) as page:
        await page.until(lambda shown: len(shown.cards) == 2)
        await page.click("Disable api-1")
        assert (await page.shown()).asks
        await page.click("Cancel")
        assert (await running.credentials())["api-1"].state.state == "ready"
        await page.click("Disable api-1")
        await page.click("Disable")
        found = await page.until(lambda shown: shown.state("api-1") == "disabled")
        assert "by hand" in found.cards[0].text
        await page.click("Enable api-1")
        await page.until(lambda shown: shown.state("api-1") == "ready")
        await page.click("Read the credentials again")
        found = await page.until(lambda shown: "read again" in shown.notice)
        assert found.notice == "Credentials read again; added: none; changed: none; removed: none."


async def test_a_client_key_is_made_shown_once_and_revoked(tmp_path: Path) -> None:
    """Giving somebody a key takes a name; the key is shown to be copied, works, and ends when it is revoked."""
    async with house(tmp_path, keys=("k1",)) as running, opened(tmp_path, running.server.url) as page:
        await page.until(lambda shown: shown.clients == "None was made yet.")
        await page.submit(
            name="alice", period="day", budget_usd="2.5", models="claude-sonnet-*, claude-haiku-*"
        )
        found = await page.until(lambda shown: "alice" in shown.clients)
        assert "models claude-sonnet-*, claude-haiku-*; $2.5 for each day" in found.clients
        assert found.made.startswith("sk-carousel-")
        assert (await running.ask(Spoken.CHAT, key=found.made)).status == 200
        await page.click("I have it")
        assert (await page.shown()).made == ""
        await page.submit(name="alice", period="day")
        await page.until(lambda shown: "alice" in shown.notice)
        await page.click("Revoke alice")
        await page.click("Revoke")
        await page.until(lambda shown: "revoked" in shown.clients)
        assert (await running.ask(Spoken.CHAT, key=found.made)).status == 401


async def test_what_was_used_is_shown_by_model_and_client(tmp_path: Path) -> None:
    """Tokens, cost and the cache's share are those of the books."""
    usage: dict[str, object] = {"input_tokens": 100, "output_tokens": 50, "cache_read_input_tokens": 300}
    async with house(tmp_path, keys=("k1",)) as running:
        running.simulator.script("k1", then=Step(usage=usage))
        await running.ask(Spoken.MESSAGES)
        async with opened(tmp_path, running.server.url) as page:
            found = await page.until(lambda shown: MODEL in shown.usage and "requests" in shown.totals)
    assert "By model" in found.usage
    assert "env-1" in found.usage
    assert "75 %" in found.usage


async def test_who_logs_out_or_whose_server_stops_is_told(tmp_path: Path) -> None:
    """A page that shows old states says so, and one whose login is over leads to a new one."""
    async with house(tmp_path, keys=("k1",)) as running:
        async with opened(tmp_path / "a", running.server.url) as page:
            await page.until(lambda shown: shown.connection == "Live")
            await page.click("Log out")
            await page.until(lambda shown: shown.left == "dashboard/login")
        async with opened(tmp_path / "b", running.server.url) as page:
            await page.until(lambda shown: shown.connection == "Live")
            assert isinstance(running.server, Gateway)
            assert await running.server.stop() == 0
            await page.until(lambda shown: shown.connection.startswith("Not connected"))


def _shows(shown: Shown, payloads: tuple[str, ...]) -> bool:
    rows = "".join(row.text for row in shown.requests)
    return all(payload[:_SHOWN_MAX] in rows for payload in payloads)


@pytest.mark.parametrize("start", range(0, len(MARKUP), _ROWS // 2))
async def test_markup_in_a_models_name_is_shown_as_the_text_it_is(tmp_path: Path, start: int) -> None:
    """Nothing a client says becomes an element, a handler or a link of the operator's page."""
    payloads = MARKUP[start : start + _ROWS // 2]
    gate = asyncio.Semaphore(_AT_ONCE)
    async with house(tmp_path, keys=("k1",)) as running, opened(tmp_path, running.server.url) as page:

        async def one(payload: str) -> None:
            async with gate:
                answer = await running.ask(Spoken.MESSAGES, model=payload)
                assert answer.status in {404, 400}

        await asyncio.gather(*[one(payload) for payload in payloads])
        await page.until(lambda shown: _shows(shown, payloads))


@pytest.mark.parametrize("field", ["name", "models"])
async def test_markup_in_a_client_key_is_refused_or_shown_as_text(tmp_path: Path, field: str) -> None:
    """Names of keys are kept for ever and shown in several places: markup is refused where they are made."""
    async with house(tmp_path, keys=("k1",)) as running, opened(tmp_path, running.server.url) as page:
        await page.until(lambda shown: shown.clients == "None was made yet.")
        for number, payload in enumerate(MARKUP):
            await page.submit(**{"name": f"key-{number}", "period": "day", field: payload})
        found = await page.shown()
        assert "<script" not in found.clients or field == "models"


async def test_the_key_of_the_administrator_is_nowhere_on_the_page(tmp_path: Path) -> None:
    """The key is traded for a cookie at once: neither page, feed nor configuration holds it, or any other secret."""
    async with house(tmp_path, keys=("secret-upstream-key",)) as running:
        await running.ask(Spoken.CHAT)
        async with opened(tmp_path, running.server.url) as page:
            found = await page.until(lambda shown: bool(shown.requests))
    assert ADMIN_KEY not in repr(found)
    assert CLIENT_KEY not in repr(found)
    assert "secret-upstream-key" not in repr(found)


async def test_a_page_of_another_site_can_neither_read_nor_order(tmp_path: Path) -> None:
    """A browser that is logged in here opens other pages too: what those send is refused, read or write."""
    async with house(tmp_path, {"CORS_ORIGINS": "*"}, keys=("k1",)) as running:
        url = running.server.url
        sent = {
            "cookie": await login_cookie(url),
            "origin": "http://localhost:3000",
            "sec-fetch-site": "same-site",
        }
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            for path in ("admin/pool", "admin/keys", "dashboard/config", "dashboard/events", "metrics"):
                async with session.get(f"{url}/{path}", headers=sent) as answer:
                    assert answer.status == 401
                    assert "access-control-allow-origin" not in answer.headers
            for path in ("admin/pool/api-1/disable", "admin/pool/reload", "admin/keys", "dashboard/logout"):
                async with session.post(f"{url}/{path}", headers=sent, data=b"{}") as answer:
                    assert answer.status in {401, 403}
        assert (await running.credentials())["api-1"].state.state == "ready"
