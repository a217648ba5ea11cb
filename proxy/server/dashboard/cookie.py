"""The cookie of a login, and what keeps other pages from using it.

The browser sends it from this site's own pages alone (``SameSite=Strict``), over HTTPS or from this machine alone
(``Secure``), and shows it to no script (``HttpOnly``); the prefix of its name makes the browser enforce that it is
bound to this very host. Source: RFC 6265bis. An order has to prove besides that it comes from the page itself: by the
header ``Origin`` and by a token that only a page of this origin can read.
"""

from typing import Final

from aiohttp import web
from aiohttp.hdrs import COOKIE, HOST
from multidict import istr

from proxy.access import Login, Logins
from proxy.access.logins import LOGIN_S
from proxy.errors import ErrorKind, GatewayError

NAME: Final = "__Host-carousel"
TOKEN_HEADER: Final = istr("X-CSRF-Token")
_ORIGIN: Final = istr("Origin")
_FETCH_SITE: Final = istr("Sec-Fetch-Site")
_OWN_SITES: Final = frozenset({"same-origin", "none"})
_SAFE: Final = frozenset({"GET", "HEAD"})
_COOKIE_HEADER_MAX: Final = 8192


def login_of(request: web.Request, logins: Logins) -> Login | None:
    """The login a request shows; None where it shows none that is good, or another site's page made it.

    Raises GatewayError 403 for an order that does not prove to come from the dashboard itself.
    """
    login = _shown(request, logins)
    if login is None or request.method in _SAFE:
        return login
    demand_own_origin(request)
    if not login.sent(request.headers.get(TOKEN_HEADER, "")):
        raise _forbidden("The order does not carry the token of the dashboard's page; load the page again.")
    return login


def demand_own_origin(request: web.Request) -> None:
    """Raises GatewayError 403 where a request does not say that a page of this very host made it."""
    origins, hosts = request.headers.getall(_ORIGIN, ()), request.headers.getall(HOST, ())
    own = len(origins) == len(hosts) == 1 and origins[0].lower() in {
        f"{scheme}://{hosts[0].lower()}" for scheme in ("http", "https")
    }
    if not own:
        raise _forbidden("The order does not come from a page of this server.")


def hand_out(response: web.Response, logins: Logins) -> None:
    """Let the caller of this response be logged in."""
    response.set_cookie(
        NAME, logins.begin(), max_age=LOGIN_S, path="/", secure=True, httponly=True, samesite="Strict"
    )


def take_back(response: web.Response) -> None:
    """Have the browser forget it."""
    response.del_cookie(NAME, path="/", secure=True, httponly=True, samesite="Strict")


def _shown(request: web.Request, logins: Logins) -> Login | None:
    header = request.headers.get(COOKIE, "")
    if NAME not in header or len(header) > _COOKIE_HEADER_MAX:
        return None
    if request.headers.get(_FETCH_SITE, "none") not in _OWN_SITES:
        return None
    value = request.cookies.get(NAME)
    return None if value is None else logins.find(value)


def _forbidden(message: str) -> GatewayError:
    return GatewayError(403, ErrorKind.PERMISSION, message, code="not_from_dashboard", should_retry=False)
