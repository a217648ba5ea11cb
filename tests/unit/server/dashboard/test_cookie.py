"""A login opens what the admin key opens, to the dashboard's own page alone."""

from collections.abc import AsyncIterator

import pytest

from proxy.server.app import ROUTES
from proxy.server.context import Services
from proxy.server.dashboard.cookie import LOCAL_NAME, NAME
from proxy.server.routes import Access
from tests.support.gateway import CLIENT_KEY
from tests.unit.server.building import client, services
from tests.unit.server.dashboard.building import Browser, browser, log_in, origin_of

_ORDER = "/admin/pool/api-1/disable"


@pytest.fixture
def shared() -> Services:
    """What handlers share."""
    return services()


@pytest.fixture
async def page(shared: Services) -> AsyncIterator[Browser]:
    """A logged in browser."""
    async with client(shared, ROUTES) as asked:
        yield await browser(asked)


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(shared: Services) -> None:
    """Protects the login: each of these words keeps one way to steal or to borrow it shut."""
    async with client(shared, ROUTES) as asked:
        answer = await log_in(asked, host="gateway.example", origin="https://gateway.example")
    assert answer.status == 200
    (cookie,) = answer.headers.getall("set-cookie")
    name, *words = cookie.split("; ")
    assert name.startswith("__Host-carousel=")
    assert {"HttpOnly", "Secure", "SameSite=Strict", "Path=/"} <= set(words)
    assert not any(word.startswith("Domain") for word in words)
    assert len(name) == len("__Host-carousel=") + 75


async def test_either_cookie_opens(shared: Services) -> None:
    """Protects those behind HTTPS and those on the machine itself alike."""
    async with client(shared, ROUTES) as asked:
        encrypted = await log_in(asked, host="gateway.example", origin="https://gateway.example")
        for name, answer in ((NAME, encrypted), (LOCAL_NAME, await log_in(asked))):
            headers = {"cookie": f"{name}={answer.cookies[name].value}"}
            assert (await asked.get("/admin/pool", headers=headers)).status == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.8.8.8", "[::1]", "[::1]:8080"]
)
async def test_on_the_machine_itself_every_browser_keeps_the_cookie(shared: Services, host: str) -> None:
    """Protects the first start, which has no HTTPS: Chromium takes no prefixed name there, Safari nothing Secure."""
    async with client(shared, ROUTES) as asked:
        (cookie,) = (await log_in(asked, host=host, origin=f"http://{host}")).headers.getall("set-cookie")
    name, *words = cookie.split("; ")
    assert name.startswith("carousel-login=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(words)
    assert "Secure" not in words


@pytest.mark.parametrize(
    "host",
    [
        "192.168.1.5:8080",
        "gateway.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[::1",
        "[fe80::1]",
        "x]",
    ],
)
async def test_over_plain_http_nobody_logs_in_from_elsewhere(shared: Services, host: str) -> None:
    """Protects key and login from those who read along on the way."""
    async with client(shared, ROUTES) as asked:
        answer = await log_in(asked, host=host, origin=f"http://{host}")
        assert answer.status == 403
        assert "set-cookie" not in answer.headers
        assert (await answer.json())["error"]["code"] == "https_needed"


@pytest.mark.parametrize("path", ["/admin/pool", "/admin/keys", "/metrics", "/dashboard/config", "/stats"])
async def test_the_cookie_opens_what_the_admin_key_opens(page: Browser, path: str) -> None:
    """Protects the page from needing the key itself."""
    assert (await page.client.get(path, headers={"cookie": page.cookie})).status == 200


async def test_the_cookie_shows_the_numbers_of_all_clients(page: Browser, shared: Services) -> None:
    """Protects the page's sums from being those of nobody: who is logged in is no client."""
    assert (await page.client.get("/stats", headers={"cookie": page.cookie})).status == 200
    found = await page.client.get(
        "/stats", headers={"authorization": f"Bearer {CLIENT_KEY}", "cookie": page.cookie}
    )
    assert found.status == 200


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES if route.access is Access.CLIENT}))
async def test_the_cookie_opens_no_model(page: Browser, path: str) -> None:
    """Protects the pool from pages that would have it answer on the administrator's behalf."""
    for method in ("GET", "POST"):
        answer = await page.client.request(method, path, headers=page.headers)
        assert answer.status in {401, 405}, method


async def test_an_order_of_the_page_itself_is_carried_out(page: Browser) -> None:
    """Protects the buttons."""
    answer = await page.client.post(_ORDER, headers=page.headers)
    assert answer.status == 200, await answer.text()


@pytest.mark.parametrize(
    "changes",
    [
        {"x-csrf-token": None},
        {"x-csrf-token": ""},
        {"x-csrf-token": "0" * 64},
        {"origin": None},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://[::1"},
        {"origin": ""},
    ],
    ids=str,
)
async def test_an_order_that_does_not_prove_where_it_comes_from_is_refused(
    page: Browser, shared: Services, changes: dict[str, str | None]
) -> None:
    """Protects the pool from other pages of a browser that is logged in here."""
    headers = {name: value for name, value in {**page.headers, **changes}.items() if value is not None}
    answer = await page.client.post(_ORDER, headers=headers)
    assert answer.status == 403, await answer.text()
    assert all(str(view.state.state) == "ready" for view in shared.pool.snapshot())


async def test_a_page_on_another_port_of_this_machine_is_another_site(page: Browser) -> None:
    """Protects against what else runs on the same machine: browsers count it to the same site, and send the cookie."""
    for site, status in (("same-origin", 200), ("none", 200), ("same-site", 401), ("cross-site", 401)):
        headers = {"cookie": page.cookie, "sec-fetch-site": site}
        assert (await page.client.get("/admin/pool", headers=headers)).status == status, site


@pytest.mark.parametrize(
    "cookie",
    [
        "__Host-carousel=",
        "__Host-carousel=AAAA",
        "carousel=x",
        "__Host-carousel=" + "A" * 75,
        "__Host-carousel=" + "A" * 9000,
    ],
    ids=lambda cookie: f"{cookie[:20]} of {len(cookie)}",
)
async def test_a_cookie_nobody_made_opens_nothing(page: Browser, cookie: str) -> None:
    """Protects everything below the admin key."""
    assert (await page.client.get("/admin/pool", headers={"cookie": cookie})).status in {400, 401}


async def test_a_wrong_key_beside_a_login_is_a_wrong_key(page: Browser) -> None:
    """Protects against a key being tried under cover of a cookie."""
    headers = {"cookie": page.cookie, "authorization": "Bearer wrong"}
    assert (await page.client.get("/admin/pool", headers=headers)).status == 401


async def test_who_has_logged_out_has_to_log_in_again(page: Browser) -> None:
    """Protects a browser others use too: its cookie is taken back, and worth nothing where it was copied."""
    answer = await page.client.post("/dashboard/logout", headers=page.headers)
    assert answer.status == 200
    assert [cookie.count("Max-Age=0") for cookie in answer.headers.getall("set-cookie")] == [1, 1]
    assert (await page.client.get("/admin/pool", headers={"cookie": page.cookie})).status == 401


async def test_a_login_that_comes_from_another_page_is_refused(shared: Services) -> None:
    """Protects an administrator from being logged in by somebody else's page."""
    async with client(shared, ROUTES) as asked:
        assert (await log_in(asked, origin="https://evil.example")).status == 403
        assert (await log_in(asked, origin=origin_of(asked).upper())).status == 200
