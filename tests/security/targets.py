"""Request targets that name a route in another spelling, or seem to.

Whoever answers one has to come to the decision its canonical path gets. Source of the forms: RFC 9112 section 3.2,
RFC 3986 sections 5 and 6.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Opens(Enum):
    """Whose key may get a success at all."""

    NOBODY = "nobody"
    CLIENT = "client"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Target:
    """One spelling.

    Attributes:
        text: the target as sent.
        opens: whose key opens what it means, if it means anything.
        method: the method it is sent with.
    """

    text: str
    opens: Opens
    method: str = "GET"


_ADMIN: Final = (
    "/metrics",
    "//metrics",
    "/v1/../metrics",
    "/v1/%2e%2e/metrics",
    "/admin/pool",
    "//admin/pool",
    "/admin//pool",
    "/admin/pool/",
    "/admin/pool/.",
    "/admin/./pool",
    "/admin/pool?x=/v1/models",
    "/admin/pool;/v1/models",
    "/admin/pool#/v1/models",
    "/admin%2fpool",
    "/admin%2Fpool",
    "/%61dmin/pool",
    "/ADMIN/POOL",
    "/admin/pool%00",
    "/admin/pool%20",
    "/admin\\pool",
    "/v1/../admin/pool",
    "/v1/%2e%2e/admin/pool",
    "/v1/%2E%2E/admin/pool",
    "/v1/..%2fadmin/pool",
    "/v1/.%2e/admin/pool",
    "/v1/..;/admin/pool",
    "/v1/models/../../admin/pool",
    "/v1/models/..%2f..%2fadmin%2fpool",
    "/v1/models/%252e%252e/admin/pool",
    "/hf/../admin/pool",
    "/health/../admin/pool",
    "/live/%2e%2e/admin/pool",
    "/live/..;/admin/pool",
    "/ready//../admin/pool",
    "http://gateway/admin/pool",
    "http://gateway/v1/../admin/pool",
    "http://elsewhere/admin/pool",
    "http://gateway:80@elsewhere/admin/pool",
    "HTTP://gateway/admin/pool",
    "https://gateway/admin/pool",
    "ftp://gateway/admin/pool",
    "//gateway/admin/pool",
    "http:///admin/pool",
    "http://gateway/live/../admin/pool",
)
_CLIENT: Final = (
    "/v1/models",
    "//v1/models",
    "/v1//models",
    "/v1%2fmodels",
    "/v1%2Fmodels",
    "/v1/models/",
    "/%761/models",
    "/V1/models",
    "/live/../v1/models",
    "/health/%2e%2e/v1/models",
    "/hf//v1/models",
    "/hf/hf/v1/models",
    "/hf/../v1/models",
    "/v1/./models",
    "/v1/models?key=x",
    "/v1/models%3fkey=x",
    "/v1/models#live",
    "http://gateway/v1/models",
    "ftp://gateway/v1/models",
    "http://gateway/live/../v1/models",
)
_NOTHING: Final = (
    "*",
    "/",
    "/..",
    "/../../etc/passwd",
    "/v1",
    "/v1/",
    "/admin",
    "/admin/",
    "/live/",
    "/live/admin",
    "//live",
    "/health/x",
    "http://gateway",
    "gateway",
    "gateway:443",
    "?",
    "/hf/admin/pool",
    "/hf/live",
    "/hf/health",
)

TARGETS: Final = (
    *(Target(text, Opens.ADMIN) for text in _ADMIN),
    *(Target(text, Opens.CLIENT) for text in _CLIENT),
    *(Target(text, Opens.NOBODY) for text in _NOTHING),
    Target("*", Opens.NOBODY, method="OPTIONS"),
    Target("gateway:443", Opens.NOBODY, method="CONNECT"),
    Target("/admin/pool", Opens.NOBODY, method="CONNECT"),
)
