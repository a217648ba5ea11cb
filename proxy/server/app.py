"""The composition root: from a configuration to a running application."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiohttp import web

from proxy.access import Keys
from proxy.clock import Clock
from proxy.credentials import Credential, CredentialSource
from proxy.dispatch.dispatcher import Dispatcher, Tools
from proxy.dispatch.journal import Journal
from proxy.dispatch.membership import Membership, fingerprints_of
from proxy.dispatch.objects import ObjectCalls
from proxy.dispatch.ownership import Ownership
from proxy.dispatch.places import Places
from proxy.dispatch.reloading import Reloader
from proxy.dispatch.thinking import ThinkingMemory
from proxy.exchange import Operation
from proxy.log import get_logger
from proxy.model.aliases import AliasRules
from proxy.model.catalog import Catalog
from proxy.model.names import ModelNames
from proxy.pool import Pool
from proxy.server import admin, extras
from proxy.server.context import SERVICES, Services
from proxy.server.gate import Gate
from proxy.server.handlers import chat_handler
from proxy.server.inflight import Inflight
from proxy.server.objects import OBJECT_ROUTES
from proxy.server.reload import reload
from proxy.server.routes import ANTHROPIC, OPENAI_CHAT, Access, Route, RouteTable
from proxy.settings import Settings
from proxy.store.base import Store
from proxy.tasks import finish_all, spawn
from proxy.telemetry.logs import no_request_line
from proxy.telemetry.requests import RequestLine
from proxy.upstreams import UPSTREAMS
from proxy.upstreams.anthropic_objects import AnthropicObjects
from proxy.upstreams.http import WaysOut

_log = get_logger("app")
_V1 = ("", "/hf")
_LAST_WORK_S = 3.0

ROUTES = (
    Route("POST", "/v1/chat/completions", chat_handler(OPENAI_CHAT), Access.CLIENT, OPENAI_CHAT, _V1),
    Route("POST", "/v1/messages", chat_handler(ANTHROPIC), Access.CLIENT, ANTHROPIC, _V1),
    Route(
        "POST",
        "/v1/messages/count_tokens",
        chat_handler(ANTHROPIC, Operation.COUNT_TOKENS),
        Access.CLIENT,
        ANTHROPIC,
        _V1,
    ),
    *OBJECT_ROUTES,
    Route("GET", "/v1/models", extras.models, Access.CLIENT, prefixes=_V1),
    Route("GET", "/v1/models/{model}", extras.model, Access.CLIENT, prefixes=_V1),
    Route("GET", "/health", extras.health, Access.PUBLIC),
    Route("GET", "/live", extras.health, Access.PUBLIC),
    Route("GET", "/ready", extras.ready, Access.PUBLIC),
    Route("POST", "/admin/pool/reload", reload, Access.ADMIN),
    Route("GET", "/admin/pool", admin.pool, Access.ADMIN),
    Route("GET", "/admin/pool/explain", admin.explain, Access.ADMIN),
    Route("POST", "/admin/pool/{alias}/enable", admin.enable, Access.ADMIN),
    Route("POST", "/admin/pool/{alias}/disable", admin.disable, Access.ADMIN),
    Route("POST", "/admin/pool/{alias}/reset", admin.reset, Access.ADMIN),
    Route("GET", "/admin/requests", admin.requests, Access.ADMIN),
    Route("GET", "/admin/requests/{id}", admin.traced_request, Access.ADMIN),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the application is made of.

    Attributes:
        settings: the configuration.
        credentials: those whose kind is built.
        source: where they come from and are looked for again; None where they stay.
        keys: client, admin and secret key.
        catalog: model facts.
        store: where health is kept.
        clock: the time.
        rng: jitter.
        record: takes the line of each request.
        demo: whether the simulated Claude answers.
    """

    settings: Settings
    credentials: tuple[Credential, ...]
    keys: Keys
    catalog: Catalog
    store: Store
    clock: Clock
    rng: random.Random
    source: CredentialSource | None = None
    record: Callable[[RequestLine], None] = no_request_line
    demo: bool = False


