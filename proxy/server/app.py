"""The composition root: from a configuration to a running application."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web
from multidict import istr

from proxy.access import Keys
from proxy.clock import Clock
from proxy.credentials import Credential, CredentialSource, Kind
from proxy.dispatch.bookkeeper import Bookkeeper
from proxy.dispatch.cache import AnswerCache
from proxy.dispatch.conversations import Conversations
from proxy.dispatch.dispatcher import Dispatcher, Tools
from proxy.dispatch.journal import Journal
from proxy.dispatch.membership import Membership, fingerprints_of
from proxy.dispatch.objects import ObjectCalls
from proxy.dispatch.ownership import Ownership
from proxy.dispatch.places import Places
from proxy.dispatch.projects import Projects
from proxy.dispatch.reloading import Reloader
from proxy.dispatch.thinking import ThinkingMemory
from proxy.exchange import Operation
from proxy.log import get_logger
from proxy.model.aliases import AliasRules
from proxy.model.catalog import Catalog
from proxy.model.names import ModelNames
from proxy.model.pricing import Pricing
from proxy.pool import Pool, RetryBudget
from proxy.server import admin, capabilities, clients, extras, metrics, usage
from proxy.server.admission import Admission, make_admission
from proxy.server.context import SERVICES, Services
from proxy.server.conversations import CONVERSATION_ROUTES
from proxy.server.dashboard.feed import FEED, Feed
from proxy.server.dashboard.pages import DASHBOARD_ROUTES
from proxy.server.gate import Gate
from proxy.server.handlers import chat_handler
from proxy.server.inflight import Inflight
from proxy.server.mirror import open_mirror
from proxy.server.objects import OBJECT_ROUTES
from proxy.server.openapi import OPENAPI, Description, openapi
from proxy.server.orders import once
from proxy.server.projects import PROJECT_ROUTES
from proxy.server.reload import reload
from proxy.server.responses import responses_routes
from proxy.server.routes import ANTHROPIC, OPENAI_CHAT, OPENAI_TEXT, Access, Route, RouteTable
from proxy.server.shell_env import ShellEnv
from proxy.server.stored_responses import RESPONSES, StoredResponses
from proxy.server.tracing import tracing_of
from proxy.settings import Settings
from proxy.store.base import Storage
from proxy.tasks import finish_all, spawn
from proxy.telemetry.logs import no_request_line
from proxy.telemetry.requests import HasLine
from proxy.telemetry.usage import UsageLedger
from proxy.telemetry.workers import Workers
from proxy.upstreams import UPSTREAMS
from proxy.upstreams.anthropic_objects import AnthropicObjects
from proxy.upstreams.base import Upstream
from proxy.upstreams.claude_code.machine import limits_of, policy_of, runs_of
from proxy.upstreams.claude_code.upstream import ClaudeCode
from proxy.upstreams.claude_web.upstream import ClaudeWeb, WebMeans
from proxy.upstreams.http import WaysOut
from proxy.upstreams.media import Media

if TYPE_CHECKING:
    from proxy.server.sharing import Sharing

_log = get_logger("app")
_V1 = ("", "/hf")
_LAST_WORK_S = 3.0

ROUTES = (
    Route("POST", "/v1/chat/completions", chat_handler(OPENAI_CHAT), Access.CLIENT, OPENAI_CHAT, _V1),
    Route(
        "POST",
        "/openai/deployments/{model}/chat/completions",
        chat_handler(OPENAI_CHAT),
        Access.CLIENT,
        OPENAI_CHAT,
        ("", "/v1", "/hf", "/hf/v1"),
    ),
    Route("POST", "/v1/completions", chat_handler(OPENAI_TEXT), Access.CLIENT, OPENAI_TEXT, _V1),
    Route("POST", "/v1/messages", chat_handler(ANTHROPIC), Access.CLIENT, ANTHROPIC, _V1),
    Route(
        "POST",
        "/v1/messages/count_tokens",
        chat_handler(ANTHROPIC, Operation.COUNT_TOKENS),
        Access.CLIENT,
        ANTHROPIC,
        _V1,
    ),
    *responses_routes(_V1),
    *OBJECT_ROUTES,
    *CONVERSATION_ROUTES,
    *PROJECT_ROUTES,
    Route("GET", "/v1/models", extras.models, Access.CLIENT, prefixes=_V1, by_version=True),
    Route("GET", "/v1/models/{model}", extras.model, Access.CLIENT, prefixes=_V1, by_version=True),
    Route("GET", "/v1/capabilities", capabilities.capabilities, Access.CLIENT, prefixes=_V1),
    Route("GET", "/health", extras.health, Access.PUBLIC),
    Route("GET", "/live", extras.live, Access.PUBLIC),
    Route("GET", "/ready", extras.ready, Access.PUBLIC),
    Route("GET", "/stats", usage.stats, Access.EITHER),
    *DASHBOARD_ROUTES,
    Route("GET", "/metrics", metrics.metrics, Access.ADMIN),
    Route("GET", "/openapi.json", openapi, Access.EITHER),
    Route("GET", "/admin/usage", usage.usage, Access.ADMIN),
    Route("POST", "/admin/pool/reload", once(reload), Access.ADMIN),
    Route("GET", "/admin/pool", admin.pool, Access.ADMIN),
    Route("GET", "/admin/pool/explain", admin.explain, Access.ADMIN),
    Route("POST", "/admin/pool/{alias}/enable", once(admin.enable), Access.ADMIN),
    Route("POST", "/admin/pool/{alias}/disable", once(admin.disable), Access.ADMIN),
    Route("POST", "/admin/pool/{alias}/reset", once(admin.reset), Access.ADMIN),
    Route("GET", "/admin/keys", clients.keys, Access.ADMIN),
    Route("POST", "/admin/keys", clients.new_key, Access.ADMIN),
    Route("DELETE", "/admin/keys/{name}", once(clients.revoke_key), Access.ADMIN),
    Route("GET", "/admin/audit", clients.audit, Access.ADMIN),
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
        store: where health and responses are kept.
        clock: the time.
        rng: jitter.
        record: takes the line of each request.
        demo: whether the simulated Claude answers.
        takes_up_before_unix_ms: what was left at claude.ai before this moment is taken up; None for all of it. Of
            several processes with one database only one may, and not what the others have just begun.
        workers: the other processes of this address; None where there are none.
    """

    settings: Settings
    credentials: tuple[Credential, ...]
    keys: Keys
    catalog: Catalog
    store: Storage
    clock: Clock
    rng: random.Random
    source: CredentialSource | None = None
    record: Callable[[HasLine], None] = no_request_line
    demo: bool = False
    takes_up_before_unix_ms: int | None = None
    workers: Workers | None = None


