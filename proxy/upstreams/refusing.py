"""Errors of Anthropic's API, and of whatever speaks as it does, in terms that can be classified."""

from typing import Final

from proxy.credentials import Kind
from proxy.dialects.anthropic import decode_error
from proxy.pool import LIMIT_HEADERS, UpstreamError
from proxy.upstreams.base import UpstreamRefused
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch

_TELLING_HEADERS: Final = (
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "cf-mitigated",
    "location",
    "date",
    *LIMIT_HEADERS,
)
_HTML_TYPES: Final = ("text/html", "application/xhtml+xml")


async def refusal(
    reply: HttpReply, watch: Watch, limit_s: float, kind: Kind = Kind.ANTHROPIC
) -> UpstreamRefused:
    """What an answer other than success means, in terms that can be classified; the reply is closed."""
    try:
        body = await reply.read_error(watch, limit_s) if reply.plain else b""
    finally:
        reply.close()
    facts = decode_error(body)
    headers = reply.headers
    error = UpstreamError(
        status=reply.status,
        type=facts.type,
        message=facts.message,
        code=facts.code,
        details=facts.details,
        headers={name: headers[name] for name in _TELLING_HEADERS if name in headers},
        kind=kind,
        html=reply.content_type in _HTML_TYPES,
    )
    return UpstreamRefused(error, reply.source)
