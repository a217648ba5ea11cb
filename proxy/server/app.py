"""The composition root: from a configuration to a running application."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import uuid4

from aiohttp import web

from proxy.access import Keys
from proxy.clock import Clock
from proxy.credentials import Credential, Kind
from proxy.dialects.claude_web import PromptOptions
from proxy.dispatch.dispatcher import Dispatcher, Tools
from proxy.dispatch.journal import Journal
from proxy.dispatch.places import Places
from proxy.exchange import Operation
from proxy.log import get_logger
from proxy.model.aliases import AliasRules
from proxy.model.catalog import Catalog
from proxy.pool import Pool
from proxy.server import extras
from proxy.server.context import SERVICES, Services
from proxy.server.gate import Gate
from proxy.server.handlers import chat_handler
from proxy.server.inflight import Inflight
from proxy.server.routes import ANTHROPIC, OPENAI_CHAT, Access, Route, RouteTable
from proxy.settings import Settings
from proxy.store.base import Store
from proxy.tasks import finish_all, spawn
from proxy.telemetry.logs import no_request_line
from proxy.telemetry.requests import RequestLine
from proxy.upstreams import UPSTREAMS
from proxy.upstreams.base import Upstream
from proxy.upstreams.claude_web.upstream import ClaudeWeb, WebMeans, WebOptions
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
    Route("GET", "/v1/models", extras.models, Access.CLIENT, prefixes=_V1),
    Route("GET", "/v1/models/{model}", extras.model, Access.CLIENT, prefixes=_V1),
    Route("GET", "/health", extras.health, Access.PUBLIC),
    Route("GET", "/live", extras.health, Access.PUBLIC),
    Route("GET", "/ready", extras.ready, Access.PUBLIC),
    Route("GET", "/admin/pool", extras.pool, Access.ADMIN),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the application is made of.

    Attributes:
        settings: the configuration.
        credentials: those whose kind is built.
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
    record: Callable[[RequestLine], None] = no_request_line
    demo: bool = False


async def build_app(parts: Parts) -> web.Application:
    """The application, with its pool restored; its background work starts and ends with it."""
    settings, clock = parts.settings, parts.clock
    policy = settings.policy
    pool = Pool(parts.credentials, policy=policy, clock=clock, rng=parts.rng)
    fingerprints = {item.name: item.fingerprint(parts.keys.secret_key) for item in parts.credentials}
    journal = Journal(parts.store, clock, fingerprints)
    pool.restore(await journal.restored())
    ways_out = WaysOut(policy)
    places = Places(pool, policy, journal)
    sessions = _sessions(parts, ways_out)
    upstreams: dict[Kind, Upstream] = {kind: make(ways_out, policy) for kind, make in UPSTREAMS.items()}
    if sessions is not None:
        upstreams[Kind.CLAUDE_WEB] = sessions
    dispatcher = Dispatcher(
        Tools(
            pool=pool,
            places=places,
            journal=journal,
            upstreams=upstreams,
            catalog=parts.catalog,
            policy=policy,
            clock=clock,
            rng=parts.rng,
            defaults=settings.defaults,
        )
    )
    services = Services(
        settings=settings,
        keys=parts.keys,
        pool=pool,
        dispatcher=dispatcher,
        catalog=parts.catalog,
        aliases=_alias_rules(settings),
        clock=clock,
        inflight=Inflight(),
        record=parts.record,
        started_s=clock.monotonic_s(),
        common_headers={"server": "carousel", **({"x-carousel-demo": "1"} if parts.demo else {})},
    )
    return _application(services, _Background(places, ways_out, parts.store, sessions))


def _sessions(parts: Parts, ways_out: WaysOut) -> ClaudeWeb | None:
    """How claude.ai sessions are asked; None where there are none."""
    credentials = tuple(item for item in parts.credentials if item.kind is Kind.CLAUDE_WEB)
    if not credentials:
        return None
    web_settings, secret_key = parts.settings.web, parts.keys.secret_key
    means = WebMeans(
        ways_out=ways_out,
        policy=parts.settings.policy,
        catalog=parts.catalog,
        clock=parts.clock,
        ledger=parts.store,
        fingerprint=lambda credential: credential.fingerprint(secret_key),
        new_uuid=lambda: str(uuid4()),
    )
    prompts = PromptOptions(
        max_history_characters=web_settings.max_history_characters,
        role_prefixes=web_settings.role_prefixes,
        disable_artifacts=web_settings.disable_artifacts,
    )
    return ClaudeWeb(means, WebOptions(prompts=prompts, delete=web_settings.delete), credentials)


@dataclass(frozen=True, slots=True)
class _Background:
    """What runs beside the requests, and what is left to close after them."""

    places: Places
    ways_out: WaysOut
    store: Store
    sessions: ClaudeWeb | None

    async def run(self, services: Services) -> AsyncIterator[None]:
        """Start it, hand over, end it."""
        workers = [spawn(self.places.sweep_for_ever(), name="sweep the pool")]
        if (sessions := self.sessions) is not None:
            await sessions.deletions.restore()
            workers.append(spawn(sessions.deletions.work_for_ever(), name="delete conversations"))
        services.ready = True
        yield
        services.ready = False
        for worker in workers:
            worker.cancel()
        if sessions is not None:
            await sessions.deletions.settle(within_s=_LAST_WORK_S)
            await sessions.close()
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
