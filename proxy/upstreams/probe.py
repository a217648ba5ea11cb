"""Whether a credential works, found out by a question that costs nothing and changes nothing.

Sources: "List Models" in Anthropic's and in OpenAI's API reference.
"""

import asyncio
from typing import Final, NamedTuple, assert_never

import msgspec
from multidict import CIMultiDict
from yarl import URL

from proxy.credentials import Credential, Kind
from proxy.pool import Fault
from proxy.upstreams.base import UpstreamFault
from proxy.upstreams.claude_code.program import find_program
from proxy.upstreams.claude_web.session import WebSession
from proxy.upstreams.http import WaysOut
from proxy.upstreams.refusing import refusal
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch

_VERSION: Final = "2023-06-01"
_PAGE: Final = {"limit": "1000"}


class Probed(NamedTuple):
    """What a credential that works has told.

    Attributes:
        organization: it belongs to, where the answer says so.
        models: ids of those it was said to have; None where that was not asked.
        program: version of the Claude Code program, for the kind that needs one.
    """

    organization: str | None = None
    models: tuple[str, ...] | None = None
    program: str | None = None


class _Listed(msgspec.Struct):
    id: str


class _Page(msgspec.Struct):
    data: list[_Listed]


class Probe:
    """Asks credentials of every kind, each its own question.

    Args:
        ways_out: the network paths.
        limit_s: seconds one answer may take.
    """

    def __init__(self, ways_out: WaysOut, limit_s: float) -> None:
        self._ways_out = ways_out
        self._limit_s = limit_s

    async def ask(self, credential: Credential) -> Probed:
        """Ask one. Raises UpstreamRefused and UpstreamFault; Unusable for a program that cannot be run."""
        match credential.kind:
            case Kind.ANTHROPIC:
                return await self._models(credential, "v1/models", _anthropic_headers(credential), _PAGE)
            case Kind.OPENAI:
                return await self._models(credential, "models", _openai_headers(credential), {})
            case Kind.CLAUDE_WEB:
                return await self._organization(credential)
            case Kind.CLAUDE_CODE:
                return Probed(program=(await asyncio.to_thread(find_program, credential)).version)
            case _:
                assert_never(credential.kind)

    async def _models(
        self, credential: Credential, path: str, headers: CIMultiDict[str], query: dict[str, str]
    ) -> Probed:
        url = URL(f"{credential.base_url.rstrip('/')}/{path}").with_query(query)
        watch = Watch()
        try:
            way_out = self._ways_out.via(credential.way_out)
            reply = await way_out.request("GET", url, headers, None, watch, self._limit_s)
            if reply.status >= 300:
                raise await refusal(reply, watch, self._limit_s, credential.kind)
            page = await self._page(reply, watch)
        finally:
            watch.close()
        return Probed(reply.source.organization, tuple(model.id for model in page.data))

    async def _page(self, reply: HttpReply, watch: Watch) -> _Page:
        try:
            if reply.status != 200 or not reply.plain:
                raise UpstreamFault(Fault.GARBAGE)
            return msgspec.json.decode(await reply.read_all(watch, self._limit_s), type=_Page)
        except (ValueError, RecursionError):
            raise UpstreamFault(Fault.GARBAGE) from None
        finally:
            reply.close()

    async def _organization(self, credential: Credential) -> Probed:
        session = WebSession(credential, self._ways_out.via(credential.way_out))
        watch = Watch()
        try:
            return Probed((await session.organization(watch, self._limit_s)).uuid)
        finally:
            watch.close()
            await session.close()


def _anthropic_headers(credential: Credential) -> CIMultiDict[str]:
    key = credential.secret.reveal() if credential.secret is not None else ""
    return CIMultiDict({"anthropic-version": _VERSION, "x-api-key": key})


def _openai_headers(credential: Credential) -> CIMultiDict[str]:
    if credential.secret is None:
        return CIMultiDict()
    return CIMultiDict({"authorization": f"Bearer {credential.secret.reveal()}"})
