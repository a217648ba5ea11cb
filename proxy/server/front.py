"""The way of a request from its connection to its handler, without what the framework does for requests unlike ours."""

from collections.abc import Awaitable
from typing import Final

from aiohttp import web
from aiohttp.hdrs import EXPECT
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from proxy.server.gate import GATE
from proxy.server.routes import Route

_PATTERN: Final = "{"


class Connection(RequestHandler):
    """A client's connection that is told to read on only where it was told to stop.

    The library says so after every body, and looks through what has not come each time.
    """

    __slots__ = ()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """See the library."""
        if self._reading_paused:
            super().resume_reading(resume_parser)


class _Listening(web.Server):
    """Makes such connections."""

    def __call__(self) -> RequestHandler:
        """See the library."""
        return Connection(self, loop=self._loop, **self._kwargs)


class _Plain:
    """A route whose path is no pattern: every request for it has the same match."""

    __slots__ = ("handler", "match", "route")

    def __init__(self, app: web.Application, matched: web.AbstractRoute, route: Route) -> None:
        self.route = route
        self.handler = matched.handler
        self.match = UrlMappingMatchInfo({}, matched)
        self.match.add_app(app)
        self.match.freeze()


def _plain_routes(app: web.Application) -> dict[tuple[str, str], _Plain]:
    """By method and path."""
    found: dict[tuple[str, str], _Plain] = {}
    if (routes := app[GATE].routes) is None:
        return found
    for matched, route in routes.known.items():
        resource = matched.resource
        if resource is not None and _PATTERN not in resource.canonical:
            found.setdefault((matched.method, resource.canonical), _Plain(app, matched, route))
    return found


class FrontRunner(web.AppRunner):
    """Runs an application whose only middleware is the gate.

    A request for a plain route is handed to the gate at once. The framework, asked for any other, finds the same: its
    way makes a match, two coroutines and a look at each part of the path for every request.
    """

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        app, framework = self.app, made.request_handler
        gate, plain = app[GATE], _plain_routes(app)

        def answer(request: web.Request) -> Awaitable[web.StreamResponse]:
            found = plain.get((request.method, request.rel_url.path_safe))
            if found is None or EXPECT in request.headers:
                return framework(request)
            request._match_info = found.match  # noqa: SLF001 - as the framework's own way does
            return gate.let_through(request, found.handler, found.route)

        return _Listening(
            answer,  # type: ignore[arg-type]  # the application's factory makes no plainer requests
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,  # noqa: SLF001 - as it was made
            **made._kwargs,  # noqa: SLF001 - the same
        )
