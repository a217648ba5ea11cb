"""Any API that speaks OpenAI's Chat Completions, with an API key or without.

Source: "Create chat completion" and "Error codes" in OpenAI's API reference.
"""

from typing import Final

from multidict import CIMultiDict
from yarl import URL

from proxy.credentials import Credential, Kind
from proxy.dialects.openai_chat.upstream import decode_error
from proxy.pool import Fault, UpstreamError
from proxy.settings import Policy
from proxy.upstreams.base import Source, UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.upstreams.http import Posting, WaysOut
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch

_PATH: Final = "chat/completions"
_TELLING_HEADERS: Final = (
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "cf-mitigated",
    "location",
    "date",
)
_HTML_TYPES: Final = ("text/html", "application/xhtml+xml")


class OpenAIApi:
    """All credentials of kind ``openai``."""

    dialect = "openai_chat"

    def __init__(self, ways_out: WaysOut, policy: Policy) -> None:
        self._ways_out = ways_out
        self._policy = policy
        self._postings: dict[str, tuple[Credential, Posting]] = {}

    async def open(
        self, call: UpstreamCall, credential: Credential, watch: Watch, limit_s: float
    ) -> HttpReply:
        """See `Upstream.open`."""
        reply = await self._posting(credential).send(call.body, watch, limit_s, call.traceparent)
        # whose it is would be Anthropic's word; no other API's answer says anything about organizations there
        reply.source = Source(reply.headers.get("x-request-id"))
        if reply.status == 200 and reply.plain:
            return reply
        try:
            if reply.status < 300:
                raise UpstreamFault(Fault.GARBAGE)
            body = await reply.read_error(watch, limit_s) if reply.plain else b""
        finally:
            reply.close()
        raise UpstreamRefused(_error(reply, body), reply.source)

    async def forget(self, credential: Credential) -> None:
        """See `Upstream.forget`."""
        owner, _ = self._postings.get(credential.name, (None, None))
        if owner is not None and owner.secret == credential.secret:
            del self._postings[credential.name]

    async def close(self) -> None:
        """The ways out belong to whoever made them."""

    def _posting(self, credential: Credential) -> Posting:
        made_for, posting = self._postings.get(credential.name, (None, None))
        if posting is None or made_for is not credential:
            posting = self._make_posting(credential)
            self._postings[credential.name] = (credential, posting)
        return posting

    def _make_posting(self, credential: Credential) -> Posting:
        headers = CIMultiDict({"content-type": "application/json"})
        if credential.secret is not None:
            headers["authorization"] = f"Bearer {credential.secret.reveal()}"
        url = URL(f"{credential.base_url.rstrip('/')}/{_PATH}")
        return self._ways_out.via(credential.way_out).posting(url, headers)


def _error(reply: HttpReply, body: bytes) -> UpstreamError:
    facts = decode_error(body)
    headers = reply.headers
    return UpstreamError(
        status=reply.status,
        type=facts.type,
        message=facts.message,
        code=facts.code,
        param=facts.param,
        headers={name: headers[name] for name in _TELLING_HEADERS if name in headers},
        kind=Kind.OPENAI,
        html=reply.content_type in _HTML_TYPES,
    )
