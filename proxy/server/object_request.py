"""One client request about files or batches: whose it is, what it asks upstream, and how it is answered."""

import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from proxy.access import Grant, LimitReached, presented_key
from proxy.access.clients import ANONYMOUS
from proxy.dispatch.batch_usage import BatchUsage
from proxy.dispatch.objects import Asked, ObjectOpened
from proxy.dispatch.ownership import Held, shown
from proxy.dispatch.trace import SUCCESS, Trace
from proxy.errors import ErrorKind, GatewayError, NotFound
from proxy.exchange import Operation
from proxy.model.message import Usage
from proxy.pool import Abandoned, Failed, Fault, Outcome, Success, classify_fault
from proxy.secrets import Secret
from proxy.server.context import CALLER, Caller, Services
from proxy.server.ended import NAME_MAX, Ended
from proxy.server.gate import error_response, identity_headers
from proxy.server.headers import BETA, VERSION, attempt_headers, forwardable
from proxy.server.limiting import admitted_object
from proxy.server.routes import ANTHROPIC, Handler
from proxy.server.taking import taking_of
from proxy.upstreams.anthropic_objects import ObjectCall
from proxy.upstreams.base import UpstreamFault
from proxy.watch import Watch

_DEFAULT_VERSION: Final = "2023-06-01"
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")
_BYTES: Final = "application/octet-stream"
_NOUNS: Final = {Operation.FILES: "File", Operation.BATCHES: "Message batch"}
# what a client once uploaded must never run in a browser, whoever opens its address there
_HARMLESS: Final = {
    "content-disposition": "attachment",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}

Work = Callable[["ObjectRequest"], Awaitable[web.StreamResponse]]


def object_handler(kind: Operation, work: Work) -> Handler:
    """The handler of one endpoint, whose work raises GatewayError for what it cannot do."""

    async def handle(request: web.Request) -> web.StreamResponse:
        asked = ObjectRequest(request, kind)
        try:
            return await asked.answered(work)
        finally:
            asked.close()

    return handle


def tenant_of(request: web.Request, caller: Caller) -> str:
    """Whose objects a caller sees: those of the key it presents, under a name that tells nothing of the key."""
    presented = presented_key(request.headers)
    if presented is None or caller.client == ANONYMOUS.name:
        return ANONYMOUS.name
    return Secret(presented).fingerprint(caller.services.keys.secret_key, "owner of objects")


