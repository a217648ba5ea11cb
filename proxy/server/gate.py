"""The one middleware: request id, who may pass, and every error in the envelope of the dialect that was called."""

import random
import re
import traceback
from typing import Final

from aiohttp import web
from aiohttp.hdrs import ALLOW, HOST
from aiohttp.typedefs import Middleware
from multidict import istr

from proxy.access import ANONYMOUS, VISITOR, Client, no_session, presented_key, presented_session
from proxy.access.rules import in_force
from proxy.dialects.common import Dialect
from proxy.errors import ErrorKind, GatewayError, NotFound, TooLarge, Unauthorized
from proxy.log import get_logger
from proxy.server.context import CALLER, Caller, Services
from proxy.server.dashboard.cookie import login_of
from proxy.server.respond import retry_headers
from proxy.server.routes import Access, Handler, Route, RouteTable, dialect_for_unknown
from proxy.telemetry.redaction import REDACTOR

_log = get_logger("gate")
_ID_BITS: Final = 96
_ADMIN_NEEDED: Final = "This address needs the admin key."
_ADMINISTRATORS: Final = frozenset({Access.ADMIN, Access.PAGE})
# every look-up of a member in its class is a call
_CLIENT: Final = Access.CLIENT
_OUR_REQUEST_ID: Final = istr("x-request-id")
_REQUEST_ID: Final = istr("request-id")
_HOST: Final = re.compile(r"[A-Za-z0-9._:\-\[\]]*")


