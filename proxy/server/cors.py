"""Which web pages may call the API: Cross-Origin Resource Sharing, as the Fetch standard has it.

Only the API itself can be called so, never the pages and orders of the administrator. Cookies play no part.
"""

import re
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from multidict import istr

from proxy.settings.limits import EVERY_ORIGIN

_ORIGIN: Final = istr("Origin")
_METHOD: Final = istr("Access-Control-Request-Method")
_HEADERS: Final = istr("Access-Control-Request-Headers")
_OPEN_PATHS: Final = ("/v1/", "/hf/v1/")
_METHODS: Final = "GET, POST, DELETE"
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~ ,-]{1,2048}")
_USUAL_HEADERS: Final = "authorization, content-type, x-api-key, anthropic-version, anthropic-beta"
_MAX_AGE_S: Final = 600
_EXPOSED: Final = ", ".join(
    (
        *("request-id", "x-request-id", "retry-after", "x-should-retry", "idempotent-replayed"),
        *(f"x-carousel-{name}" for name in ("attempts", "cache", "conversation", "credential", "demo")),
        *(f"x-carousel-{name}" for name in ("dropped", "model", "session", "upstream-request-id")),
        *(
            f"x-ratelimit-{what}-{sort}"
            for what in ("limit", "remaining", "reset")
            for sort in ("requests", "tokens")
        ),
    )
)


class Cors:
    """Answers browsers that ask first, and lets pages of the allowed origins read answers."""

    def __init__(self, origins: Sequence[str]) -> None:
        """`origins` as in ``CORS_ORIGINS``; not empty."""
        self._origins = frozenset(origins)
        self._every = EVERY_ORIGIN in self._origins

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks whether a page may call; None for any other request."""
        headers = request.headers
        if (
            request.method != "OPTIONS"
            or _METHOD not in headers
            or (allowed := self._allowed(request)) is None
        ):
            return None
        wanted = headers.get(_HEADERS, "")
        return web.Response(
            status=204,
            headers={
                "access-control-allow-origin": allowed,
                "access-control-allow-methods": _METHODS,
                "access-control-allow-headers": wanted if _HEADER_NAMES.fullmatch(wanted) else _USUAL_HEADERS,
                "access-control-max-age": str(_MAX_AGE_S),
                "vary": "Origin, Access-Control-Request-Headers",
            },
        )

    async def expose(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let the page that called read the answer and our headers; for the signal before an answer's headers."""
        if response.headers.get("access-control-allow-methods") is not None:
            return
        if (allowed := self._allowed(request)) is not None:
            response.headers["access-control-allow-origin"] = allowed
            response.headers["access-control-expose-headers"] = _EXPOSED
        if not self._every and request.path.startswith(_OPEN_PATHS):
            response.headers["vary"] = "Origin"

    def _allowed(self, request: web.Request) -> str | None:
        origin = request.headers.get(_ORIGIN)
        if origin is None or not request.path.startswith(_OPEN_PATHS):
            return None
        if self._every:
            return EVERY_ORIGIN
        return origin if origin.lower() in self._origins else None
