"""One request while it is being answered: the tools a behaviour works with."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

from proxy.clock import Clock
from proxy.simulator import http
from proxy.simulator.api import Reply, Request
from proxy.simulator.chat import is_chat
from proxy.simulator.limits import AnswerHeaders
from proxy.simulator.record import EndedBy, Received
from proxy.simulator.script import Cut, Pace, Step
from proxy.simulator.web_calls import set_cookies

_LINGER_RESET = struct.pack("ii", 1, 0)


class Services:
    """What every call of one server shares.

    Attributes:
        clock: of the record.
        headers: of every answer.
        time_scale: factor of every delay.
        pace: of answers without one of their own.
        reply: makes the answer a well-behaved server would give.
        refuse: closes the listener for so many seconds, or for good when 0.
        keeps_answers: whether the record holds what was sent.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        headers: AnswerHeaders,
        time_scale: float,
        pace: Pace,
        reply: Callable[[Request, Step | None], Reply],
        refuse: Callable[[float], None],
        keeps_answers: bool = False,
    ) -> None:
        self.clock = clock
        self.headers = headers
        self.time_scale = time_scale
        self.pace = pace
        self.reply = reply
        self.refuse = refuse
        self.keeps_answers = keeps_answers


class Call:
    """The answering side of one request.

    First `begin`, `begin_raw` or `send_whole`; then `write`; then `end`, or `cut` at any time. Without a `begin`
    a cut leaves the client without headers. What comes after the end is ignored.
    """

    __slots__ = (
        "_chunked",
        "_ended",
        "_flushed",
        "_left",
        "_transport",
        "received",
        "request",
        "services",
    )

    def __init__(
        self,
        request: Request,
        received: Received,
        services: Services,
        transport: asyncio.Transport,
        ended: Callable[[EndedBy, bool], None],
        flushed: Callable[[], Awaitable[None]],
    ) -> None:
        self.request = request
        self.received = received
        self.services = services
        self._transport = transport
        self._ended = ended
        self._flushed = flushed
        self._chunked = False
        self._left: int | None = None

    def reply(self, step: Step | None = None) -> Reply:
        """What a well-behaved server would answer, in its single events."""
        return self.services.reply(self.request, step)

    def send_whole(self, reply: Reply) -> None:
        """Answer at once, in one write."""
        body = reply.frames[0] if len(reply.frames) == 1 else b"".join(reply.frames)
        if self.services.keeps_answers:
            self.received.answer += body
        if reply.streamed:
            self.send(b"%b%b%b" % (self._stream_head(reply), http.chunk(body), http.LAST_CHUNK))
        else:
            head = f"{self._first_lines(reply)}content-length: {len(body)}\r\n\r\n"
            self.send(head.encode() if self.request.method == "HEAD" else head.encode() + body)
        self._finish(EndedBy.SERVER, keep=True)

    def send_in_parts(self, reply: Reply, parts: int) -> None:
        """Answer with a stream that leaves in so many writes of about one size, cut between events."""
        waiting = [http.chunk(part) for part in _parts(b"".join(reply.frames), parts)]
        waiting[0] = self._stream_head(reply) + waiting[0]
        waiting[-1] += http.LAST_CHUNK
        waiting.reverse()
        loop = asyncio.get_running_loop()

        def send_next() -> None:
            if self.over:
                return
            self.send(waiting.pop())
            if waiting:
                # a turn of the loop, because what is written within one leaves together
                loop.call_soon(send_next)
            else:
                self._finish(EndedBy.SERVER, keep=True)

        send_next()

    def _first_lines(self, reply: Reply) -> str:
        self.received.status = reply.status
        text = self._header_text()
        return f"HTTP/1.1 {reply.status} {http.reason(reply.status)}\r\ncontent-type: {reply.content_type}\r\n{text}"

    def _header_pairs(self) -> dict[str, str]:
        """Whose answer it is; an API that is not Anthropic's says nothing in Anthropic's words."""
        request = self.request
        if is_chat(request.path):
            return {"x-request-id": request.request_id}
        if request.call is not None:
            return {"request-id": request.request_id}
        return dict(self.services.headers.pairs(request.key, request.request_id, request.limits))

    def _header_text(self) -> str:
        request = self.request
        if is_chat(request.path):
            return f"x-request-id: {request.request_id}\r\n"
        if request.call is not None:
            pairs = [("request-id", request.request_id), *set_cookies(request.key)]
            return "".join(f"{name}: {value}\r\n" for name, value in pairs)
        return self.services.headers.text(request.key, request.request_id, request.limits)

    def _stream_head(self, reply: Reply) -> bytes:
        head = f"{self._first_lines(reply)}cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
        return head.encode()

    def begin(
        self, reply: Reply, headers: Mapping[str, str] | None = None, *, close_delimited: bool = False
    ) -> None:
        """Send status and headers of a reply; `headers` replace those of their name or come on top."""
        of_site = self.request.call is not None
        pairs = self._header_pairs()
        pairs["content-type"] = reply.content_type
        self._chunked, self._left = False, None
        if close_delimited:
            pairs["connection"] = "close"
        elif reply.streamed:
            self._chunked = True
            pairs |= {"cache-control": "no-cache", "transfer-encoding": "chunked"}
        else:
            self._left = sum(map(len, reply.frames))
            pairs["content-length"] = str(self._left)
        pairs |= {name.lower(): value for name, value in (headers or {}).items()}
        cookies = set_cookies(self.request.key) if of_site else []
        self._send_head(reply.status, [*pairs.items(), *cookies])

    def begin_raw(self, status: int, headers: Mapping[str, str]) -> None:
        """Send exactly this status and these headers."""
        self._send_head(status, headers.items())

    def _send_head(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        self.received.status = status
        self.send(http.response_head(status, headers))

    def declare(self, length: int) -> None:
        """Say how long the body after `begin_raw` will be, so that the connection may be kept."""
        self._left = length

    def write(self, data: bytes) -> None:
        """Send a part of the body, framed as the headers said."""
        if self._left is not None:
            self._left -= len(data)
        if self.services.keeps_answers and not self.over:
            self.received.answer += data
        if self.request.method != "HEAD":
            self.send(http.chunk(data) if self._chunked else data)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        received = self.received
        if received.ended_by is not None:
            return
        if received.first_byte_s is None:
            received.first_byte_s = self.services.clock.monotonic_s()
        received.bytes_sent += len(data)
        self._transport.write(data)

    async def flush(self) -> None:
        """Wait until the kernel has taken everything that was sent."""
        await self._flushed()

    async def sleep(self, seconds: float) -> None:
        """Wait, by the server's own scale of time."""
        if seconds > 0:
            await asyncio.sleep(seconds * self.services.time_scale)

    async def pause(self, seconds: float) -> None:
        """Wait so long, at least for one turn of the loop, so that what was sent leaves by itself."""
        await asyncio.sleep(max(0.0, seconds) * self.services.time_scale)

    @property
    def over(self) -> bool:
        """Whether the exchange has ended."""
        return self.received.ended_by is not None

    def end(self) -> None:
        """End the body cleanly, and with it the exchange."""
        self._finish(EndedBy.SERVER, keep=self._end_body())

    def cut(self, how: Cut) -> None:
        """End the exchange as a fault does: by a TCP reset, by a FIN, or with a clean end of the body."""
        keep = how == "end" and self._end_body()
        if how == "reset" and not self.over:
            reset(self._transport)
        self._finish(EndedBy.FAULT, keep=keep)

    def _end_body(self) -> bool:
        """Close the body's framing; whether the connection may carry another request."""
        if self.request.method == "HEAD":
            return True
        if self._chunked:
            self.send(http.LAST_CHUNK)
        return self._chunked or self._left == 0

    def _finish(self, who: EndedBy, *, keep: bool) -> None:
        if not self.over:
            self._ended(who, keep)


def _parts(stream: bytes, count: int) -> Iterator[bytes]:
    """A stream of whole events in at most `count` parts of whole events, none of them empty."""
    begin = 0
    for number in range(1, count + 1):
        cut = stream.find(b"\n\n", max(len(stream) * number // count - 2, begin)) + 2
        if cut > begin:
            yield stream[begin:cut]
            begin = cut


def reset(transport: asyncio.Transport) -> None:
    """Close a connection so that its peer gets a TCP reset."""
    if (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    transport.abort()