async def build_app(parts: Parts) -> web.Application:
    """The application, with its pool restored; its background work starts and ends with it."""
    settings, policy, clock = parts.settings, parts.settings.policy, parts.clock
    pool = Pool(parts.credentials, policy=policy, clock=clock, rng=parts.rng, strategy=settings.strategy)
    journal = Journal(parts.store, clock, fingerprints_of(parts.credentials, parts.keys.secret_key))
    pool.restore(await journal.restored())
    ways_out = WaysOut(policy)
    sharing = await _sharing(parts)
    places = await _places(parts, sharing, pool, journal)
    sessions = _sessions(parts, ways_out)
    code = _claude_code(parts, ways_out)
    upstreams = _upstreams(parts, ways_out, sessions, code)
    alone = Conversations(parts.store.conversations, clock, settings.conversations)
    conversations = alone if sharing is None else sharing.conversations
    conversations.follow(parts.credentials)
    names = ModelNames(parts.catalog, _alias_rules(settings), clock, settings.model_fallbacks)
    dispatcher = _dispatcher(parts, pool, places, journal, upstreams, names)
    pricing = Pricing(parts.catalog)
    admission = _admission(parts, sharing, pricing)
    await admission.restore()
    services = Services(
        settings=settings,
        keys=parts.keys,
        pool=pool,
        dispatcher=dispatcher,
        objects=_object_calls(parts, pool, places, ways_out, dispatcher.budget),
        ownership=Ownership((sharing or parts.store).objects, journal, clock),
        conversations=conversations,
        projects=Projects((sharing or parts.store).projects, clock, settings.conversations, pricing),
        catalog=parts.catalog,
        names=names,
        clock=clock,
        inflight=Inflight(),
        record=parts.record,
        started_s=clock.monotonic_s(),
        reloader=_reloader(parts, pool, places, journal, upstreams, ways_out, conversations, code),
        places=places,
        bookkeeper=Bookkeeper(UsageLedger(pricing, clock), parts.store, clock),
        admission=admission,
        sharing=sharing,
        common_headers={istr("server"): "carousel", **({istr("x-carousel-demo"): "1"} if parts.demo else {})},
    )
    return _application(
        services,
        _Background(
            places, ways_out, parts.store, sessions, code, parts.takes_up_before_unix_ms, parts.workers
        ),
    )


