"""One generic handler for every chat dialect and for counting tokens."""

import asyncio
import math
from collections.abc import Coroutine
from typing import ClassVar, Final

from aiohttp import web
from multidict import istr

from proxy.access import Grant, LimitReached, Reservation, Rules
from proxy.dialects.common import Dialect, Envelope
from proxy.dialects.conversation import short
from proxy.dialects.files import may_name_files, named_files
from proxy.dispatch import answers
from proxy.dispatch.attempt import StreamOpened, UnaryOpened
from proxy.dispatch.cache import AnswerCache
from proxy.dispatch.shared_calls import Caller as SharedCaller
from proxy.dispatch.shared_calls import Seat
from proxy.dispatch.trace import CLIENT_LEFT, MODEL_MAX, SUCCESS, Trace
from proxy.errors import GatewayError
from proxy.exchange import Conversation, Exchange, Operation, turn_of_thread
from proxy.pool import Abandoned, Failed, Outcome, Success, after_commit
from proxy.server.answers import Question, question_of
from proxy.server.body import LARGE_BYTES, looked_at, read_body
from proxy.server.context import CALLER, Caller, Services
from proxy.server.ended import NAME_MAX, Ended
from proxy.server.gate import error_response, identity_headers, internal_error
from proxy.server.headers import BETA, CONVERSATION, VERSION, answer_headers, forwardable
from proxy.server.limiting import admitted, settle
from proxy.server.object_request import tenant_of
from proxy.server.remembering import Part
from proxy.server.respond import ClientStalled, StreamAnswer
from proxy.server.routes import Handler
from proxy.server.whole import WholeAnswer
from proxy.watch import Watch

_CONTENT_TYPE: Final = istr("content-type")
_TRACEPARENT: Final = istr("traceparent")
_CLAUDE_CODE_SESSION: Final = istr("x-claude-code-session-id")
_SESSION: Final = istr("session-id")
_PREPARED_MEANWHILE_BYTES: Final = 16 * 1024
"""What takes longer to prepare than Redis to answer, a client over its limit is not to have done for nothing."""

# every look-up of a member in its class is a call
_MESSAGES: Final = Operation.MESSAGES
_COUNT_TOKENS: Final = Operation.COUNT_TOKENS


class NoHold:
    """The client's side of a unary exchange: it gets nothing before the whole answer is there."""

    committed = False

    def attempt_started(self) -> None:
        """Nothing to tell."""

    def attempt_ended(self) -> None:
        """Nothing to tell."""


_NO_HOLD: Final = NoHold()


def chat_handler(dialect: Dialect, operation: Operation = Operation.MESSAGES) -> Handler:
    """The handler of one dialect's endpoint."""

    async def handle(request: web.Request) -> web.StreamResponse:
        call = ClientCall(request, dialect, operation)
        try:
            return await call.answer()
        finally:
            call.end()

    return handle


