"""Anthropic's own API, or anything that speaks it, with an API key.

Source: the Messages and errors pages of Anthropic's API documentation.
"""

from typing import Final

from multidict import CIMultiDict
from yarl import URL

from proxy.credentials import Credential, Kind
from proxy.dialects.anthropic import decode_error
from proxy.exchange import Operation
from proxy.pool import LIMIT_HEADERS, Fault, UpstreamError
from proxy.settings import Policy
from proxy.upstreams.base import UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.upstreams.http import HttpReply, WaysOut
from proxy.watch import Watch

_PATHS: Final = {
    Operation.MESSAGES: "v1/messages",
    Operation.COUNT_TOKENS: "v1/messages/count_tokens",
}
_TELLING_HEADERS: Final = (
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "cf-mitigated",
    "location",
    "date",
    *LIMIT_HEADERS,
)
_KNOWN_VERSIONS: Final = ("2023-06-01", "2026-10-21")
_HTML_TYPES: Final = ("text/html", "application/xhtml+xml")


class AnthropicApi:
    """All credentials of kind ``anthropic``."""

    dialect = "anthropic"

    def __init__(self, ways_out: WaysOut, policy: Policy) -> None:
        self._ways_out = ways_out
        self._policy = policy
        self._urls: dict[tuple[str, Operation], URL] = {}
        self._heads: dict[tuple[str, str], tuple[Credential, CIMultiDict[str]]] = {}

    async def open(
        self, call: UpstreamCall, credential: Credential, watch: Watch, limit_s: float
    ) -> HttpReply:
        """See `Upstream.open`."""
        reply = await self._ways_out.via(credential.way_out).post(
            self._url(credential, call.operation), self._head(credential, call), call.body, watch, limit_s
        )
        if reply.status == 200 and reply.plain:
            return reply
        try:
            if reply.status < 300:
                raise UpstreamFault(Fault.GARBAGE)
            body = await reply.read_error(watch, limit_s) if reply.plain else b""
        finally:
            reply.close()
        raise UpstreamRefused(self._error(reply, body), reply.source)

    async def close(self) -> None:
        """The ways out belong to whoever made them."""

    def _url(self, credential: Credential, operation: Operation) -> URL:
        place = (credential.base_url, operation)
        url = self._urls.get(place)
        if url is None:
            url = self._urls[place] = URL(f"{credential.base_url.rstrip('/')}/{_PATHS[operation]}")
        return url

    def _head(self, credential: Credential, call: UpstreamCall) -> CIMultiDict[str]:
        place = (credential.name, call.version)
        made_for, headers = self._heads.get(place, (None, None))
        if headers is None or made_for is not credential:
            key = credential.secret.reveal() if credential.secret is not None else ""
            headers = CIMultiDict(
                {
                    "content-type": "application/json",
                    "anthropic-version": call.version,
                    "x-api-key": key,
                }
            )
            if call.version in _KNOWN_VERSIONS:
                self._heads[place] = (credential, headers)
        if call.beta is None:
            return headers
        with_beta = headers.copy()
        with_beta["anthropic-beta"] = call.beta
        return with_beta

    def _error(self, reply: HttpReply, body: bytes) -> UpstreamError:
        facts = decode_error(body)
        headers = reply.headers
        return UpstreamError(
            status=reply.status,
            type=facts.type,
            message=facts.message,
            code=facts.code,
            headers={name: headers[name] for name in _TELLING_HEADERS if name in headers},
            kind=Kind.ANTHROPIC,
            html=reply.content_type in _HTML_TYPES,
        )
