"""Requests that are being answered, and how the program lets them end."""

import asyncio
from typing import Protocol


class Interruptible(Protocol):
    """An answer that can be told to end early, in words its client understands."""

    def shut_down(self) -> None:
        """End soon, with an error."""
        ...


class Inflight:
    """Counts requests, and knows those among them that can be told to end."""

    def __init__(self) -> None:
        self.count = 0
        self.draining = False
        self._answers: set[Interruptible] = set()
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

    def begins(self, answer: Interruptible) -> None:
        """From now on it can be shut down."""
        self._answers.add(answer)

    def ends(self, answer: Interruptible) -> None:
        """It needs no telling any more; safe to call twice."""
        self._answers.discard(answer)

    async def drained(self, within_s: float) -> bool:
        """Wait until no request is left; False when `within_s` seconds were not enough."""
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def shut_down_answers(self) -> None:
        """Tell every answer that is left to end."""
        for answer in tuple(self._answers):
            answer.shut_down()
