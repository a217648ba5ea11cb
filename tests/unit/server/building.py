"""A server without its process, for the tests of its parts."""

import random
from collections.abc import Iterable
from pathlib import Path

from aiohttp import DummyCookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from proxy.access import Keys
from proxy.access.keys import OwnKey
from proxy.access.rules import in_force
from proxy.dispatch.bookkeeper import Bookkeeper
from proxy.dispatch.conversations import Conversations
from proxy.dispatch.objects import ObjectCalls
from proxy.dispatch.ownership import Ownership
from proxy.dispatch.projects import Projects
from proxy.model.aliases import AliasRules
from proxy.model.names import ModelNames
from proxy.model.pricing import Pricing
from proxy.secrets import Secret
from proxy.server.admission import make_admission
from proxy.server.context import SERVICES, Services
from proxy.server.dashboard.feed import FEED, Feed
from proxy.server.gate import Gate
from proxy.server.inflight import Inflight
from proxy.server.routes import Route, RouteTable
from proxy.settings import Settings, load_settings
from proxy.store.shared import SharedCounters
from proxy.telemetry.logs import no_request_line
from proxy.telemetry.usage import UsageLedger
from proxy.upstreams.anthropic_objects import AnthropicObjects
from proxy.upstreams.http import WaysOut
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY
from tests.unit.dispatch.building import CATALOG, Bench, bench

Client = TestClient[web.Request, web.Application]
AUTHORIZED = {"authorization": f"Bearer {CLIENT_KEY}"}
ADMINISTRATOR = {"authorization": f"Bearer {ADMIN_KEY}"}


def settings(**environment: str) -> Settings:
    """A configuration; reads files, so it is for outside the loop."""
    return load_settings({}, {"ADDRESS": "127.0.0.1:0", **environment}, Path("/nonexistent"))


DEFAULT_SETTINGS = settings()


def keys(*, require_auth: bool = True, configured: Settings = DEFAULT_SETTINGS) -> Keys:
    """One client key and an admin key."""
    client, admin = OwnKey("client key", Secret(CLIENT_KEY)), OwnKey("admin key", Secret(ADMIN_KEY))
    return Keys(
        [client], admin, b"s" * 32, require_auth=require_auth, rules=in_force(None, configured.limits)
    )


def services(
    house: Bench | None = None,
    *,
    require_auth: bool = True,
    common_headers: dict[str, str] | None = None,
    configured: Settings = DEFAULT_SETTINGS,
    counters: SharedCounters | None = None,
) -> Services:
    """What handlers share; `counters` are those of several processes."""
    house = house or bench()
    own = keys(require_auth=require_auth, configured=configured)
    return Services(
        settings=configured,
        keys=own,
        pool=house.pool,
        dispatcher=house.dispatcher,
        objects=ObjectCalls(
            pool=house.pool,
            places=house.places,
            upstream=AnthropicObjects(WaysOut(house.policy)),
            policy=house.policy,
            clock=house.clock,
            rng=random.Random(1),
            budget=house.dispatcher.budget,
        ),
        ownership=Ownership(house.store.objects, house.journal, house.clock),
        conversations=Conversations(house.store.conversations, house.clock, configured.conversations),
        projects=Projects(house.store.projects, house.clock, configured.conversations, Pricing(CATALOG)),
        catalog=CATALOG,
        names=ModelNames(CATALOG, AliasRules(), house.clock),
        clock=house.clock,
        inflight=Inflight(),
        record=no_request_line,
        started_s=house.clock.now_s,
        places=house.places,
        bookkeeper=Bookkeeper(UsageLedger(Pricing(CATALOG), house.clock), house.store, house.clock),
        admission=make_admission(
            own,
            configured.limits,
            house.store.access,
            house.clock,
            Pricing(CATALOG),
            counters,
        ),
        common_headers=common_headers or {},
    )


def application(shared: Services, routes: Iterable[Route]) -> web.Application:
    """Routes behind the gate."""
    gate = Gate(shared)
    app = web.Application(middlewares=[gate.middleware])
    gate.attach(app, RouteTable(app, tuple(routes)))
    app[SERVICES] = shared
    app[FEED] = Feed(shared)
    if (cors := shared.admission.cors) is not None:
        app.on_response_prepare.append(cors.expose)
    return app


def client(shared: Services, routes: Iterable[Route]) -> Client:
    """A client of them, which keeps no cookies by itself; open it with ``async with``."""
    return TestClient(TestServer(application(shared, routes)), cookie_jar=DummyCookieJar())
