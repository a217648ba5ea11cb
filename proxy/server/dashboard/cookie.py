"""The cookie of a login, and what keeps other pages from using it.

The browser sends it from this site's own pages alone (``SameSite=Strict``), over HTTPS alone (``Secure``), and shows
it to no script (``HttpOnly``); the prefix of its name makes the browser enforce that it is bound to this very host.
Source: RFC 6265bis. On the machine itself there may be no HTTPS, and there browsers disagree: Chromium takes no
prefixed name, Safari nothing ``Secure``. So the cookie has neither there, and over plain HTTP nobody else gets one.

An order has to prove besides that it comes from the page itself: by the header ``Origin`` and by a token that only a
page of this origin can read.
"""

import ipaddress
import re
from typing import Final

from aiohttp import web
from aiohttp.hdrs import COOKIE, HOST
from multidict import istr

from proxy.access import Login, Logins
from proxy.access.logins import LOGIN_S
from proxy.errors import ErrorKind, GatewayError

NAME: Final = "__Host-carousel"
LOCAL_NAME: Final = "carousel-login"
TOKEN_HEADER: Final = istr("X-CSRF-Token")
_ORIGIN: Final = istr("Origin")
_FETCH_SITE: Final = istr("Sec-Fetch-Site")
_OWN_SITES: Final = frozenset({"same-origin", "none"})
_AUTHORITY: Final = re.compile(r"(?:\[(?P<address>[^\[\]]+)\]|(?P<name>[^:\[\]]+))(?::[0-9]+)?")
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


def demand_private_way(request: web.Request) -> None:
    """Raises GatewayError 403 where a page was loaded over plain HTTP from another machine."""
    if not _encrypted(request) and not _loopback(request):
        raise GatewayError(
            403,
            ErrorKind.PERMISSION,
            "Log in over HTTPS, or on the machine itself: over plain HTTP others could read the key and the login.",
            code="https_needed",
            should_retry=False,
        )


def hand_out(request: web.Request, response: web.Response, logins: Logins) -> None:
    """Let the page that made this request be logged in; where it comes from was looked at before."""
    encrypted = _encrypted(request)
    response.set_cookie(
        NAME if encrypted else LOCAL_NAME,
        logins.log_in(),
        max_age=LOGIN_S,
        path="/",
        secure=encrypted,
        httponly=True,
        samesite="Strict",
    )


def take_back(response: web.Response) -> None:
    """Have the browser forget it."""
    response.del_cookie(NAME, path="/", secure=True, httponly=True, samesite="Strict")
    response.del_cookie(LOCAL_NAME, path="/", httponly=True, samesite="Strict")


def _shown(request: web.Request, logins: Logins) -> Login | None:
    header = request.headers.get(COOKIE, "")
    if (NAME not in header and LOCAL_NAME not in header) or len(header) > _COOKIE_HEADER_MAX:
        return None
    if request.headers.get(_FETCH_SITE, "none") not in _OWN_SITES:
        return None
    cookies = request.cookies
    value = cookies.get(NAME) or cookies.get(LOCAL_NAME)
    return None if value is None else logins.recognize(value)


def _encrypted(request: web.Request) -> bool:
    """Whether the page came over HTTPS; only its browser knows, where a proxy in front ends the encryption."""
    return request.headers.get(_ORIGIN, "").lower().startswith("https://")


def _loopback(request: web.Request) -> bool:
    found = _AUTHORITY.fullmatch(request.headers.get(HOST, "").lower())
    host = "" if found is None else found["name"] or found["address"]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _forbidden(message: str) -> GatewayError:
    return GatewayError(403, ErrorKind.PERMISSION, message, code="not_from_dashboard", should_retry=False)
