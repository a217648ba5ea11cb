"""Requests that are being answered, and how the program lets them end."""

import asyncio
from typing import Protocol


class Interruptible(Protocol):
    """An answer that can be told to end early, in words its client understands."""

    def shut_down(self) -> None:
        """End soon, with an error frame."""
        ...


class Inflight:
    """Counts requests, and knows the streams among them."""

    def __init__(self) -> None:
        self.count = 0
        self.draining = False
        self._streams: set[Interruptible] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """A request has begun."""
        self.count += 1
        if self.count == 1:
            self._idle.clear()

    def leave(self) -> None:
        """A request has ended."""
        self.count -= 1
        if self.count == 0:
            self._idle.set()

    def stream_begins(self, stream: Interruptible) -> None:
        """From now on it can be shut down."""
        self._streams.add(stream)

    def stream_ends(self, stream: Interruptible) -> None:
        """It needs no telling any more; safe to call twice."""
        self._streams.discard(stream)

    async def drained(self, within_s: float) -> bool:
        """Wait until no request is left; False when `within_s` seconds were not enough."""
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def shut_down_streams(self) -> None:
        """Tell every stream that is left to end."""
        for stream in tuple(self._streams):
            stream.shut_down()
