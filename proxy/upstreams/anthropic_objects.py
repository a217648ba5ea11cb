"""Files and batches of Anthropic's API: what a key owns there, asked for beside Messages.

Source: the Files and Message Batches pages of Anthropic's API documentation.
"""

from collections.abc import AsyncIterator
from typing import Final

import msgspec
from multidict import CIMultiDict
from yarl import URL

from proxy.credentials import Credential
from proxy.exchange import Operation
from proxy.pool import Fault
from proxy.upstreams.base import UpstreamFault
from proxy.upstreams.http import WaysOut
from proxy.upstreams.refusing import refusal
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch

PATHS: Final = {Operation.FILES: "v1/files", Operation.BATCHES: "v1/messages/batches"}


class ObjectCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request about objects of a credential.

    Attributes:
        operation: files or batches.
        method: of HTTP.
        id: of the object; empty for all of them. Made of letters, digits, ``-`` and ``_`` alone.
        part: what of it (``content``, ``results``, ``cancel``); empty for the object itself.
        query: parameters, in order.
        version: ``anthropic-version``.
        beta: ``anthropic-beta``, or None.
        content_type: of the body, where there is one.
        content_length: of the body in bytes; None where it is not known before its end.
    """

    operation: Operation
    method: str
    id: str = ""
    part: str = ""
    query: tuple[tuple[str, str], ...] = ()
    version: str
    beta: str | None = None
    content_type: str | None = None
    content_length: int | None = None

    @property
    def path(self) -> str:
        """Below the address of the API, without a slash at its beginning."""
        return "/".join(word for word in (PATHS[self.operation], self.id, self.part) if word)


class AnthropicObjects:
    """Objects of all credentials of kind ``anthropic``."""

    def __init__(self, ways_out: WaysOut) -> None:
        self._ways_out = ways_out

    async def open(
        self,
        call: ObjectCall,
        credential: Credential,
        watch: Watch,
        limit_s: float,
        body: AsyncIterator[bytes] | None = None,
    ) -> HttpReply:
        """Send the call, its body piece by piece, and read the head of the answer; all within `limit_s` seconds.

        Raises UpstreamRefused for an error answer, UpstreamFault for none.
        """
        url = URL(f"{credential.base_url.rstrip('/')}/{call.path}").with_query(call.query)
        way_out = self._ways_out.via(credential.way_out)
        reply = await way_out.request(call.method, url, _headers(call, credential), body, watch, limit_s)
        if reply.status == 200 and reply.plain:
            return reply
        if reply.status < 300:
            reply.close()
            raise UpstreamFault(Fault.GARBAGE)
        raise await refusal(reply, watch, limit_s)


def _headers(call: ObjectCall, credential: Credential) -> CIMultiDict[str]:
    key = credential.secret.reveal() if credential.secret is not None else ""
    headers = CIMultiDict({"anthropic-version": call.version, "x-api-key": key})
    if call.beta is not None:
        headers["anthropic-beta"] = call.beta
    if call.content_type is not None:
        headers["content-type"] = call.content_type
    if call.content_length is not None:
        headers["content-length"] = str(call.content_length)
    return headers