class ClientCall:
    """One client call being answered.

    Attributes:
        shares: whether it may have to do with what is kept here: conversations, files, answers.
    """

    shares: ClassVar[bool] = True

    def __init__(self, request: web.Request, dialect: Dialect, operation: Operation) -> None:
        self._request = request
        self._dialect = dialect
        self._operation = operation
        caller = request[CALLER]
        self._services: Services = caller.services
        self._dispatcher = caller.services.dispatcher
        self._caller: Caller = caller
        self._watch = Watch(request.task)
        self._trace = Trace()
        if (tracing := self._services.tracing) is not None:
            self._trace.span = tracing.begun(request.headers.get(_TRACEPARENT))
        self._span = self._trace.span
        self._exchange: Exchange | None = None
        self._grant: Grant | None = None
        self._reservation: Reservation | None = None
        self._part: Part | None = None
        self._status = CLIENT_LEFT
        self._path = request.path[:NAME_MAX]
        self._began_s = self._services.clock.monotonic_s()
        self._shutting_down = False
        self._services.inflight.begins(self)

    async def answer(self) -> web.StreamResponse:
        """Answer the client. Raises only mistakes of ours, and the loss of the connection."""
        services = self._services
        try:
            body = await self._read_body()
            envelope = self._dialect.peek(body) if len(body) < LARGE_BYTES else await self._peeked(body)
            belongs = self.shares and (
                envelope.own_fields or services.conversations.begins or CONVERSATION in self._request.headers
            )
            exchange = self._exchange = (
                await self._joined(body, envelope) if belongs else self._open_exchange(body, envelope)
            )
            if self._caller.rules is not None:
                self._hold_to(self._caller.rules, exchange)
                if exchange.leave is not None and (
                    belongs
                    or len(exchange.body) > _PREPARED_MEANWHILE_BYTES
                    or services.cache is not None
                    or services.ownership.some_files
                ):
                    await exchange.leave()
            del body
            if services.ownership.some_files and may_name_files(exchange.body):
                await self._bind(exchange, exchange.body)
            question = None if services.cache is None else await self._question(exchange, services.cache)
            response = await self._asking(exchange, question)
        except GatewayError as error:
            response = self._refused(await self._told_first(error))
        except asyncio.CancelledError:
            if not self._shutting_down:
                raise
            self._watch.task.uncancel()
            response = self._refused(answers.shutting_down())
        except (ConnectionResetError, BrokenPipeError):
            raise
        except Exception:
            self._status = 500
            raise
        self._status = response.status
        return response

    def _asking(
        self, exchange: Exchange, question: Question | None
    ) -> Coroutine[None, None, web.StreamResponse]:
        """The way to its answer, to be awaited at once."""
        if exchange.stream and exchange.operation is _MESSAGES:
            return self._stream(exchange, question)
        if question is not None:
            return self._read_shared(exchange, question)
        return self._unary(exchange)

    def shut_down(self) -> None:
        """End soon: with an error, or as a stream that has begun with a frame that tells of it."""
        self._shutting_down = True
        self._watch.task.cancel()

    def _read_body(self) -> Coroutine[None, None, bytes]:
        """The request's body, before anything in it is looked at; to be awaited at once."""
        return read_body(self._request, self._services.settings.policy, self._watch)

    def _hold_to(self, rules: Rules, exchange: Exchange) -> None:
        """Begin to hold the exchange to its client's rules. Raises GatewayError."""
        leave = admitted(exchange, self._caller, rules)
        if isinstance(leave, Grant):
            self._grant = leave
        else:
            self._reservation = leave
            exchange.leave = self._await_leave

    async def _await_leave(self) -> None:
        """Wait for what all processes let in. Raises what `Limiter.admit` raises."""
        if (exchange := self._exchange) is not None:
            exchange.leave = None
        if self._reservation is not None:
            self._grant = await self._reservation.confirmed()

    async def _told_first(self, error: GatewayError) -> GatewayError:
        """What the client is told of a failure: why it may not ask now, where it may not, whatever it asked for."""
        if self._exchange is not None and self._exchange.leave is not None:
            try:
                await self._exchange.leave()
            except GatewayError as refusal:
                return refusal
        return error

    def _refused(self, error: GatewayError) -> web.Response:
        response = error_response(error, self._dialect, self._caller, self._services)
        if self._exchange is not None and self._trace.attempts:
            answer_headers(response.headers, self._exchange, self._trace)
        if self._grant is not None:
            response.headers.update(self._grant.headers)
        elif isinstance(error, LimitReached):
            response.headers.update(error.headers)
        return response

    def end(self) -> None:
        """Close the books: what the request was is kept as it is, for who writes it down and who asks for it."""
        self._watch.close()
        self._services.inflight.ends(self)
        if self._part is not None:
            self._part.end(self._exchange, self._trace)
        services, exchange, trace = self._services, self._exchange, self._trace
        # a story that was shared is told under this request's own place
        trace.span = self._span
        ended_unix_ms = services.clock.unix_ms()
        if self._grant is not None and exchange is not None:
            settle(self._grant, exchange, trace, ended_unix_ms)
        elif self._reservation is not None:
            self._reservation.abandon()
        ended = Ended(
            self._caller.request_id,
            self._caller.client,
            self._path,
            self._status,
            exchange.envelope.model[:NAME_MAX] if exchange is not None else "",
            exchange.model[:MODEL_MAX] if exchange is not None else "",
            exchange.stream if exchange is not None else None,
            self._operation is _COUNT_TOKENS,
            self._began_s,
            services.clock.monotonic_s(),
            ended_unix_ms,
            trace,
        )
        services.bookkeeper.ledger.enter(ended)
        services.traces.keep(ended)
        services.record(ended)

    async def _joined(self, body: bytes, envelope: Envelope) -> Exchange:
        """The exchange of a request that may name a conversation or a session, or begin one."""
        part = self._part = Part(self._request, self._dialect, self._operation, self._watch)
        exchange = self._open_exchange(*await part.joined(body, envelope))
        exchange.belongs = part.belonging
        return exchange

    async def _peeked(self, body: bytes) -> Envelope:
        return await looked_at(len(body), lambda: self._dialect.peek(body))

    def _open_exchange(self, body: bytes, envelope: Envelope) -> Exchange:
        services = self._services
        if (deployment := self._request.match_info.get("model")) is not None:
            # clients of Azure's API name the model in the address; what their body says may be anything
            envelope.model = deployment
        model, think = self._resolve(envelope)
        counting = self._operation is _COUNT_TOKENS
        headers = self._request.headers
        return Exchange(
            id=self._caller.request_id,
            operation=self._operation,
            dialect=self._dialect,
            envelope=envelope,
            body=body,
            client=self._caller.client,
            model=model,
            limit_class=_COUNT_TOKENS if counting else services.catalog.limit_class(model),
            started_s=self._began_s,
            deadline_s=self._began_s + services.settings.policy.deadline_s,
            created_s=services.clock.unix_ms() // 1000,
            think=think,
            conversation=self._conversation(envelope),
            version=forwardable(headers.get(VERSION), VERSION),
            beta=forwardable(", ".join(headers.getall(BETA)) or None, BETA) if BETA in headers else None,
        )

    async def _bind(self, exchange: Exchange, body: bytes) -> None:
        """Let nobody answer but who holds the files a request names. Raises GatewayError naming the field."""
        if not self.shares:
            return
        files = await looked_at(len(body), lambda: named_files(body))
        exchange.files = {}
        if files:
            tenant = tenant_of(self._request, self._caller)
            bound = await self._services.ownership.holder(tenant, files)
            exchange.owner, exchange.files = bound.credential, bound.media_types

    def _conversation(self, envelope: Envelope) -> Conversation:
        """What tells it from others; turns of a thread hold nothing of how it began, only whom they follow."""
        if envelope.thread:
            return turn_of_thread(self._caller.client, envelope.thread)
        name = envelope.conversation or self._session(envelope)
        return self._caller.client, name, envelope.opening

    def _session(self, envelope: Envelope) -> str:
        """What the client calls its session, in a header or in its body's metadata."""
        headers = self._request.headers
        named = headers.get(_CLAUDE_CODE_SESSION) or headers.get(_SESSION)
        return short(named) if named else envelope.session

    def _resolve(self, envelope: Envelope) -> tuple[str, bool]:
        resolution = self._services.resolve(envelope.model)
        return resolution.model, resolution.think

    async def _unary(self, exchange: Exchange) -> web.Response:
        opened = await self._dispatcher.open(exchange, self._trace, _NO_HOLD, self._watch)
        self._dispatcher.end(opened, Success())
        if not isinstance(opened, UnaryOpened):
            raise TypeError("a unary exchange was answered with a stream")
        self._note(opened)
        self._trace.outcome = SUCCESS
        self._trace.usage = opened.usage
        self._trace.stop_reason = opened.stop_reason
        if self._part is not None:
            await self._part.remember(opened, opened.said)
        return self._whole(exchange, opened.body)

    def _whole(self, exchange: Exchange, body: bytes) -> web.Response:
        headers = {
            _CONTENT_TYPE: "application/json",
            **self._services.common_headers,
            **identity_headers(self._dialect, exchange.id),
        }
        answer_headers(headers, exchange, self._trace)
        grant = self._grant
        if self._services.admission.cors is None:
            return WholeAnswer(body, headers, "" if grant is None else grant.fields)
        if grant is not None:
            headers.update(grant.headers)
        return web.Response(body=body, headers=headers)

    async def _question(self, exchange: Exchange, cache: AnswerCache) -> Question | None:
        """What may be answered from memory; nothing that is part of a conversation or a session."""
        if not self.shares or exchange.belongs is not None or self._session(exchange.envelope):
            return None
        return await question_of(exchange, self._request, self._services, cache)

    async def _read_shared(self, exchange: Exchange, question: Question) -> web.Response:
        """A whole answer that is kept, or that others get too."""
        seat = question.seat(SharedCaller(exchange, self._trace, _NO_HOLD, self._watch))
        try:
            await self._begun(seat)
            said = []
            while (piece := await seat.frames(math.inf)) is not None:
                said.append(piece)
            self._trace.outcome = SUCCESS
        finally:
            self._trace = seat.leave()
        return self._whole(exchange, b"".join(said))

    async def _relay_shared(self, answer: StreamAnswer, exchange: Exchange, question: Question) -> None:
        """The same as a stream."""
        seat = question.seat(SharedCaller(exchange, self._trace, answer, self._watch))
        try:
            await self._begun(seat)
            failure = await answer.relay(seat)
            self._trace.outcome = SUCCESS if failure is None else after_commit(failure).cls.value
        except (ClientStalled, ConnectionResetError):
            self._abort()
        finally:
            self._trace = seat.leave()

    async def _begun(self, seat: Seat) -> None:
        await seat.opened()
        if self._trace.first_event_s is None:
            self._trace.first_event_s = self._services.clock.monotonic_s()

    async def _stream(self, exchange: Exchange, question: Question | None) -> web.StreamResponse:
        services = self._services
        policy = services.settings.policy
        answer = StreamAnswer(self._request, exchange, self._trace, policy, self._watch, self._common_headers)
        try:
            if question is not None:
                await self._relay_shared(answer, exchange, question)
            else:
                opened = await self._dispatcher.open(exchange, self._trace, answer, self._watch)
                self._note(opened)
                await self._relay(answer, self._streamed(opened))
        except asyncio.CancelledError:
            if not (self._shutting_down and answer.committed):
                raise
            self._watch.task.uncancel()
            await answer.fail(answers.shutting_down())
            return answer.response
        except Exception as error:  # noqa: BLE001 - after the commit nothing may look like a clean end
            shown = error if isinstance(error, GatewayError) else internal_error(error, self._caller)
            response = await answer.fail(shown)
            if response is None:
                raise shown from None
            return response
        else:
            return answer.response
        finally:
            answer.close()

    def _common_headers(self) -> dict[str, str]:
        """Those of a stream that do not hang on who answers it."""
        common = {**self._services.common_headers, **identity_headers(self._dialect, self._caller.request_id)}
        if self._grant is not None:
            common.update(self._grant.headers)
        return common

    def _streamed(self, opened: UnaryOpened | StreamOpened) -> StreamOpened:
        if isinstance(opened, StreamOpened):
            if self._part is not None:
                opened.stream = self._part.kept_frames(opened)
            return opened
        self._dispatcher.end(opened, Abandoned())
        raise TypeError("a stream was answered whole")

    async def _relay(self, answer: StreamAnswer, opened: StreamOpened) -> None:
        outcome: Outcome = Abandoned()
        try:
            failure = await answer.relay(opened.stream)
            outcome = Success() if failure is None else Failed(failure)
            self._trace.outcome = SUCCESS if failure is None else after_commit(failure).cls.value
        except (ClientStalled, ConnectionResetError):
            self._left()
            self._abort()
        except asyncio.CancelledError:
            self._left()
            raise
        finally:
            observed = opened.stream.observed
            self._trace.usage = observed.usage
            self._trace.stop_reason = observed.stop_reason
            self._dispatcher.end(opened, outcome)

    def _left(self) -> None:
        self._trace.left_s = self._services.clock.monotonic_s()

    def _abort(self) -> None:
        if (transport := self._request.transport) is not None:
            transport.abort()

    def _note(self, opened: UnaryOpened | StreamOpened) -> None:
        self._trace.upstream_request_id = opened.source.request_id
        self._trace.first_event_s = self._services.clock.monotonic_s()