def _reloader(
    parts: Parts,
    pool: Pool,
    places: Places,
    journal: Journal,
    upstreams: Mapping[Kind, Upstream],
    ways_out: WaysOut,
    conversations: Conversations,
    code: ClaudeCode,
) -> Reloader | None:
    """What follows the file of credentials; None where they come from nothing that could change."""
    if parts.source is None:
        return None

    def follow(credentials: Sequence[Credential]) -> None:
        conversations.follow(credentials)
        code.follow(credentials)

    membership = Membership(
        pool=pool,
        places=places,
        journal=journal,
        upstreams=upstreams,
        ways_out=ways_out,
        fingerprint_key=parts.keys.secret_key,
        follow=follow,
    )
    return Reloader(parts.source, membership, parts.clock)


async def _sharing(parts: Parts) -> "Sharing | None":
    """What is shared with other processes; None where this one is alone, which then imports nothing for it."""
    if (url := parts.settings.redis_url) is None:
        return None
    from proxy.server.sharing import Sharing  # noqa: PLC0415 - see above

    return await Sharing.open(url, parts.settings, parts.store, parts.clock, parts.keys.secret_key)


async def _places(parts: Parts, sharing: "Sharing | None", pool: Pool, journal: Journal) -> Places:
    """How leases are waited for, with the pool as others know it."""
    if sharing is None:
        return Places(pool, parts.settings.policy, journal)
    places = sharing.places_of(pool, journal)
    await sharing.begin(pool, places, journal)
    return places


def _admission(parts: Parts, sharing: "Sharing | None", pricing: Pricing) -> Admission:
    keys, limits, clock = parts.keys, parts.settings.limits, parts.clock
    if sharing is None:
        return make_admission(keys, limits, parts.store.access, clock, pricing)
    return make_admission(keys, limits, sharing.access, clock, pricing, sharing.counters)


def _upstreams(
    parts: Parts, ways_out: WaysOut, sessions: ClaudeWeb, code: ClaudeCode
) -> dict[Kind, Upstream]:
    """How each kind of credential is asked."""
    others = {kind: make(ways_out, parts.settings.policy) for kind, make in UPSTREAMS.items()}
    return {**others, Kind.CLAUDE_WEB: sessions, Kind.CLAUDE_CODE: code}


def _claude_code(parts: Parts, ways_out: WaysOut) -> ClaudeCode:
    """The upstream of all Claude Code credentials; it starts nothing before it is asked."""
    settings = parts.settings
    return ClaudeCode(
        ways_out,
        settings.policy,
        parts.clock,
        folder=settings.data_dir / "claude-code",
        limits=limits_of(settings.claude_code),
        credentials=parts.credentials,
        runs=runs_of(settings, parts.clock),
    )


def _sessions(parts: Parts, ways_out: WaysOut) -> ClaudeWeb:
    """The upstream of all claude.ai sessions, those included that are configured later."""
    secret_key = parts.keys.secret_key
    means = WebMeans(
        ways_out=ways_out,
        policy=parts.settings.policy,
        clock=parts.clock,
        ledger=parts.store,
        fingerprint=lambda credential: credential.fingerprint(secret_key),
        new_uuid=lambda: str(uuid4()),
    )
    known = tuple(each for each in parts.credentials if each.kind is Kind.CLAUDE_WEB)
    return ClaudeWeb(means, delete=parts.settings.defaults.web.delete, credentials=known)


