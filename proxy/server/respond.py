"""From an opened answer to the client's connection: headers, whole bodies, streams with their keep-alives.

The first byte sent is the commit. After it a failure becomes an error frame in the client's own dialect and the
connection is closed; it never becomes a second attempt, and never a clean-looking end.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from aiohttp import web
from multidict import CIMultiDict

from proxy.dispatch.streams import StreamCut
from proxy.dispatch.trace import Trace
from proxy.errors import GatewayError
from proxy.exchange import Exchange
from proxy.pool import Failure
from proxy.server.headers import answer_headers
from proxy.server.taking import taking_of
from proxy.settings import Policy
from proxy.tasks import spawn
from proxy.telemetry.redaction import REDACTOR
from proxy.watch import Watch


class ClientStalled(Exception):
    """The client took no byte for too long."""


class Frames(Protocol):
    """A streamed answer that has begun."""

    @property
    def over(self) -> bool:
        """Whether the answer is whole and its last frames have been handed out."""
        ...

    async def frames(self, silence_s: float) -> bytes | None:
        """The next frames; None after the whole answer; empty when `silence_s` seconds passed without any.

        Raises StreamCut.
        """
        ...


class StreamAnswer:
    """One streamed answer's client side: the hold-back before the commit, and the relay after it."""

    def __init__(
        self,
        request: web.Request,
        exchange: Exchange,
        trace: Trace,
        policy: Policy,
        watch: Watch,
        common: Callable[[], Mapping[str, str]],
    ) -> None:
        """`common` makes the headers that do not hang on who answers; it is asked once an upstream is."""
        self._request = request
        self._exchange = exchange
        self._trace = trace
        self._policy = policy
        self._watch = watch
        self._common = common
        self._response: web.StreamResponse | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._due = False
        self._in_flight = False
        watch.alarm(policy.hold_back_s, self._hold_back_over)

    @property
    def committed(self) -> bool:
        """Whether the client has its headers."""
        return self._response is not None

    def attempt_started(self) -> None:
        """See `Hold.attempt_started`."""
        self._in_flight = True
        if self._due:
            self._commit_early()

    def attempt_ended(self) -> None:
        """See `Hold.attempt_ended`."""
        self._in_flight = False

    async def relay(self, stream: Frames) -> Failure | None:
        """Send the answer to its end. Returns what cut it short, or None after a whole answer.

        Raises ClientStalled, and CancelledError when the client has left.
        """
        await self._stop_keeper()
        response = self._response or await self._begin()
        self._exchange.body = b""
        keep_alive = self._exchange.dialect.keep_alive
        frames = stream.frames
        silence_s, within = self._policy.keep_alive_s, self._watch.within
        taking = taking_of(self._request, self._policy)
        look_after_s = taking.look_after_s
        try:
            while (chunk := await frames(silence_s)) is not None:
                if stream.over:
                    await within(look_after_s, response.write_eof(chunk), taking)
                    return None
                await within(look_after_s, response.write(chunk or keep_alive), taking)
        except TimeoutError:
            raise ClientStalled from None
        except StreamCut as cut:
            if cut.shown is not None:
                await self._within(response.write(self._error_frame(cut.shown)))
            self._end_abruptly()
            return cut.failure
        await self._within(response.write_eof())
        return None

    async def fail(self, error: GatewayError) -> web.StreamResponse | None:
        """Tell the client of an error after the commit; None when nothing was sent yet."""
        await self._stop_keeper()
        if self._response is None:
            return None
        await self._within(self._response.write(self._error_frame(error)))
        self._end_abruptly()
        return self._response

    @property
    def response(self) -> web.StreamResponse:
        """The response whose headers were sent."""
        if self._response is None:
            raise RuntimeError("nothing was sent yet")
        return self._response

    def close(self) -> None:
        """Commit no more by itself."""
        self._watch.silence()
        if self._keeper is not None:
            self._keeper.cancel()

    def _hold_back_over(self) -> None:
        self._due = True
        if self._in_flight:
            self._commit_early()

    def _commit_early(self) -> None:
        self._due = False
        if self._response is None and self._keeper is None:
            self._response = self._make()
            self._keeper = spawn(self._keep_alive(self._response), name="keep a held answer alive")

    async def _keep_alive(self, response: web.StreamResponse) -> None:
        """Send the headers, then a frame now and then, until the relay takes over."""
        await response.prepare(self._request)
        while True:
            await response.write(self._exchange.dialect.keep_alive)
            await asyncio.sleep(self._policy.keep_alive_s)

    async def _stop_keeper(self) -> None:
        self._watch.silence()
        keeper = self._keeper
        if keeper is None:
            return
        self._keeper = None
        keeper.cancel()
        await asyncio.wait([keeper])
        if not self.response.prepared:
            # it was stopped in the very turn of the loop in which it would have begun
            await self.response.prepare(self._request)

    def _make(self) -> web.StreamResponse:
        headers: CIMultiDict[str] = CIMultiDict(self._common())
        headers["content-type"] = "text/event-stream; charset=utf-8"
        headers["cache-control"] = "no-store"
        headers["x-accel-buffering"] = "no"
        answer_headers(headers, self._exchange, self._trace)
        return web.StreamResponse(status=200, headers=headers)

    async def _begin(self) -> web.StreamResponse:
        response = self._response = self._make()
        await response.prepare(self._request)
        return response

    async def _within(self, writing: Coroutine[Any, Any, None]) -> None:
        try:
            taking = taking_of(self._request, self._policy)
            await self._watch.within(taking.look_after_s, writing, taking)
        except TimeoutError:
            raise ClientStalled from None

    def _end_abruptly(self) -> None:
        """Close the connection without the last chunk: whoever reads no error frames still sees a broken transfer."""
        if (transport := self._request.transport) is not None:
            transport.close()

    def _error_frame(self, error: GatewayError) -> bytes:
        return REDACTOR.clean(self._exchange.dialect.error_frame(error, self._exchange.id))


def retry_headers(error: GatewayError) -> dict[str, str]:
    """``retry-after`` in whole seconds, rounded up, and ``x-should-retry``, where they help.

    What sums of clock readings are off by, far below a microsecond, makes no further second.
    """
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(math.ceil(round(error.retry_after_s, 6)), 0))
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    return headers
