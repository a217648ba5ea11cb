"""claude.ai's calls by name, and the cookies that go to and fro with them.

The site has no published API; the paths are those its public clients of 2025 and 2026 use.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias
from uuid import UUID

WebCall: TypeAlias = Literal[
    "organizations",
    "bootstrap",
    "account",
    "create",
    "settings",
    "complete",
    "history",
    "delete",
    "upload",
    "convert_document",
    "usage",
]
SESSION_COOKIE: Final = "sessionKey"
ACTIVITY_COOKIE: Final = "activitySessionId"
_EDGE_COOKIE: Final = "__cf_bm"
_MONTH_S: Final = 28 * 24 * 3600

_ORGANIZATION: Final = "/api/organizations/(?P<organization>[^/]+)"
_CONVERSATION: Final = f"{_ORGANIZATION}/chat_conversations/(?P<conversation>[^/]+)"
_PATHS: Final[tuple[tuple[WebCall, str, str], ...]] = (
    ("organizations", "GET", "/api/organizations"),
    ("bootstrap", "GET", "/api/bootstrap"),
    ("account", "PUT", "/api/account"),
    ("create", "POST", f"{_ORGANIZATION}/chat_conversations"),
    ("settings", "PUT", _CONVERSATION),
    ("complete", "POST", f"{_CONVERSATION}/completion"),
    ("history", "GET", _CONVERSATION),
    ("delete", "DELETE", _CONVERSATION),
    ("upload", "POST", f"{_ORGANIZATION}/conversations/(?P<conversation>[^/]+)/wiggle/upload-file"),
    ("upload", "POST", "/api/(?P<organization>[^/]+)/upload"),
    ("convert_document", "POST", f"{_ORGANIZATION}/convert_document"),
    ("convert_document", "POST", "/api/(?P<organization>[^/]+)/convert_document"),
    ("usage", "GET", f"{_ORGANIZATION}/usage"),
)
_PATTERNS: Final = tuple((call, method, re.compile(pattern)) for call, method, pattern in _PATHS)


def call_of(method: str, path: str) -> WebCall | None:
    """Which of the site's calls a request is; None for those of the API."""
    if not path.startswith("/api/"):
        return None
    return next(
        (call for call, verb, pattern in _PATTERNS if verb == method and pattern.fullmatch(path)), None
    )


def place_of(method: str, path: str) -> tuple[str, str]:
    """The organization and the conversation a call is about; empty where it names none."""
    for _, verb, pattern in _PATTERNS:
        if verb == method and (found := pattern.fullmatch(path)):
            groups = found.groupdict()
            return groups.get("organization") or "", groups.get("conversation") or ""
    return "", ""


def cookies_in(header: str) -> Iterator[tuple[str, str]]:
    """The pairs of a ``cookie`` header."""
    for part in header.split(";"):
        name, equals, value = part.strip().partition("=")
        if equals:
            yield name, value


def session_key(header: str) -> str:
    """The session a ``cookie`` header brings; empty where it brings none."""
    return next((value for name, value in cookies_in(header) if name == SESSION_COOKIE), "")


def activity_id(key: str) -> str:
    """What the site calls the visits of one session."""
    return made_up_uuid(f"activity {key}")


def made_up_uuid(seed: str) -> str:
    """A UUID of version 4, the same for the same seed."""
    return str(UUID(bytes=hashlib.blake2b(seed.encode(), digest_size=16).digest(), version=4))


def set_cookies(key: str) -> list[tuple[str, str]]:
    """What every answer to a session sets: its renewed key, its visits, and the mark of the network in front.

    The site also marks them ``Secure``; here there is no TLS, so that a client would never send them back.
    """
    if not key:
        return []
    edge = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return [
        ("set-cookie", f"{SESSION_COOKIE}={key}; Path=/; Max-Age={_MONTH_S}; HttpOnly; SameSite=Lax"),
        ("set-cookie", f"{ACTIVITY_COOKIE}={activity_id(key)}; Path=/; Max-Age=3600; SameSite=Lax"),
        ("set-cookie", f"{_EDGE_COOKIE}={edge}; Path=/; Max-Age=1800; HttpOnly; SameSite=None"),
    ]
