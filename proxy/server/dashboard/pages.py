"""``/dashboard`` and below: the page, its files, logging in and out, and what the page needs to know."""

from typing import Final

import msgspec
from aiohttp import web

from proxy import __version__
from proxy.dialects.decoding import decode_json
from proxy.errors import Unauthorized
from proxy.log import get_logger
from proxy.server.body import kept_body
from proxy.server.context import CALLER, SERVICES
from proxy.server.dashboard.cookie import demand_own_origin, demand_private_way, hand_out, login_of, take_back
from proxy.server.dashboard.feed import events
from proxy.server.dashboard.files import file_response, page_headers
from proxy.server.extras import json_response
from proxy.server.routes import Access, Route
from proxy.telemetry.history import PART_MS, PARTS

_log = get_logger("dashboard")
_LOGIN: Final = "dashboard/login"
_KEY_MAX: Final = 4096
_LOGIN_MAX_BYTES: Final = 64 * 1024


class Presented(msgspec.Struct, forbid_unknown_fields=True):
    """What ``POST /dashboard/login`` takes."""

    key: str


async def page(request: web.Request) -> web.StreamResponse:
    """``GET /dashboard``: the page, which holds no data itself; without a login, the way to one."""
    if not request[CALLER].admin:
        # relative, so that it leads the right way below another path of a proxy too
        return web.Response(status=303, headers={**page_headers(request), "location": _LOGIN})
    return file_response(request, "dashboard.html")


async def login_page(request: web.Request) -> web.Response:
    """``GET /dashboard/login``."""
    return file_response(request, "login.html")


async def static(request: web.Request) -> web.Response:
    """``GET /dashboard/static/{file}``. Raises NotFound."""
    return file_response(request, request.match_info["file"])


async def login(request: web.Request) -> web.Response:
    """``POST /dashboard/login``: the admin key for a cookie.

    Raises Unauthorized for a wrong key, and GatewayError: 403 for another site's page and over plain HTTP from another
    machine, 429 for a guesser.
    """
    demand_own_origin(request)
    demand_private_way(request)
    services = request.app[SERVICES]
    key = decode_json(Presented, await kept_body(request, limit_bytes=_LOGIN_MAX_BYTES)).key.strip()
    if len(key) > _KEY_MAX or not services.keys.is_admin(key):
        services.admission.guesses.wrong(services.admission.addresses.of(request))
        raise Unauthorized("This is not the admin key.")
    response = json_response(request, {"next": "../dashboard"})
    hand_out(request, response, services.admission.logins)
    _log.warning("administrator logged in", remote=services.admission.addresses.of(request))
    return response


async def logout(request: web.Request) -> web.Response:
    """``POST /dashboard/logout``: the cookie opens nothing any more."""
    logins = request.app[SERVICES].admission.logins
    found = login_of(request, logins)
    if found is not None:
        logins.end(found)
    response = json_response(request, {"next": _LOGIN})
    take_back(response)
    return response


async def config(request: web.Request) -> web.Response:
    """``GET /dashboard/config``: the token of the page's orders, and what it can show."""
    services = request.app[SERVICES]
    found = login_of(request, services.admission.logins)
    return json_response(
        request,
        {
            "version": __version__,
            "demo": "x-carousel-demo" in services.common_headers,
            "token": None if found is None else found.token,
            "until_unix_ms": None if found is None else found.until_unix_ms,
            "part_ms": PART_MS,
            "parts": PARTS,
            "features": {"reload": services.reloader is not None, "keys": True, "usage": True, "audit": True},
        },
    )


async def history(request: web.Request) -> web.Response:
    """``GET /dashboard/history``: the last hour, in parts of ten seconds."""
    services = request.app[SERVICES]
    services.traces.settle()
    return json_response(request, {"points": services.last_hour.points()})


DASHBOARD_ROUTES: Final = (
    Route("GET", "/dashboard", page, Access.PAGE),
    Route("GET", "/dashboard/login", login_page, Access.PUBLIC),
    Route("POST", "/dashboard/login", login, Access.PUBLIC),
    Route("POST", "/dashboard/logout", logout, Access.ADMIN),
    Route("GET", "/dashboard/static/{file}", static, Access.PUBLIC),
    Route("GET", "/dashboard/config", config, Access.ADMIN),
    Route("GET", "/dashboard/history", history, Access.ADMIN),
    Route("GET", "/dashboard/events", events, Access.ADMIN),
)
