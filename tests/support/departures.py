"""Clients that leave: in which way, from which endpoint, and at which moment of their request."""

import asyncio
import socket
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from proxy.simulator import Pace, Step
from tests.support.gateway import CLIENT_KEY
from tests.support.house import MODEL

PROMISED_S: Final = 0.25
"""How soon after a departure its upstream connection is closed, for 99 of 100."""

AT_MOST_S: Final = 1.0
"""How soon for every one."""

_LINGER_RESET: Final = b"\x01\x00\x00\x00\x00\x00\x00\x00"
_TEXT: Final = "Hello!"
_TIME_WAIT: Final = "06"
_SLOW: Final = Pace(first_token_delay_s=0.0, tokens_per_s=5.0, events=200)


class Leaving(Enum):
    """How a connection is left."""

    CLOSED = "closed"
    RESET = "reset"
    HALF_CLOSED = "half closed, then reset"

    def carry_out(self, writer: asyncio.StreamWriter) -> None:
        """Leave."""
        match self:
            case Leaving.CLOSED:
                writer.close()
            case Leaving.HALF_CLOSED:
                writer.write_eof()
                asyncio.get_running_loop().call_later(0.02, _reset, writer)
            case Leaving.RESET:
                _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        writer.transport.abort()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where something is asked.

    Attributes:
        path: its address.
        prompt: the field that says what is asked.
        limit: the field that limits the answer, where one is needed.
        streams: whether it can stream.
    """

    path: str
    prompt: dict[str, object] = field(
        default_factory=lambda: {"messages": [{"role": "user", "content": _TEXT}]}
    )
    limit: str | None = None
    streams: bool = True

    def request(self, *, stream: bool, text: str = _TEXT, model: str = MODEL) -> bytes:
        """A small request, head and body; `text` is what is said, in letters JSON takes as they are."""
        limit = {} if self.limit is None else {self.limit: 100}
        streamed = {"stream": True} if stream else {}
        fields = {"model": model, **self.prompt, **limit, **streamed}
        body = msgspec.json.encode(fields).replace(_TEXT.encode(), text.encode())
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
            f"anthropic-version: 2023-06-01\r\nAuthorization: Bearer {CLIENT_KEY}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


ENDPOINTS: Final = {
    "chat": Endpoint("/v1/chat/completions"),
    "messages": Endpoint("/v1/messages", limit="max_tokens"),
    "hf chat": Endpoint("/hf/v1/chat/completions"),
    "hf messages": Endpoint("/hf/v1/messages", limit="max_tokens"),
    "deployment": Endpoint(f"/openai/deployments/{MODEL}/chat/completions"),
    "completions": Endpoint("/v1/completions", {"prompt": _TEXT}),
    "responses": Endpoint("/v1/responses", {"input": _TEXT}),
    "count": Endpoint("/v1/messages/count_tokens", streams=False),
    "responses count": Endpoint("/v1/responses/input_tokens", {"input": _TEXT}, streams=False),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """When a client leaves, while the upstream works for it.

    Attributes:
        step: what the upstream is doing then.
        stream: whether a stream was asked for.
        has_read: what of the answer it waits for before it leaves; nothing, where it has none.
    """

    step: Step
    stream: bool = True
    has_read: bytes = b""


MOMENTS: Final = {
    "before a whole answer": Moment(Step("stall_before_headers"), stream=False),
    "before the upstream answers": Moment(Step("stall_before_headers")),
    "before the first event": Moment(Step("stall_before_event")),
    "between two events": Moment(Step("success", pace=_SLOW), has_read=b"data: "),
    "in the middle of an event": Moment(Step("slow_bytes", bytes_per_s=4000), has_read=b"data: "),
    "while the stream is silent": Moment(Step("stall_mid", after=6), has_read=b"data: "),
}


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of its own to ``http://host:port``."""
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


class Ports(NamedTuple):
    """The two ends of a connection on this machine."""

    client: int
    server: int


def ports_of(writer: asyncio.StreamWriter) -> Ports:
    """Those of ours; to be asked for before leaving, as a closed socket has forgotten them."""
    return Ports(writer.get_extra_info("sockname")[1], writer.get_extra_info("peername")[1])


def held_by_server(ports: Ports) -> bool:
    """Whether the server still holds its end of a connection.

    What is free here again, another connection may begin at, to another server.
    """
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        found = Ports(int(remote.rpartition(":")[2], 16), int(local.rpartition(":")[2], 16))
        if state != _TIME_WAIT and found == ports:
            return True
    return False
