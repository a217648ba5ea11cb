"""One claude.ai session: its cookies, its organization, and the calls it makes.

It says honestly who calls, follows no redirect, and takes a challenge for what it is: a stop sign that is reported.
"""

import asyncio
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from proxy.credentials import Credential, Kind
from proxy.dialects.claude_web import (
    Organization,
    Upload,
    WireBroken,
    choose_organization,
    decode_created,
    decode_error,
    decode_organizations,
    decode_uploaded,
    encode_create,
    encode_delete,
)
from proxy.pool import Fault, UpstreamError
from proxy.upstreams.base import Source, UpstreamFault, UpstreamRefused
from proxy.upstreams.http import WayOut
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch

_COOKIE: Final = "sessionKey"
_EXISTS: Final = 409
_TELLING_HEADERS: Final = (
    "retry-after",
    "cf-mitigated",
    "location",
    "date",
    "anthropic-ratelimit-unified-reset",
)
_HTML_TYPES: Final = ("text/html", "application/xhtml+xml")
_JSON: Final = CIMultiDict({"content-type": "application/json"})
_EVENTS: Final = CIMultiDict({"content-type": "application/json", "accept": "text/event-stream"})
_NOTHING: Final[CIMultiDict[str]] = CIMultiDict()


class RefusedAgain(UpstreamRefused):
    """The refusal of a call that was sent a second time: what it asked for may have been done the first time."""


class WebSession:
    """The session of one credential, with a cookie jar of its own on the connections of its way out."""

    def __init__(self, credential: Credential, way_out: WayOut) -> None:
        key = credential.secret.reveal() if credential.secret is not None else ""
        self._base = URL(credential.base_url)
        # An address without a name is taken too: nobody else uses this jar.
        self._jar = aiohttp.CookieJar(unsafe=True)
        self._jar.update_cookies({_COOKIE: key}, self._base)
        self._way_out = way_out.apart(self._jar)
        self._wanted = credential.organization
        self._organization: Organization | None = None
        self._finding = asyncio.Lock()

    async def organization(self, watch: Watch, limit_s: float) -> Organization:
        """The organization to chat in, found once and kept. Raises UpstreamRefused and UpstreamFault."""
        if self._organization is not None:
            return self._organization
        async with self._finding:
            if self._organization is None:
                self._organization = await self._found(watch, limit_s)
        return self._organization

    async def _found(self, watch: Watch, limit_s: float) -> Organization:
        body = await self._whole("GET", "api/organizations", None, watch, limit_s)
        try:
            chosen = choose_organization(decode_organizations(body), self._wanted)
        except WireBroken:
            raise UpstreamFault(Fault.GARBAGE) from None
        if chosen is None:
            raise _refused(403, "permission_error", "The session has no organization that may chat.")
        if chosen.banned:
            raise _refused(403, "permission_error", "The account has been banned.", "banned")
        return chosen

    async def create(
        self,
        organization: str,
        uuid: str,
        *,
        temporary: bool,
        model: str | None,
        watch: Watch,
        limit_s: float,
    ) -> None:
        """Make a conversation. Raises UpstreamRefused and UpstreamFault."""
        path = f"api/organizations/{organization}/chat_conversations"
        asked = encode_create(uuid, temporary=temporary, model=model)
        try:
            body = await self._whole("POST", path, asked, watch, limit_s)
        except RefusedAgain as refused:
            if refused.error.status == _EXISTS:
                return
            raise
        try:
            made = decode_created(body)
        except WireBroken:
            made = ""
        if made != uuid:
            raise UpstreamFault(Fault.GARBAGE)

    async def upload(self, organization: str, upload: Upload, watch: Watch, limit_s: float) -> str:
        """Upload a file; gives its uuid. Raises UpstreamRefused and UpstreamFault."""
        form = aiohttp.FormData()
        form.add_field("file", upload.content, filename=upload.name, content_type=upload.media_type)
        body = await self._whole("POST", f"api/{organization}/upload", form, watch, limit_s)
        try:
            return decode_uploaded(body)
        except WireBroken:
            raise UpstreamFault(Fault.GARBAGE) from None

    async def complete(
        self, organization: str, uuid: str, body: bytes, watch: Watch, limit_s: float
    ) -> HttpReply:
        """Ask in a conversation; gives the answer with its stream unread. Raises UpstreamRefused and UpstreamFault."""
        path = f"api/organizations/{organization}/chat_conversations/{uuid}/completion"
        reply = await self._send("POST", path, body, _EVENTS, watch, limit_s)
        if reply.content_type != "text/event-stream":
            reply.close()
            raise UpstreamFault(Fault.GARBAGE)
        return reply

    async def delete(self, organization: str, uuid: str, watch: Watch, limit_s: float) -> None:
        """Delete a conversation; one that is not there counts as deleted. Raises UpstreamRefused and UpstreamFault."""
        path = f"api/organizations/{organization}/chat_conversations/{uuid}"
        try:
            await self._whole("DELETE", path, encode_delete(uuid), watch, limit_s)
        except UpstreamRefused as refused:
            if refused.error.status != 404:
                raise

    async def close(self) -> None:
        """Forget the cookies; the connections belong to the way out."""
        await self._way_out.close()
        self._jar.clear()

    async def _whole(
        self, method: str, path: str, body: bytes | aiohttp.FormData | None, watch: Watch, limit_s: float
    ) -> bytes:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + limit_s
        headers = _JSON if isinstance(body, bytes) else _NOTHING
        reply = await self._send(method, path, body, headers, watch, limit_s)
        try:
            return await reply.read_all(watch, max(due_s - loop.time(), 0.0))
        finally:
            reply.close()

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | aiohttp.FormData | None,
        headers: CIMultiDict[str],
        watch: Watch,
        limit_s: float,
    ) -> HttpReply:
        """Send a call; gives the answer if it is a success in plain bytes."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + limit_s
        reply = await self._way_out.request(method, self._base / path, headers, body, watch, limit_s)
        if 200 <= reply.status < 300 and reply.plain and reply.content_type not in _HTML_TYPES:
            return reply
        try:
            if reply.status < 300 and not reply.plain:
                raise UpstreamFault(Fault.GARBAGE)
            content = await reply.read_error(watch, max(due_s - loop.time(), 0.0)) if reply.plain else b""
        finally:
            reply.close()
        refused = RefusedAgain if reply.resent else UpstreamRefused
        raise refused(_error(reply, content), reply.source)


def _error(reply: HttpReply, body: bytes) -> UpstreamError:
    facts = decode_error(body)
    html = reply.content_type in _HTML_TYPES
    return UpstreamError(
        # A page in place of an answer is what a challenge looks like, whatever its status.
        status=403 if reply.status < 300 and html else reply.status,
        type=facts.type,
        message=facts.message,
        code=facts.code,
        headers={name: reply.headers[name] for name in _TELLING_HEADERS if name in reply.headers},
        kind=Kind.CLAUDE_WEB,
        html=html,
    )


def _refused(status: int, kind: str, message: str, code: str | None = None) -> UpstreamRefused:
    error = UpstreamError(
        status=status, type=kind, message=message, code=code, headers={}, kind=Kind.CLAUDE_WEB
    )
    return UpstreamRefused(error, Source())