class ObjectRequest:
    """One such request.

    Attributes:
        request: as it came.
        services: what handlers share.
        kind: files or batches.
        tenant: whose objects it may see.
        trace: what it went through.
        watch: its time limits.
        tokens: what it counts for where tokens are limited.
        uncertain: whether what it wanted may have been done, and nobody was there to hear of it.
    """

    def __init__(self, request: web.Request, kind: Operation) -> None:
        caller = request[CALLER]
        self.request = request
        self.services: Services = caller.services
        self.kind = kind
        self.tenant = tenant_of(request, caller)
        self.trace = Trace()
        self.watch = Watch(request.task)
        self.tokens = 0
        self.uncertain = False
        self._caller = caller
        self._grant: Grant | None = None
        self._status = 499
        self._began_s = self.services.clock.monotonic_s()

    async def answered(self, work: Work) -> web.StreamResponse:
        """Do the work, or tell the client in its dialect why not."""
        try:
            await self._admit()
            response = await work(self)
        except GatewayError as error:
            response = error_response(error, ANTHROPIC, self._caller, self.services)
            if self.trace.attempts:
                attempt_headers(response.headers, self.trace)
            if self._grant is not None:
                response.headers.update(self._grant.headers)
            elif isinstance(error, LimitReached):
                response.headers.update(error.headers)
        except (ConnectionResetError, BrokenPipeError):
            raise
        except Exception:
            self._status = 500
            raise
        self._status = response.status
        return response

    def close(self) -> None:
        """Close the books: one log line for the request, and its place among the last ones."""
        self.watch.close()
        if self._grant is not None:
            self._grant.settle("", Usage(input_tokens=self.tokens), partial=self.uncertain)
        services = self.services
        ended = Ended(
            id=self._caller.request_id,
            client=self._caller.client,
            path=self.request.path[:NAME_MAX],
            status=self._status,
            asked="",
            model="",
            stream=None,
            free=True,
            began_s=self._began_s,
            ended_s=services.clock.monotonic_s(),
            ended_unix_ms=services.clock.unix_ms(),
            trace=self.trace,
        )
        services.traces.keep(ended)
        services.record(ended)

    async def _admit(self) -> None:
        """Hold the request to its client's rules. Raises GatewayError."""
        if (rules := self._caller.rules) is not None:
            # a batch is made by the one POST that names none
            unnamed = "id" not in self.request.match_info
            makes_batch = self.kind is Operation.BATCHES and self.request.method == "POST" and unnamed
            batch_bytes = (self.request.content_length or 0) if makes_batch else None
            leave = admitted_object(self._caller, rules, batch_bytes=batch_bytes)
            self._grant = leave if isinstance(leave, Grant) else await leave.confirmed()

    def call(
        self,
        method: str,
        id: str = "",  # noqa: A002 - the wire's own word
        part: str = "",
        query: tuple[tuple[str, str], ...] = (),
    ) -> ObjectCall:
        """What goes upstream. Raises InvalidRequest for headers that cannot."""
        headers = self.request.headers
        return ObjectCall(
            operation=self.kind,
            method=method,
            id=id,
            part=part,
            query=query,
            version=forwardable(headers.get(VERSION), VERSION) or _DEFAULT_VERSION,
            beta=forwardable(", ".join(headers.getall(BETA, ())) or None, BETA),
        )

    def asked(self, call: ObjectCall, owner: str | None) -> Asked:
        """The same, from this client and for one credential; for any where `owner` is None."""
        rules = self._caller.rules
        only = rules.credentials if rules is not None else frozenset[str]()
        return Asked(call=call, client=self._caller.client, owner=owner, only=only)

    async def named(self) -> Held:
        """The client's object the address names. Raises GatewayError, also where its credential is gone."""
        return await self.held_object(self.request.match_info["id"])

    async def held_object(self, wanted: str) -> Held:
        """The client's object of this id. Raises GatewayError, also where its credential is gone."""
        held = (await self.services.ownership.held(self.tenant, self.kind, [wanted])).get(wanted)
        if held is None:
            raise self.not_found(wanted)
        if held.credential is None:
            raise GatewayError(
                503,
                ErrorKind.API,
                "The credential that holds this is in use no more.",
                code="no_usable_credential",
                should_retry=False,
            )
        return held

    def not_found(self, wanted: str, param: str = "id") -> NotFound:
        """There is no such object of this client, whoever else may have one."""
        return NotFound(f"{_NOUNS[self.kind]} not found: {shown(wanted)}", param=param)

    async def open(self, asked: Asked) -> ObjectOpened:
        """Ask upstream. Raises GatewayError."""
        return await self.services.objects.open(asked, self.trace, self.watch)

    async def read(self, asked: Asked) -> bytes:
        """Ask upstream for a JSON answer and read it. Raises GatewayError."""
        opened = await self.open(asked)
        body = await self.services.objects.read(opened, self.trace, self.watch)
        self.trace.outcome = SUCCESS
        return body

    def json(self, body: bytes) -> web.Response:
        """A JSON answer; never to be kept by a cache."""
        headers = {**self._headers(), "cache-control": "no-store", "content-type": "application/json"}
        return web.Response(body=body, headers=headers)

    def usage_of(self, held: Held) -> BatchUsage:
        """The sums of a batch whose results are to pass."""
        ledger = self.services.bookkeeper.ledger
        return BatchUsage(ledger, self._caller.client, held.credential or "")

    async def streamed(self, opened: ObjectOpened, usage: BatchUsage | None = None) -> web.StreamResponse:
        """Pass an answer on as it comes, as something to be saved. One that breaks off is broken off here too.

        `usage` is counted once all of it has passed, unless somebody else has counted it meanwhile.
        """
        reply = opened.reply
        headers = CIMultiDict(
            {**self._headers(), **_HARMLESS, "content-type": _media_type(reply.content_type)}
        )
        if (length := reply.headers.get("content-length")) is not None and length.isdigit():
            headers["content-length"] = length
        response = web.StreamResponse(headers=headers)
        outcome: Outcome = Abandoned()
        try:
            await response.prepare(self.request)
            if self.request.method != "HEAD":
                await self._relay(opened, response, usage)
                if usage is not None and await self._may_count():
                    usage.count()
                await response.write_eof()
            outcome = Success()
            self.trace.outcome = SUCCESS
        except UpstreamFault as fault:
            outcome = Failed(classify_fault(fault.fault))
            self.trace.outcome = fault.fault.value
            self._break_off()
        except TimeoutError:
            self._break_off()
        finally:
            self.services.objects.end(opened, outcome)
        return response

    async def _may_count(self) -> bool:
        wanted = self.request.match_info["id"]
        return await self.services.ownership.count_usage(self.tenant, self.kind, wanted)

    async def _relay(
        self, opened: ObjectOpened, response: web.StreamResponse, usage: BatchUsage | None
    ) -> None:
        """Raises UpstreamFault for an upstream that breaks off or stands still, TimeoutError for a client that does."""
        policy, within, reply = self.services.settings.policy, self.watch.within, opened.reply
        taking = taking_of(self.request, policy)
        while True:
            try:
                piece = await within(policy.idle_timeout_s, reply.read())
            except TimeoutError:
                raise UpstreamFault(Fault.STALLED) from None
            if not piece:
                return
            if usage is not None:
                usage.feed(piece)
            await within(taking.look_after_s, response.write(piece), taking)

    def _break_off(self) -> None:
        if (transport := self.request.transport) is not None:
            transport.abort()

    def _headers(self) -> dict[str, str]:
        headers = {**self.services.common_headers, **identity_headers(ANTHROPIC, self._caller.request_id)}
        if self._grant is not None:
            headers.update(self._grant.headers)
        if self.trace.attempts:
            attempt_headers(headers, self.trace)
        return headers


def _media_type(value: str) -> str:
    return value if _MEDIA_TYPE.fullmatch(value) else _BYTES
