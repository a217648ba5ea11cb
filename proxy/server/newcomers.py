"""Connections whose first request has not come yet, and how long they may take over it.

The framework ends a connection that is idle, and one whose later heads come too slowly, by its keep-alive time. A
connection's first head has to come sooner: nobody has shown a key yet, and each costs a descriptor.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

_MOST_BETWEEN_LOOKS_S: Final = 2.0
_LOOKS: Final = 8


class Connection(Protocol):
    """What is known of a connection; aiohttp's `RequestHandler` is one."""

    _request_count: int

    def force_close(self) -> None:
        """End it at once."""
        ...


class Connections(Protocol):
    """Where all connections are; aiohttp's `Server` is one."""

    @property
    def connections(self) -> Sequence[Connection]:
        """Those that are open."""
        ...


class Newcomers:
    """Ends connections whose first head takes longer than `limit_s` seconds."""

    def __init__(self, server: Connections, limit_s: float) -> None:
        self._server = server
        self._every_s = min(limit_s / _LOOKS, _MOST_BETWEEN_LOOKS_S)
        # one that came just after a look is seen with the next
        self._patience_s = limit_s - 2 * self._every_s
        self._seen_s: dict[Connection, float] = {}

    async def look_for_ever(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.look(loop.time())
            await asyncio.sleep(self._every_s)

    def look(self, now_s: float) -> None:
        """End those that were seen without a request long enough; `now_s` are monotonic seconds."""
        known = self._seen_s
        waiting = (each for each in self._server.connections if not each._request_count)  # noqa: SLF001 - aiohttp counts whole heads nowhere else
        self._seen_s = {each: known.get(each, now_s) for each in waiting}
        for each, since_s in self._seen_s.items():
            if now_s - since_s >= self._patience_s:
                each.force_close()
