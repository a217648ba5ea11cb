"""Every route with who may open it and which dialect its errors speak. A route without an entry does not exist."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from aiohttp import web

from proxy.dialects.anthropic import AnthropicDialect
from proxy.dialects.common import Dialect
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dialects.openai_chat.text import OpenAITextDialect

ANTHROPIC: Final = AnthropicDialect()
OPENAI_CHAT: Final = OpenAIChatDialect()
OPENAI_TEXT: Final = OpenAITextDialect()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access(Enum):
    """Whose key opens a route."""

    PUBLIC = "nobody's key"
    CLIENT = "a client key"
    ADMIN = "the admin key"
    EITHER = "a client key or the admin key"
    SESSION = "the caller's own claude.ai session"
    PAGE = "the admin key; without any, the way to the login is shown"


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        method: HTTP method; GET also answers HEAD.
        path: path pattern below each of `prefixes`.
        handler: what answers.
        access: whose key opens it.
        dialect: whose envelope its errors use.
        by_version: whether callers that send ``anthropic-version`` are answered as Anthropic would, errors included.
        prefixes: where else the same route lives.
        entry: the path its description is under, where it is another because an operator chose the route's own.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    dialect: Dialect = OPENAI_CHAT
    prefixes: tuple[str, ...] = ("",)
    by_version: bool = False
    entry: str = ""

    def dialect_for(self, request: web.Request) -> Dialect:
        """Whose envelope the errors of a request use."""
        return dialect_by_version(request) if self.by_version else self.dialect


class RouteTable:
    """What the gate needs to know of the matched route.

    Attributes:
        known: every route of the application, as the framework and as we know it.
    """

    def __init__(self, app: web.Application, routes: tuple[Route, ...]) -> None:
        self.known: dict[web.AbstractRoute, Route] = {}
        for route in routes:
            for prefix in route.prefixes:
                added = app.router.add_route(route.method, prefix + route.path, route.handler)
                self.known[added] = route
                if route.method == "GET":
                    self.known[app.router.add_route("HEAD", prefix + route.path, route.handler)] = route

    def matched(self, request: web.Request) -> Route | None:
        """The route that was matched, never one read out of the address; None for an unknown path."""
        return self.known.get(request.match_info.route)


def dialect_by_version(request: web.Request) -> Dialect:
    """The dialect of the two that share an address: Anthropic's clients say which version of the API they mean."""
    return ANTHROPIC if "anthropic-version" in request.headers else OPENAI_CHAT


def dialect_for_unknown(path: str) -> Dialect:
    """Whose envelope a path without a route is answered in."""
    return ANTHROPIC if "/v1/messages" in path or "/v1/files" in path else OPENAI_CHAT
