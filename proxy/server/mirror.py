"""The mirror: an API for callers who bring a claude.ai session of their own, for that request and for nothing else."""

import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from proxy.access import (
    Presented,
    Told,
    Visit,
    Visitors,
    no_session,
    presented_key,
    presented_session,
)
from proxy.dialects.common import Dialect, Envelope
from proxy.dispatch.trace import SUCCESS
from proxy.dispatch.visiting import VisitedSession, Visiting
from proxy.errors import GatewayError, InvalidRequest
from proxy.exchange import Exchange, Operation
from proxy.server import extras
from proxy.server.context import Services
from proxy.server.handlers import ClientCall
from proxy.server.routes import ANTHROPIC, OPENAI_CHAT, Access, Handler, Route
from proxy.tasks import detach
from proxy.upstreams.http import WaysOut

_REMEMBERING: Final = ("conversation_id", "session_id", "project_id")


@dataclass(frozen=True, slots=True)
class Mirror:
    """What its handlers share: who may ask now, and how their sessions are asked."""

    visitors: Visitors
    visiting: Visiting


MIRROR: web.AppKey[Mirror] = web.AppKey("mirror", Mirror)


class _MirrorCall(ClientCall):
    """One request with its caller's own session."""

    shares = False

    def __init__(self, request: web.Request, dialect: Dialect, session: Presented) -> None:
        super().__init__(request, dialect, Operation.MESSAGES)
        self._mirror = request.app[MIRROR]
        self._session_of_caller = session
        self._visit: Visit | None = None
        self._visited: VisitedSession | None = None
        self._minded: GatewayError | None = None

    async def answer(self) -> web.StreamResponse:
        """See `ClientCall.answer`; first the caller has to be let in."""
        admission, session = self._services.admission, self._session_of_caller
        address = admission.addresses.of(self._request)
        try:
            admission.guesses.demand_none(address)
            self._visit = await self._mirror.visitors.let_in(address, session.cookie)
        except GatewayError as error:
            response = super()._refused(error)
            self._status = response.status
            return response
        self._visited = self._mirror.visiting.session_of(session)
        self._dispatcher = self._visited.dispatcher
        return await super().answer()

    def depart(self) -> None:
        """The request has ended: what the site told is minded, and what was made there deleted."""
        if self._visit is None:
            return
        try:
            self._mind(self._visit)
        finally:
            detach(self._go(), name="leave a caller's session")

    async def _go(self) -> None:
        try:
            if self._visited is not None:
                await self._visited.end(self._caller.request_id)
        finally:
            if self._visit is not None:
                self._mirror.visitors.leave(self._visit)

    def _refused(self, error: GatewayError) -> web.Response:
        told = None if self._visit is None else self._mind(self._visit)
        return super()._refused(error if told is None else told)

    def _mind(self, visit: Visit) -> GatewayError | None:
        """Note what the site told the session, once; gives what its caller is told, None where that is nothing."""
        if self._minded is not None or self._visited is None:
            return self._minded
        visitors = self._mirror.visitors
        if (found := self._visited.told_to_stop()) is None:
            if self._trace.outcome == SUCCESS:
                visitors.answered(visit)
            return None
        self._minded = visitors.heard_stop(visit, *found)
        if found[0] is Told.DEAD:
            self._guessed()
        return self._minded

    def _guessed(self) -> None:
        """A cookie that the site does not know counts as a wrong key."""
        admission = self._services.admission
        try:
            admission.guesses.wrong(admission.addresses.of(self._request))
        except GatewayError as error:
            self._minded = error

    def _open_exchange(self, body: bytes, envelope: Envelope) -> Exchange:
        for name in _REMEMBERING:
            if name in envelope.own_fields:
                raise InvalidRequest(
                    "Nothing is remembered of callers with a session of their own.", param=name
                )
        return super()._open_exchange(body, envelope)

    def _resolve(self, envelope: Envelope) -> tuple[str, bool]:
        services = self._services
        wanted = envelope.model or services.settings.defaults.model or services.catalog.default_model
        found = services.names.resolve(wanted)
        return found.model, found.think


def _handler(dialect: Dialect) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        call = _MirrorCall(request, dialect, _presented(request))
        try:
            return await call.answer()
        finally:
            try:
                call.end()
            finally:
                call.depart()

    return handle


def _presented(request: web.Request) -> Presented:
    """The session of a request that the gate has let in."""
    session = presented_session(presented_key(request.headers) or "")
    if session is None:
        raise no_session()
    return session


async def models(request: web.Request) -> web.Response:
    """``GET {prefix}/v1/models``: the models of the catalog; which of them an account has is not asked."""
    return extras.models_page(request, request.app[MIRROR].visiting.models())


_HANDLERS: Final[Mapping[tuple[str, str], tuple[Handler, Dialect]]] = {
    ("POST", "/v1/chat/completions"): (_handler(OPENAI_CHAT), OPENAI_CHAT),
    ("POST", "/v1/messages"): (_handler(ANTHROPIC), ANTHROPIC),
    ("GET", "/v1/models"): (models, OPENAI_CHAT),
}


def open_mirror(app: web.Application, services: Services) -> tuple[Route, ...]:
    """Give an application the mirror; its routes, none where it is off. It is closed after all that uses it."""
    settings = services.settings
    if not settings.mirror.enabled:
        return ()
    mirror = Mirror(
        Visitors(settings.policy, services.clock),
        Visiting(
            ways_out=WaysOut(settings.policy),
            policy=settings.policy,
            clock=services.clock,
            rng=random.Random(),  # noqa: S311 - jitter, not a secret
            catalog=services.catalog,
            names=services.names.alone(),
            defaults=settings.defaults,
            base_url=settings.sources.claude_web_base_url,
            proxy=settings.sources.way_out,
        ),
    )

    async def run(_: web.Application) -> AsyncIterator[None]:
        yield
        await mirror.visiting.close()

    app[MIRROR] = mirror
    app.cleanup_ctx.append(run)
    return mirror_routes(settings.mirror.prefix)


def mirror_routes(prefix: str) -> tuple[Route, ...]:
    """The routes of the mirror, below a prefix."""
    return tuple(
        Route(
            method,
            prefix + path,
            handler,
            Access.SESSION,
            dialect,
            by_version=method == "GET",
            entry=f"{{mirror}}{path}",
        )
        for (method, path), (handler, dialect) in _HANDLERS.items()
    )
