"""The address a child speaks to instead of Anthropic's: on this machine alone, and one request a turn.

The child knows no key. Its request gets here the fields it has no option for, and the key; a second request in the
same turn, which the program makes by itself after some answers, is refused. Source of what it sends: "LLM gateway
configuration" in Claude Code's documentation.
"""

import asyncio
from secrets import token_urlsafe
from typing import Final

from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from proxy.credentials import Credential, Kind
from proxy.dialects.anthropic import StreamTap
from proxy.dialects.common import StreamBroken
from proxy.errors import InvalidRequest
from proxy.pool import Fault
from proxy.settings import Policy
from proxy.upstreams.base import UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.turn import Ended, Turn
from proxy.upstreams.http import WaysOut
from proxy.upstreams.refusing import refusal
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch

_HOST: Final = "127.0.0.1"
_MESSAGES: Final = "v1/messages"
_BODY_MAX_BYTES: Final = 64 * 1024 * 1024
_PASSED: Final = ("user-agent", "accept", "x-app", "x-claude-code-session-id", "content-type")
_PASSED_PREFIXES: Final = ("anthropic-", "x-stainless-")
_API_KEY: Final = "sk-ant-api"
# of all statuses the program takes this one for final: it neither repeats nor repairs the request
_FINAL: Final = 403
_REFUSED: Final = (
    b'{"type":"error","error":{"type":"permission_error","message":"The upstream gave no answer."}}'
)
_ONE_ONLY: Final = (
    b'{"type":"error","error":{"type":"invalid_request_error","message":"One request a turn is passed on."}}'
)


class Door:
    """The way of one child through the listener.

    Attributes:
        credential: whose key is put on.
        address: what the child is told; nobody else can guess it.
        turn: what passes now; None between turns.
    """

    def __init__(self, credential: Credential, address: str) -> None:
        self.credential = credential
        self.address = address
        self.turn: Turn | None = None


class Listener:
    """All doors, on one port that the system chooses."""

    def __init__(self, ways_out: WaysOut, policy: Policy) -> None:
        self._ways_out = ways_out
        self._policy = policy
        self._doors: dict[str, Door] = {}
        self._runner: web.AppRunner | None = None
        self._address = ""
        self._starting = asyncio.Lock()

    async def door(self, credential: Credential) -> Door:
        """A new door; the first one opens the port. Raises OSError."""
        async with self._starting:
            if self._runner is None:
                self._runner = await self._listen()
        token = token_urlsafe(32)
        door = self._doors[token] = Door(credential, f"{self._address}/{token}")
        return door

    def shut(self, door: Door) -> None:
        """Let nothing pass there any more."""
        self._doors.pop(door.address.rpartition("/")[2], None)
        if door.turn is not None:
            door.turn.abort()

    async def close(self) -> None:
        """Close the port."""
        self._doors.clear()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _listen(self) -> web.AppRunner:
        app = web.Application(client_max_size=_BODY_MAX_BYTES)
        app.router.add_post("/{token}/v1/messages", self._message)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, _HOST, 0)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._address = f"http://{_HOST}:{runner.addresses[0][1]}"
        return runner

    async def _message(self, request: web.Request) -> web.StreamResponse:
        door = self._doors.get(request.match_info["token"])
        if door is None:
            return web.Response(status=404)
        turn = door.turn
        if turn is None or not turn.begin():
            return web.Response(status=400, body=_ONE_ONLY, content_type="application/json")
        watch = Watch()
        try:
            reply = await self._asked(request, door.credential, turn, watch)
            return await self._answered(request, reply, turn)
        except UpstreamRefused as refused:
            turn.refuse(refused)
        except UpstreamFault as fault:
            turn.fail(fault.fault)
        except InvalidRequest:
            turn.fail(Fault.GARBAGE)
        finally:
            watch.close()
        return web.Response(status=_FINAL, body=_REFUSED, content_type="application/json")

    async def _asked(
        self, request: web.Request, credential: Credential, turn: Turn, watch: Watch
    ) -> HttpReply:
        """Send the child's request on, with the key; gives the answer if it is a success."""
        body = turn.edits.apply(await request.read(), turn.tools)
        limit_s = self._policy.first_event_timeout_s
        url = URL(f"{credential.base_url.rstrip('/')}/{_MESSAGES}").with_query(request.query)
        way_out = self._ways_out.via(credential.way_out)
        reply = await way_out.request("POST", url, _headers(request, credential), body, watch, limit_s)
        if reply.status == 200 and reply.plain:
            return reply
        if reply.status < 300:
            reply.close()
            raise UpstreamFault(Fault.GARBAGE)
        raise await refusal(reply, watch, limit_s, Kind.CLAUDE_CODE)

    async def _answered(self, request: web.Request, reply: HttpReply, turn: Turn) -> web.StreamResponse:
        """Pass the answer on, whole events at a time, reading what it used on its way."""
        tap, tools = StreamTap(self._policy.event_max_bytes), turn.tools
        turn.answer(reply, tap.observed)
        if tools is not None:
            tools.hold()
        response = web.StreamResponse(headers={"content-type": reply.content_type or "text/event-stream"})
        try:
            await response.prepare(request)
            while chunk := await reply.read():
                if whole := tap.feed(chunk):
                    await turn.pass_on(whole)
                    await response.write(whole if tools is None else tools.to_program(whole))
                if tap.observed.error is not None:
                    turn.end(Ended(failed=True))
                    break
            if not tap.observed.complete and tap.observed.error is None:
                turn.fail(Fault.TRUNCATED if tap.observed.started else Fault.EMPTY_STREAM)
        except UpstreamFault as fault:
            turn.fail(fault.fault)
        except StreamBroken:
            turn.fail(Fault.BROKEN_STREAM)
        finally:
            reply.close()
        if turn.broken and request.transport is not None:
            # a break without the end of the body: the program must not take what it has for whole
            request.transport.close()
        return response


def _headers(request: web.Request, credential: Credential) -> CIMultiDict[str]:
    """What the program says of itself, and the key: an API key of Anthropic's as one, any other token as a bearer's."""
    headers = CIMultiDict(
        (name.lower(), value)
        for name, value in request.headers.items()
        if name.lower() in _PASSED or name.lower().startswith(_PASSED_PREFIXES)
    )
    key = credential.secret.reveal() if credential.secret is not None else ""
    if key.startswith(_API_KEY):
        headers["x-api-key"] = key
    else:
        headers["authorization"] = f"Bearer {key}"
    return headers
