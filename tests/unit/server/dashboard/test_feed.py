"""What changes is told once a second, to as many as there may be, until it is over."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from proxy.access.logins import LOGIN_S
from proxy.server.app import ROUTES
from proxy.server.context import Services
from proxy.server.dashboard.feed import EVERY_S, FEED, WATCHERS_MAX, Feed, snapshot
from tests.unit.dispatch.building import Bench, bench, body, credential, whole
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, application, services
from tests.unit.server.dashboard.building import browser

_EVENTS = "/dashboard/events"


class _Shown(msgspec.Struct):
    """The part of a snapshot these tests look at."""

    now_unix_ms: int
    credentials: list[dict[str, object]]
    totals: dict[str, int | None]
    points: list[dict[str, object]]
    in_flight: int
    waiting: int
    panic: bool


class _Steps:
    """Sleeps of a feed: none ends before it is let go on, and then time has passed."""

    def __init__(self, house: Bench) -> None:
        self._house = house
        self._may = asyncio.Semaphore(0)
        self.asked_s: list[float] = []

    async def __call__(self, delay: float) -> None:
        self.asked_s.append(delay)
        await self._may.acquire()

    def step(self, then: Callable[[], None] = lambda: None) -> None:
        """Let a second pass, and `then` happen at its end."""
        self._house.clock.advance(EVERY_S)
        then()
        self._may.release()


@pytest.fixture
def house() -> Bench:
    """Everything behind the server."""
    members = [credential("api-1", organization="org-0123456789"), credential("api-2")]
    return bench(*[whole()] * 5, credentials=members)


@pytest.fixture
def shared(house: Bench) -> Services:
    """What handlers share."""
    return services(house)


@pytest.fixture
def steps(house: Bench) -> _Steps:
    """The feed's sleeps."""
    return _Steps(house)


@pytest.fixture
async def asked(shared: Services, steps: _Steps) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A client of all routes, whose feed sleeps by `steps`."""
    app = application(shared, ROUTES)
    app[FEED] = Feed(shared, steps)
    async with TestClient(TestServer(app)) as found:
        yield found


async def _next(answer: ClientResponse) -> _Shown:
    frame = await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 10)
    kind, data = frame.decode().strip().split("\n")
    assert kind == "event: snapshot"
    return msgspec.json.decode(data.removeprefix("data: "), type=_Shown)


async def test_every_second_brings_how_things_are_then(
    asked: TestClient[web.Request, web.Application], steps: _Steps, house: Bench
) -> None:
    """Protects the page: what it shows is a second old at most."""
    async with asked.get(_EVENTS, headers=ADMINISTRATOR) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        first = await _next(answer)
        assert [row["name"] for row in first.credentials] == ["api-1", "api-2"]
        assert first.totals == {"requests": 0, "errors": 0, "tokens": 0, "cost_micro_usd": 0}
        await asked.post("/v1/messages", data=body(), headers=AUTHORIZED)
        steps.step()
        second = await _next(answer)
    assert second.now_unix_ms == first.now_unix_ms + 1000
    assert second.totals["requests"] == 1
    assert second.points[-1]["requests"] == 1
    assert set(steps.asked_s) == {EVERY_S}


async def test_no_more_is_told_of_an_organization_than_elsewhere(shared: Services) -> None:
    """Protects accounts from being named in full on a page that is shown around."""
    text = msgspec.json.encode(snapshot(shared)).decode()
    assert "org-0123" in text
    assert "org-0123456789" not in text


@pytest.mark.parametrize("end", ["draining", "login over", "logged out"])
async def test_it_ends_when_it_has_to(
    asked: TestClient[web.Request, web.Application], steps: _Steps, shared: Services, house: Bench, end: str
) -> None:
    """Protects a stop from waiting for open dashboards, and what is shown from those whose login is over."""
    page = await browser(asked)
    found = shared.admission.logins.recognize(page.cookie.partition("=")[2])
    assert found is not None

    def drain() -> None:
        shared.inflight.draining = True

    ends = {
        "draining": drain,
        "login over": lambda: house.clock.jump(LOGIN_S),
        "logged out": lambda: shared.admission.logins.end(found),
    }
    async with asked.get(_EVENTS, headers={"cookie": page.cookie}) as answer:
        await _next(answer)
        steps.step(ends[end])
        assert await asyncio.wait_for(answer.content.read(), 10) == b""


async def test_a_place_is_free_again_when_its_page_has_left(
    asked: TestClient[web.Request, web.Application], shared: Services
) -> None:
    """Protects the server from being busy with dashboards, and dashboards from places that leak."""
    opened = [await asked.get(_EVENTS, headers=ADMINISTRATOR) for _ in range(WATCHERS_MAX)]
    refused = await asked.get(_EVENTS, headers=ADMINISTRATOR)
    assert refused.status == 503
    assert (await refused.json())["error"]["code"] == "too_many_dashboards"
    for each in opened:
        each.close()
    async with asyncio.timeout(10):
        while (again := await asked.get(_EVENTS, headers=ADMINISTRATOR)).status == 503:
            again.close()
    assert again.status == 200
    again.close()


async def test_who_watches_at_the_same_moment_is_told_the_same(
    asked: TestClient[web.Request, web.Application], shared: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the loop: twenty dashboards cost as much work as one."""
    made = 0

    def counted(services: Services) -> object:
        nonlocal made
        made += 1
        return snapshot(services)

    monkeypatch.setattr("proxy.server.dashboard.feed.snapshot", counted)
    opened = [await asked.get(_EVENTS, headers=ADMINISTRATOR) for _ in range(5)]
    assert len({(await _next(each)).now_unix_ms for each in opened}) == 1
    assert made == 1
    for each in opened:
        each.close()
