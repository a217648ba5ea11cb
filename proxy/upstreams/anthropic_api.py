"""Anthropic's own API, or anything that speaks it, with an API key.

Source: the Messages and errors pages of Anthropic's API documentation.
"""

from typing import Final

from multidict import CIMultiDict
from yarl import URL

from proxy.credentials import Credential
from proxy.exchange import Operation
from proxy.pool import Fault
from proxy.settings import Policy
from proxy.upstreams.base import UpstreamCall, UpstreamFault
from proxy.upstreams.http import Posting, WaysOut
from proxy.upstreams.refusing import refusal
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch

_PATHS: Final = {
    Operation.MESSAGES: "v1/messages",
    Operation.COUNT_TOKENS: "v1/messages/count_tokens",
}
_POSTINGS_MAX: Final = 256


class AnthropicApi:
    """All credentials of kind ``anthropic``."""

    dialect = "anthropic"

    def __init__(self, ways_out: WaysOut, policy: Policy) -> None:
        self._ways_out = ways_out
        self._policy = policy
        self._postings: dict[tuple[str, Operation, str, str | None], tuple[Credential, Posting]] = {}

    async def open(
        self, call: UpstreamCall, credential: Credential, watch: Watch, limit_s: float
    ) -> HttpReply:
        """See `Upstream.open`."""
        reply = await self._posting(credential, call).send(call.body, watch, limit_s)
        if reply.status == 200 and reply.plain:
            return reply
        if reply.status < 300:
            reply.close()
            raise UpstreamFault(Fault.GARBAGE)
        raise await refusal(reply, watch, limit_s)

    async def forget(self, credential: Credential) -> None:
        """See `Upstream.forget`."""
        for place, (owner, _) in tuple(self._postings.items()):
            if (owner.name, owner.secret) == (credential.name, credential.secret):
                del self._postings[place]

    async def close(self) -> None:
        """The ways out belong to whoever made them."""

    def _posting(self, credential: Credential, call: UpstreamCall) -> Posting:
        place = (credential.name, call.operation, call.version, call.beta)
        made_for, posting = self._postings.get(place, (None, None))
        if posting is None or made_for is not credential:
            if len(self._postings) >= _POSTINGS_MAX:
                # versions and betas come from clients: what they make us remember has to have an end
                self._postings.clear()
            posting = self._make_posting(credential, call)
            self._postings[place] = (credential, posting)
        return posting

    def _make_posting(self, credential: Credential, call: UpstreamCall) -> Posting:
        key = credential.secret.reveal() if credential.secret is not None else ""
        headers = CIMultiDict(
            {"content-type": "application/json", "anthropic-version": call.version, "x-api-key": key}
        )
        if call.beta is not None:
            headers["anthropic-beta"] = call.beta
        url = URL(f"{credential.base_url.rstrip('/')}/{_PATHS[call.operation]}")
        return self._ways_out.via(credential.way_out).posting(url, headers)
