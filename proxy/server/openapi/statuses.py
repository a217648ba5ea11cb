"""Which statuses an endpoint can answer with, besides success.

They are the gateway's own; what a client reads of them is its dialect's matter, as OpenAI's clients know neither 402
nor 529.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.dialects.common import Dialect
from proxy.errors import ErrorKind, GatewayError
from proxy.server.routes import Access, Route

ALWAYS: Final = frozenset({400, 500})
"""A Host header that is none, and mistakes of ours."""

KEYED: Final = frozenset({401, 429})
"""Of whatever needs a key: a missing or a wrong one, and too many wrong ones."""

STORED: Final = frozenset({503})
"""Of what is read from the store."""

BODY: Final = frozenset({408, 413})
"""Of what has a body."""

ORDER: Final = BODY | {403, 409} | STORED
"""Of what may be ordered twice and is written down, and comes from the dashboard's page where one is logged in."""

MODEL: Final = BODY | {402, 403, 404, 422, 502, 503, 504, 529}
"""Of what is asked of the pool."""

TURN: Final = MODEL | {409}
"""Of what may be the next turn of a conversation, whose last one may still be answered."""

OBJECT: Final = MODEL | {409}
"""Of what is asked of the credential that holds it."""

MEANINGS: Final[Mapping[int, str]] = MappingProxyType(
    {
        303: "The page to log in at is where the header location says.",
        304: "The file is still the one of that etag.",
        400: "The request cannot be served as it stands; the error names the field.",
        401: "The key is missing, wrong, revoked or expired.",
        402: "The budget of the client key is spent.",
        403: "The client key, or every credential, may not ask for this; or an order is not the dashboard's own.",
        404: "There is no such model or object, or it belongs to another client.",
        408: "The body stopped arriving.",
        409: "It is not in the state for this, or this order was given before in another way.",
        413: "The body is too large.",
        422: "The upstream understood the request and refuses it.",
        429: "A limit is reached, or too many wrong keys came from this address; see retry-after.",
        500: "A mistake of the gateway.",
        502: "The upstream failed to answer, or could not be reached.",
        503: "Nobody can answer at the moment; see retry-after.",
        504: "The upstream did not answer in time.",
        529: "The provider is overloaded.",
    }
)


def statuses_of(route: Route, further: frozenset[int]) -> frozenset[int]:
    """All statuses of a route other than success, as its clients read them."""
    keyed = frozenset[int]() if route.access is Access.PUBLIC else KEYED
    return frozenset(_rendered(route.dialect, status) for status in ALWAYS | keyed | further)


def _rendered(dialect: Dialect, status: int) -> int:
    return dialect.render_error(GatewayError(status, ErrorKind.API, ""), "").status
