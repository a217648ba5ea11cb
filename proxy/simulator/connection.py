"""One connection of a client: reads requests one after the other and notes who ended what, and when."""

import asyncio
from collections.abc import Coroutine
from typing import Protocol, cast

from proxy.errors import ErrorKind
from proxy.simulator import http
from proxy.simulator.api import JSON, Request, key_of
from proxy.simulator.call import Call, Services, reset
from proxy.simulator.record import EndedBy, Received, Record
from proxy.simulator.render import error_body
from proxy.simulator.uploads import Upload, UploadBroken
from proxy.simulator.web_calls import call_of
from proxy.tasks import spawn

_MAX_WAITING_BYTES = http.MAX_BODY_BYTES + 2 * http.MAX_HEAD_BYTES
_DISCARD_S = 1.0


class Host(Protocol):
    """The server a connection belongs to."""

    record: Record
    services: Services
    connections: "set[Connection]"

    def next_request_id(self) -> str:
        """A new id for an answer."""
        ...

    def begin_upload(self, head: http.Head, key: str) -> Upload | None:
        """Where the body of a request goes as it comes; None where it is kept."""
        ...

    def serve(self, call: Call) -> Coroutine[None, None, None] | None:
        """Answer a call at once, or give the work that will."""
        ...


class Connection(asyncio.Protocol):
    """The server's side of one TCP connection."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._clock = host.services.clock
        self._reader = http.RequestReader()
        self._transport: asyncio.Transport
        self._number = 0
        self._peer = ""
        self._head: http.Head | None = None
        self._received: Received | None = None
        self._call: Call | None = None
        self._upload: Upload | None = None
        self._advancing = False
        self._discarding: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        self._closed_by = EndedBy.CLIENT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        # uvloop's transports are not asyncio's by class, only by what they can do.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)
        host, port, *_ = transport.get_extra_info("peername") or ("", 0)
        self._peer = f"{host}:{port}"
        self._number = self._host.record.connection_opened()
        self._host.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        if self._discarding is not None:
            return
        self._reader.feed(data)
        if self._call is None:
            self._advance()
        elif self._reader.waiting_bytes > _MAX_WAITING_BYTES:
            self._transport.abort()

    def eof_received(self) -> bool:
        """Note that the client closed; an exchange under way is over."""
        self._note_close()
        if self._received is not None and self._received.ended_by is None:
            self._transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the cause does not matter here
        """Note the end of the connection, and end what was going on."""
        self._note_close()
        if self._received is not None:
            who = self._closed_by if self._closed_by is not EndedBy.SERVER else EndedBy.FAULT
            self._host.record.ended_by(self._received, who, self._clock.monotonic_s())
        if self._task is not None:
            self._task.cancel()
        if self._discarding is not None:
            self._discarding.cancel()
        self.resume_writing()
        self._host.record.connection_closed()
        self._host.connections.discard(self)

    def pause_writing(self) -> None:
        """Note that the kernel takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let a waiting behaviour go on."""
        self._paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    @property
    def idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self._received is None or self._received.ended_by is not None

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The work on the present answer, where it takes any."""
        return self._task

    def abort(self) -> None:
        """Close at once, as the server."""
        self._closed_by = EndedBy.SERVER
        self._transport.abort()

    async def _flushed(self) -> None:
        while self._paused and not self._transport.is_closing():
            self._writable = asyncio.get_running_loop().create_future()
            await self._writable

    def _note_close(self) -> None:
        received = self._received
        if received is not None and received.closed_s is None:
            received.closed_s = self._clock.monotonic_s()
            received.closed_by = self._closed_by

    def _advance(self) -> None:
        self._advancing = True
        try:
            while self._call is None and not self._transport.is_closing() and self._next():
                pass
        except http.MalformedRequestError as error:
            self._refuse(error)
        except UploadBroken as broken:
            self._break_upload(broken)
        finally:
            self._advancing = False

    def _next(self) -> bool:
        """Read and serve one request; False while bytes are missing."""
        head = self._head
        if head is None:
            head = self._head = self._reader.read_head()
            if head is None:
                return False
            self._begin(head)
        body = self._reader.read_body(head, self._upload.feed if self._upload is not None else None)
        if body is None:
            return False
        received = self._received
        if received is not None:
            self._serve(head, body, received)
        return True

    def _begin(self, head: http.Head) -> None:
        received = Received(
            self._host.record.requests_total + 1,
            key_of(head.fields),
            head.method,
            head.target,
            head.headers,
            self._number,
            self._peer,
            self._clock.monotonic_s(),
        )
        self._received = received
        self._host.record.began(received)
        self._upload = self._host.begin_upload(head, received.key)
        if head.expects_continue:
            self._transport.write(http.CONTINUE)

    def _serve(self, head: http.Head, body: bytes, received: Received) -> None:
        upload, self._upload = self._upload, None
        self._host.record.body_complete(received, body, self._clock.monotonic_s())
        if upload is not None:
            received.body_bytes = upload.size_bytes
        path, _, query = head.target.partition("?")
        request_id = self._host.next_request_id()
        web_call = call_of(head.method, path)
        request = Request(
            head.method, path, query, head.fields, body, received.key, request_id, web_call, upload=upload
        )
        call = Call(request, received, self._host.services, self._transport, self._call_ended, self._flushed)
        self._call = call
        work = self._host.serve(call)
        if work is not None:
            self._task = spawn(work, name="simulated answer")

    def _call_ended(self, who: EndedBy, keep: bool) -> None:
        received, head = self._received, self._head
        if received is None or head is None:
            return
        self._host.record.ended_by(received, who, self._clock.monotonic_s())
        self._call = self._head = None
        if not (keep and head.keep_alive):
            self._closed_by = who
            self._transport.close()
        elif not self._advancing and not self._reader.empty:
            asyncio.get_running_loop().call_soon(self._advance)

    def _break_upload(self, broken: UploadBroken) -> None:
        if broken.status:
            self._refuse(http.MalformedRequestError("The upload was refused.", status=broken.status))
        else:
            self._closed_by = EndedBy.SERVER
            reset(self._transport)

    def _refuse(self, error: http.MalformedRequestError) -> None:
        """Answer bytes that are no request, then close; what still comes is thrown away for a second.

        Closing with bytes unread would send a reset, which can overtake the answer.
        """
        self._host.record.malformed += 1
        self._closed_by = EndedBy.SERVER
        kinds = {413: ErrorKind.REQUEST_TOO_LARGE, 429: ErrorKind.RATE_LIMIT}
        kind = kinds.get(error.status, ErrorKind.INVALID_REQUEST)
        body = error_body(kind, str(error), request_id=self._host.next_request_id())
        headers = {"content-type": JSON, "content-length": str(len(body)), "connection": "close"}
        self._transport.write(http.response_head(error.status, headers.items()) + body)
        received = self._received
        if received is not None and received.ended_by is None:
            received.status = error.status
            self._host.record.ended_by(received, EndedBy.SERVER, self._clock.monotonic_s())
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._discarding = asyncio.get_running_loop().call_later(_DISCARD_S, self._transport.close)