class Gate:
    """Lets a request through to its handler, or answers in its place.

    Attributes:
        routes: those there are; None before it is told.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._cors = services.admission.cors
        self.routes: RouteTable | None = None
        self._visitors_rules = in_force(None, services.settings.limits)
        self._ids = random.Random()  # noqa: S311 - an id names a request, it opens nothing

    def attach(self, app: web.Application, routes: RouteTable) -> None:
        """Tell the gate which routes there are, and the application's runner that this is its gate."""
        self.routes = routes
        app[GATE] = self

    @property
    def middleware(self) -> Middleware:
        """The middleware for the application."""
        return self._pass

    @web.middleware
    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = self.routes.matched(request) if self.routes is not None else None
        return await self.let_through(request, handler, route)

    async def let_through(
        self, request: web.Request, handler: Handler, route: Route | None
    ) -> web.StreamResponse:
        """Let a request through by the route that was matched for it; None for an unknown path."""
        services = self._services
        caller = Caller(services, f"req_{self._ids.getrandbits(_ID_BITS):024x}")
        request[CALLER] = caller
        services.inflight.enter()
        try:
            if self._cors is not None and (preflight := self._cors.preflight(request)) is not None:
                return preflight
            if (unknown := self._admit(request, route, caller)) is not None:
                await self._look_again(unknown, request, route, caller)
            response = await handler(request)
        except GatewayError as error:
            response = self._rendered(error, route, request, caller)
        except web.HTTPException as error:
            response = self._rendered(_translated(error, request), route, request, caller)
            if (allowed := error.headers.get(ALLOW)) is not None:
                response.headers[ALLOW] = allowed
        except (ConnectionResetError, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - the last stop before the framework's own page
            response = self._rendered(internal_error(error, caller), route, request, caller)
        finally:
            services.inflight.leave()
        if services.inflight.draining:
            response.force_close()
        return response

    def _admit(self, request: web.Request, route: Route | None, caller: Caller) -> str | None:
        """Let a caller in, or return the key it presents and nobody knows yet.

        Raises Unauthorized where the matched route may not be opened; a missing route needs a client key too.
        """
        headers = request.headers
        if not _HOST.fullmatch(headers.get(HOST, "")):
            raise GatewayError(
                400, ErrorKind.INVALID_REQUEST, "The Host header is not a host name.", param="Host"
            )
        if route is None or route.access is _CLIENT:
            return self._match(presented_key(headers), route, caller)
        access = route.access
        if access is Access.PUBLIC:
            return None
        presented = presented_key(headers)
        if access is Access.SESSION:
            self._visit(request, presented, caller)
            return None
        if self._administers(presented, request):
            caller.admin = True
            return None
        if access is Access.PAGE:
            return presented
        if access is Access.ADMIN:
            if presented is None:
                raise Unauthorized(_ADMIN_NEEDED)
            return presented
        return self._match(presented, route, caller)

    def _match(self, presented: str | None, route: Route | None, caller: Caller) -> str | None:
        """The same where a client key is needed."""
        keys = self._services.keys
        client = keys.clients.match(presented)
        if client is not None:
            self._enter(client, caller)
            return None
        if presented is None:
            raise Unauthorized("A client key is missing.")
        if route is None and keys.is_admin(presented):
            return None
        return presented

    def _administers(self, presented: str | None, request: web.Request) -> bool:
        """Whether the admin key is shown, or without any key a login with it; raises what `login_of` does."""
        if presented is not None:
            return self._services.keys.is_admin(presented)
        return login_of(request, self._services.admission.logins) is not None

    def _visit(self, request: web.Request, presented: str | None, caller: Caller) -> None:
        """A caller with a session of its own has come in. Raises Unauthorized for whoever shows none.

        Whether it is a session the site alone can tell. What does not even look like one is a guess, unless it is a key
        that opens other routes.
        """
        if presented is None:
            raise no_session()
        if presented_session(presented) is None:
            keys = self._services.keys
            client = keys.clients.match(presented)
            known = client is not None and client.name != ANONYMOUS.name
            if not known and not keys.is_admin(presented):
                admission = self._services.admission
                admission.guesses.wrong(admission.addresses.of(request))
            raise no_session()
        caller.client = VISITOR
        caller.rules = self._visitors_rules

    def _enter(self, client: Client, caller: Caller) -> None:
        """A client has come in. Raises Unauthorized where its time is over."""
        caller.client = client.name
        if (rules := client.rules) is not None:
            if rules.expires_unix_ms is not None and rules.expired(self._services.clock.unix_ms()):
                raise Unauthorized("The client key has expired.")
            caller.rules = rules

    async def _look_again(
        self, presented: str, request: web.Request, route: Route | None, caller: Caller
    ) -> None:
        """A key nobody knows may have been made a moment ago. Raises Unauthorized, and GatewayError for a guesser.

        Only a wrong key is a guess: not one that opens another route, nor one that was good once.
        """
        services, keys = self._services, self._services.keys
        admission = services.admission
        stored = admission.desk.stored
        administers = route is not None and route.access in _ADMINISTRATORS
        client = keys.clients.match(presented) if administers else None
        if client is None:
            client = await stored.find(presented)
        if client is not None and not administers:
            self._enter(client, caller)
            return
        if client is not None or (not administers and keys.is_admin(presented)):
            raise Unauthorized(_ADMIN_NEEDED if administers else "The client key is not valid.")
        if stored.was_revoked(presented):
            raise Unauthorized("The client key was revoked.")
        admission.guesses.wrong(admission.addresses.of(request))
        raise Unauthorized(_ADMIN_NEEDED if administers else "The client key is not valid.")

    def _rendered(
        self, error: GatewayError, route: Route | None, request: web.Request, caller: Caller
    ) -> web.StreamResponse:
        dialect = route.dialect_for(request) if route is not None else dialect_for_unknown(request.path)
        return error_response(error, dialect, caller, self._services)


GATE: Final = web.AppKey("gate", Gate)


def internal_error(error: Exception, caller: Caller) -> GatewayError:
    """What a client is told of a mistake of ours; the log gets its class and its place, never its text."""
    _log.error("unexpected error", request_id=caller.request_id, error=type(error).__name__, at=_place(error))
    return GatewayError(500, ErrorKind.API, "Internal error of the gateway.", should_retry=False)


def error_response(error: GatewayError, dialect: Dialect, caller: Caller, services: Services) -> web.Response:
    """An error before the commit, as the clients of a dialect expect it."""
    rendered = dialect.render_error(error, caller.request_id)
    headers = {
        **services.common_headers,
        **identity_headers(dialect, caller.request_id),
        **retry_headers(error),
        # a 404 may be kept by default, and nothing on the way minds which key it was for
        "cache-control": "no-store",
    }
    if rendered.status == 401:
        headers["www-authenticate"] = "Bearer"
    # an upstream's own words are passed on, and those may quote a key
    body = REDACTOR.clean(rendered.body)
    response = web.Response(
        status=rendered.status, body=body, content_type="application/json", headers=headers
    )
    if rendered.status in {408, 413}:
        response.force_close()
    return response


def identity_headers(dialect: Dialect, request_id: str) -> dict[str, str]:
    """Our request id, under each name the dialect's clients read."""
    if dialect.name == "anthropic":
        return {_OUR_REQUEST_ID: request_id, _REQUEST_ID: request_id}
    return {_OUR_REQUEST_ID: request_id}


def _translated(error: web.HTTPException, request: web.Request) -> GatewayError:
    """What the framework refuses by itself."""
    match error.status:
        case 404:
            return NotFound(f"Unknown address: {request.method} {request.path[:200]}")
        case 405:
            return GatewayError(405, ErrorKind.INVALID_REQUEST, f"{request.method} is not allowed here.")
        case 413:
            return TooLarge(request.client_max_size)
        case status:
            return GatewayError(status, ErrorKind.INVALID_REQUEST, error.reason)


def _place(error: BaseException) -> str:
    """Where an error came from, without the text of it or any value."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames))
