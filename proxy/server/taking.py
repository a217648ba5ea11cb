"""Whether a client still takes bytes, however few: a slow one is waited for, one that stands still is not."""

import fcntl
import struct
import termios
from asyncio import WriteTransport
from typing import Final

from aiohttp import web

from proxy.settings import Policy

_LOOKS: Final = 12
_LENGTH: Final = struct.Struct("i")


def taking_of(request: web.Request, policy: Policy) -> "Taking":
    """That of a request's client. Raises ConnectionResetError when it has left."""
    if (transport := request.transport) is None:
        raise ConnectionResetError("the client has left")
    return Taking(transport, policy.write_stall_s)


class Taking:
    """Looks at what one client has left to take while a write waits for it. See `proxy.watch.Excuse`.

    A write may wait long although its client reads all the time, because the system holds megabytes for it. So what
    counts is that what is left changes; `stall_s` seconds without any change are the end.

    Attributes:
        look_after_s: seconds into a write after which the first look pays.
    """

    __slots__ = ("_left_bytes", "_looked_s", "_since_s", "_stall_s", "_transport", "look_after_s")

    def __init__(self, transport: WriteTransport, stall_s: float) -> None:
        self._transport = transport
        self._stall_s = stall_s
        self.look_after_s = stall_s / _LOOKS
        self._left_bytes = -1
        self._looked_s = self._since_s = 0.0

    def more_s(self, now_s: float) -> float:
        """Seconds until the next look, or 0 when it has stood still too long; `now_s` are monotonic seconds."""
        left_bytes = self._left()
        # looks of one write follow each other closely; a gap says that this is another one
        if left_bytes != self._left_bytes or now_s - self._looked_s > 2 * self.look_after_s + 1:
            self._left_bytes, self._since_s = left_bytes, now_s
        self._looked_s = now_s
        return self.look_after_s if now_s - self._since_s < self._stall_s else 0.0

    def _left(self) -> int:
        """Bytes the client has not confirmed, ours and the system's."""
        ours = self._transport.get_write_buffer_size()
        sock = self._transport.get_extra_info("socket")
        try:
            held = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(_LENGTH.size))
        except (OSError, ValueError):
            # it was closed, or is no socket that tells
            return ours
        length: int = _LENGTH.unpack(held)[0]
        return ours + length
