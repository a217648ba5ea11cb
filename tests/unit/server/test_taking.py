"""A client that takes bytes slowly is told from one that takes none."""

import asyncio
import socket
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web

from proxy.server.taking import Taking, taking_of
from proxy.settings import Policy

_STALL_S = 60.0
_LOOK_S = 5.0


class _Line:
    """A transport whose client takes what it likes."""

    def __init__(self, left_bytes: int = 1000, sock: socket.socket | None = None) -> None:
        self.left_bytes = left_bytes
        self._closed = sock or socket.socket()
        if sock is None:
            self._closed.close()

    def get_write_buffer_size(self) -> int:
        """See `asyncio.WriteTransport`."""
        return self.left_bytes

    def get_extra_info(self, _name: str) -> socket.socket:
        """See `asyncio.BaseTransport`."""
        return self._closed


def _taking(line: _Line) -> Taking:
    return Taking(cast(asyncio.Transport, line), _STALL_S)


def _ends_s(taking: Taking, line: _Line, *, takes_until_s: float, begins_s: float = 0.0) -> float | None:
    """When a write that waits from `begins_s` on is given up; None within 1,000 seconds never."""
    now_s = begins_s + taking.look_after_s
    while now_s < begins_s + 1000:
        if now_s - begins_s <= takes_until_s:
            line.left_bytes -= 1
        more_s = taking.more_s(now_s)
        if not more_s:
            return now_s - begins_s
        now_s += more_s
    return None


@pytest.mark.parametrize(("takes_until_s", "ends_s"), [(0, 65), (100, 160), (1000, None)])
def test_a_client_is_given_up_once_it_has_taken_nothing_for_so_long(
    takes_until_s: float, ends_s: float | None
) -> None:
    """Protects slow clients from being cut off, and places and memory from those that stand still."""
    line = _Line()
    assert _ends_s(_taking(line), line, takes_until_s=takes_until_s) == ends_s


def test_each_write_has_its_time() -> None:
    """Protects a client from what it did not take of an earlier write, when by chance as much is left of this one."""
    line = _Line()
    taking = _taking(line)
    assert taking.more_s(5.0) == _LOOK_S
    assert _ends_s(taking, line, takes_until_s=0, begins_s=500.0) == 65


def test_what_the_system_holds_counts() -> None:
    """Protects slow clients whose bytes have all left the program: only the system sees them being taken."""
    listener = socket.create_server(("127.0.0.1", 0))
    sender = socket.create_connection(listener.getsockname())
    receiver, _ = listener.accept()
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sender.setblocking(False)
    try:
        while True:
            sender.send(b"x" * 65536)
    except BlockingIOError:
        pass
    line = _Line(0, sender)
    taking = _taking(line)
    assert taking._left() > 0
    assert taking.more_s(5.0) == _LOOK_S
    before_bytes = taking._left()
    while taking._left() == before_bytes:
        assert receiver.recv(65536)
    for each in (listener, sender, receiver):
        each.close()


def test_a_client_that_has_left_is_no_client_that_stands_still() -> None:
    """Protects the handling of departures, which is another."""
    with pytest.raises(ConnectionResetError):
        taking_of(cast(web.Request, SimpleNamespace(transport=None)), Policy())
