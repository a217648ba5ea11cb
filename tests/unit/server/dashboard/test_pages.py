"""The way in, the way out, and what the page is told."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from proxy import __version__
from proxy.access.logins import LOGIN_S
from proxy.server.app import ROUTES
from proxy.server.context import Services
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY
from tests.unit.dispatch.building import Bench, bench, body, whole
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, Client, client, services
from tests.unit.server.dashboard.building import Configuration, browser, log_in, origin_of
from tests.unit.telemetry.recording import RecordedLog


@pytest.fixture
def house() -> Bench:
    """Everything behind the server."""
    return bench(*[whole()] * 5)


@pytest.fixture
def shared(house: Bench) -> Services:
    """What handlers share."""
    return services(house)


@pytest.fixture
async def asked(shared: Services) -> AsyncIterator[Client]:
    """A client of all routes."""
    async with client(shared, ROUTES) as found:
        yield found


async def test_without_a_login_the_page_leads_to_it(asked: Client) -> None:
    """Protects whoever types the address from a bare refusal; the way holds below another path of a proxy too."""
    answer = await asked.get("/dashboard", allow_redirects=False)
    assert (answer.status, answer.headers["location"]) == (303, "dashboard/login")
    assert b"html" not in await answer.read()
    followed = await asked.get("/dashboard")
    assert (followed.status, followed.url.path) == (200, "/dashboard/login")


@pytest.mark.parametrize("headers", [ADMINISTRATOR, {"x-api-key": ADMIN_KEY}], ids=str)
async def test_the_admin_key_opens_the_page_without_a_cookie(asked: Client, headers: dict[str, str]) -> None:
    """Protects what tools see: the key opens everything its login opens."""
    answer = await asked.get("/dashboard", headers=headers)
    assert answer.status == 200
    assert "<title>Carousel</title>" in await answer.text()


@pytest.mark.parametrize("headers", [AUTHORIZED, {"x-api-key": "wrong"}], ids=str)
async def test_any_other_key_does_not(asked: Client, headers: dict[str, str]) -> None:
    """Protects the admin key from being told apart from others by what the page answers."""
    assert (await asked.get("/dashboard", headers=headers, allow_redirects=False)).status == 401


async def test_a_login_opens_the_page(asked: Client) -> None:
    """Protects the way from the login to the page."""
    page = await browser(asked)
    answer = await asked.get("/dashboard", headers={"cookie": page.cookie}, allow_redirects=False)
    assert answer.status == 200


@pytest.mark.parametrize("key", ["", "wrong", CLIENT_KEY, ADMIN_KEY[:-1], "x" * 5000, "\udcff", "\x00"])
async def test_a_wrong_key_logs_nobody_in(asked: Client, key: str) -> None:
    """Protects the dashboard: neither a client's key nor a part of the right one opens it, and nothing is a 500."""
    answer = await asked.post(
        "/dashboard/login",
        data=b'{"key": "' + key.encode("utf-8", "surrogatepass") + b'"}',
        headers={"origin": origin_of(asked)},
    )
    assert answer.status in {400, 401}
    assert "set-cookie" not in answer.headers


async def test_a_login_is_small(asked: Client) -> None:
    """Protects memory from callers who have shown no key: what they may send is no model's request."""
    answer = await asked.post("/dashboard/login", data=b" " * 65_537, headers={"origin": origin_of(asked)})
    assert answer.status == 413


@pytest.mark.parametrize("sent", [b"", b"[]", b"{}", b'{"key": 1}', b'{"key": "a", "more": 1}', b"key=abc"])
async def test_what_is_no_login_is_refused_by_name(asked: Client, sent: bytes) -> None:
    """Protects against a mistake of ours where somebody sends anything at all."""
    answer = await asked.post("/dashboard/login", data=sent, headers={"origin": origin_of(asked)})
    assert answer.status == 400
    assert (await answer.json())["error"]["type"] == "invalid_request_error"


async def test_guessing_at_the_login_is_throttled_and_the_right_key_never_is(asked: Client) -> None:
    """Protects the admin key from being tried, and the administrator from being locked out by somebody who does."""
    statuses = [(await log_in(asked, f"wrong-{number}")).status for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert (await log_in(asked)).status == 200


async def test_a_login_is_a_line_in_the_log_without_the_key(
    asked: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the record of who came in, and the key from it."""
    log = RecordedLog()
    monkeypatch.setattr("proxy.server.dashboard.pages._log", log)
    await log_in(asked)
    assert [set(fields) for fields in log.of("administrator logged in")] == [{"remote"}]
    assert ADMIN_KEY not in repr(log.lines)


async def test_the_page_is_told_what_it_can_show(asked: Client, house: Bench) -> None:
    """Protects the page from showing what this server does not have."""
    page = await browser(asked)
    answer = await asked.get("/dashboard/config", headers={"cookie": page.cookie})
    found = msgspec.json.decode(await answer.read(), type=Configuration)
    assert (found.version, found.demo, found.token) == (__version__, False, page.token)
    assert found.until_unix_ms == house.clock.wall_ms + LOGIN_S * 1000
    assert found.features == {"reload": False, "keys": True, "usage": True, "audit": True}


async def test_a_tool_with_the_key_has_no_token(asked: Client) -> None:
    """Protects the token from having a second source."""
    answer = await asked.get("/dashboard/config", headers=ADMINISTRATOR)
    assert (await answer.json())["token"] is None


async def test_the_last_hour_is_told_with_what_has_just_ended(asked: Client) -> None:
    """Protects the charts from being one batch behind."""
    assert (await asked.post("/v1/messages", data=body(), headers=AUTHORIZED)).status == 200
    answer = await asked.get("/dashboard/history", headers=ADMINISTRATOR)
    points = (await answer.json())["points"]
    assert (len(points), points[-1]["requests"], points[-1]["errors"]) == (360, 1, 0)
