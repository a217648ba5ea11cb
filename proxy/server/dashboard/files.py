"""The files of the dashboard, read once at the start, and the headers that keep everything else off its pages."""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

from aiohttp import web
from aiohttp.hdrs import IF_NONE_MATCH

from proxy.errors import NotFound
from proxy.server.context import CALLER
from proxy.server.gate import identity_headers
from proxy.server.routes import OPENAI_CHAT

SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""On every page and file of the dashboard. Nothing is loaded from elsewhere, and no script stands in a page."""

_PACKAGE: Final = "proxy.server.dashboard"
_FOLDERS: Final = ("static", "vendor")
_TYPES: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "LICENSE": "text/plain",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Attributes:
        body: its bytes.
        content_type: without a charset; they are all UTF-8.
        etag: of its bytes, in quotes.
    """

    body: bytes
    content_type: str
    etag: str


def load_files() -> dict[str, File]:
    """All of them, by name."""
    found = {}
    for folder in _FOLDERS:
        for entry in resources.files(_PACKAGE).joinpath(folder).iterdir():
            if (content_type := _TYPES.get(entry.name.rpartition(".")[2])) is not None:
                body = entry.read_bytes()
                found[entry.name] = File(
                    body, content_type, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
                )
    return found


FILES: Final = load_files()


def page_headers(request: web.Request) -> dict[str, str]:
    """What every answer carries, and what protects a page."""
    return {
        **request[CALLER].services.common_headers,
        **identity_headers(OPENAI_CHAT, request[CALLER].request_id),
        **SECURITY_HEADERS,
    }


def file_response(request: web.Request, name: str) -> web.Response:
    """A file, or that the browser has it already; it asks each time. Raises NotFound."""
    file = FILES.get(name)
    if file is None:
        raise NotFound("The dashboard has no such file.")
    headers = {**page_headers(request), "cache-control": "no-cache", "etag": file.etag}
    if request.headers.get(IF_NONE_MATCH) == file.etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)