def _dispatcher(
    parts: Parts,
    pool: Pool,
    places: Places,
    journal: Journal,
    upstreams: Mapping[Kind, Upstream],
    names: ModelNames,
) -> Dispatcher:
    settings = parts.settings
    return Dispatcher(
        Tools(
            pool=pool,
            places=places,
            journal=journal,
            upstreams=upstreams,
            catalog=parts.catalog,
            names=names,
            policy=settings.policy,
            clock=parts.clock,
            rng=parts.rng,
            defaults=settings.defaults,
            memory=ThinkingMemory(parts.clock),
            media=Media(settings.media),
            policies={Kind.CLAUDE_CODE: policy_of(settings.claude_code, settings.policy)},
        )
    )


def _object_calls(
    parts: Parts, pool: Pool, places: Places, ways_out: WaysOut, budget: RetryBudget
) -> ObjectCalls:
    return ObjectCalls(
        pool=pool,
        places=places,
        upstream=AnthropicObjects(ways_out),
        policy=parts.settings.policy,
        clock=parts.clock,
        rng=parts.rng,
        budget=budget,
    )


@dataclass(frozen=True, slots=True)
class _Background:
    """What runs beside the requests, and what is left to close after them."""

    places: Places
    ways_out: WaysOut
    store: Storage
    sessions: ClaudeWeb
    code: ClaudeCode
    takes_up_before_unix_ms: int | None
    workers: Workers | None

    async def run(self, services: Services) -> AsyncIterator[None]:
        """Start it, hand over, end it."""
        await self.sessions.restore(self.takes_up_before_unix_ms)
        services.workers = self.workers
        working = [
            spawn(self.places.sweep_for_ever(), name="sweep the pool"),
            spawn(services.bookkeeper.run(), name="write down usage"),
            spawn(
                services.loop_lag.run(partial(_each_half_second, services)),
                name="count requests",
            ),
            spawn(self.sessions.deletions.work_for_ever(), name="delete conversations"),
            spawn(self.code.work_for_ever(), name="look after Claude Code"),
            spawn(services.admission.desk.stored.watch(), name="look after the client keys"),
        ]
        if not await services.ownership.found_files():
            working.append(spawn(services.ownership.look_for_files(), name="look for a first file"))
        if services.sharing is not None:
            working += services.sharing.work()
        if (file := services.settings.claude_code.shell_file) is not None:
            shells = ShellEnv(file, services.pool, lambda: self.code.credentials)
            working.append(spawn(shells.run(), name="tell shells the active key"))
        if services.reloader is not None:
            working.append(spawn(services.reloader.run(), name="look after the credentials"))
        services.deletions = self.sessions.deletions
        services.claude_code = self.code
        services.ready = True
        yield
        services.ready = False
        for task in working:
            task.cancel()
        await self.sessions.deletions.settle(within_s=_LAST_WORK_S)
        await self.sessions.close()
        await self.code.close()
        await finish_all(within_s=_LAST_WORK_S)
        await services.bookkeeper.flush()
        await self.ways_out.close()
        await services.dispatcher.close()
        if services.sharing is not None:
            await services.sharing.close()
        await self.store.close()


def _each_half_second(services: Services) -> None:
    services.traces.settle()
    metrics.answer_workers(services)


def _application(services: Services, background: _Background) -> web.Application:
    gate = Gate(services)
    settings = services.settings
    limit_bytes = settings.policy.body_max_bytes
    app = web.Application(middlewares=[gate.middleware], client_max_size=limit_bytes)
    routes = (*ROUTES, *open_mirror(app, services))
    gate.attach(app, RouteTable(app, routes))
    app[SERVICES] = services
    app[FEED] = Feed(services)
    app[OPENAPI] = Description(routes)
    kept_in = background.store if services.sharing is None else services.sharing.responses
    app[RESPONSES] = responses = StoredResponses(
        kept_in, services.clock, ttl_s=settings.responses_ttl_s, history_max_bytes=limit_bytes
    )
    if (kept := services.settings.cache).enabled:
        services.cache = AnswerCache(kept, services.clock)
    if settings.tracing is not None:
        app.cleanup_ctx.append(lambda _: tracing_of(services))
    if (cors := services.admission.cors) is not None:
        app.on_response_prepare.append(cors.expose)
    app.cleanup_ctx.append(lambda _: background.run(services))
    app.cleanup_ctx.append(lambda _: services.conversations.run())
    app.cleanup_ctx.append(lambda _: services.projects.run())
    app.cleanup_ctx.append(lambda _: responses.run())
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