async def build_app(parts: Parts) -> web.Application:
    """The application, with its pool restored; its background work starts and ends with it."""
    settings, clock, policy = parts.settings, parts.clock, parts.settings.policy
    pool = Pool(parts.credentials, policy=policy, clock=clock, rng=parts.rng, strategy=settings.strategy)
    journal = Journal(parts.store, clock, fingerprints_of(parts.credentials, parts.keys.secret_key))
    pool.restore(await journal.restored())
    ways_out = WaysOut(policy)
    places = Places(pool, policy, journal)
    upstreams = {kind: make(ways_out, policy) for kind, make in UPSTREAMS.items()}
    membership = Membership(
        pool=pool,
        places=places,
        journal=journal,
        upstreams=upstreams,
        ways_out=ways_out,
        fingerprint_key=parts.keys.secret_key,
    )
    names = ModelNames(parts.catalog, _alias_rules(settings), clock, settings.model_fallbacks)
    tools = Tools(
        pool=pool,
        places=places,
        journal=journal,
        upstreams=upstreams,
        catalog=parts.catalog,
        names=names,
        policy=policy,
        clock=clock,
        rng=parts.rng,
        defaults=settings.defaults,
        memory=ThinkingMemory(clock),
    )
    dispatcher = Dispatcher(tools)
    services = Services(
        settings=settings,
        keys=parts.keys,
        pool=pool,
        dispatcher=dispatcher,
        objects=_object_calls(tools, ways_out, dispatcher),
        ownership=Ownership(parts.store.objects, journal, clock),
        catalog=parts.catalog,
        names=names,
        clock=clock,
        inflight=Inflight(),
        record=parts.record,
        started_s=clock.monotonic_s(),
        reloader=Reloader(parts.source, membership, clock) if parts.source is not None else None,
        places=places,
        common_headers={"server": "carousel", **({"x-carousel-demo": "1"} if parts.demo else {})},
    )
    return _application(services, _Background(places, ways_out, parts.store))


def _object_calls(tools: Tools, ways_out: WaysOut, dispatcher: Dispatcher) -> ObjectCalls:
    return ObjectCalls(
        pool=tools.pool,
        places=tools.places,
        upstream=AnthropicObjects(ways_out),
        policy=tools.policy,
        clock=tools.clock,
        rng=tools.rng,
        budget=dispatcher.budget,
    )


@dataclass(frozen=True, slots=True)
class _Background:
    """What runs beside the requests, and what is left to close after them."""

    places: Places
    ways_out: WaysOut
    store: Store

    async def run(self, services: Services) -> AsyncIterator[None]:
        """Start it, hand over, end it."""
        working = [spawn(self.places.sweep_for_ever(), name="sweep the pool")]
        if not await services.ownership.found_files():
            working.append(spawn(services.ownership.look_for_files(), name="look for a first file"))
        if services.reloader is not None:
            working.append(spawn(services.reloader.run(), name="look after the credentials"))
        services.ready = True
        yield
        services.ready = False
        for task in working:
            task.cancel()
        await finish_all(within_s=_LAST_WORK_S)
        await self.ways_out.close()
        await self.store.close()


def _application(services: Services, background: _Background) -> web.Application:
    gate = Gate(services)
    limit_bytes = services.settings.policy.body_max_bytes
    app = web.Application(middlewares=[gate.middleware], client_max_size=limit_bytes)
    gate.attach(RouteTable(app, ROUTES))
    app[SERVICES] = services
    app.cleanup_ctx.append(lambda _: background.run(services))
    return app


def _alias_rules(settings: Settings) -> AliasRules:
    pairs = settings.aliases.added
    return AliasRules(
        exact=tuple(pair for pair in pairs if not _is_pattern(pair[0])),
        patterns=tuple(pair for pair in pairs if _is_pattern(pair[0])),
        families=settings.aliases.enabled,
    )


def _is_pattern(name: str) -> bool:
    return any(mark in name for mark in "*?[")
