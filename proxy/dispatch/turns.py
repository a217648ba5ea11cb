"""Turns of conversations over several processes: leave for one at a time, which ends with the process that holds it."""

import asyncio
from itertools import count
from typing import Final

from proxy.store.shared import TurnPermits

_LOOK_EVERY_S: Final = 0.05


class SharedTurns:
    """Takes leave for a turn from the other processes, and gives it back.

    Args:
        permits: where leave is had from.
        holder: names this process.
    """

    def __init__(self, permits: TurnPermits, *, holder: str) -> None:
        self._permits = permits
        self._holder = holder
        self._serial = count()

    async def take(self, owner: str, conversation: str) -> str:
        """Wait for leave, and return what it is given back by. Where nobody can tell, this process goes by itself."""
        name, holder = _name(owner, conversation), f"{self._holder}:turn-{next(self._serial)}"
        try:
            while await self._permits.take(name, holder) is False:  # noqa: ASYNC110 - only the answer tells
                await asyncio.sleep(_LOOK_EVERY_S)
        except BaseException:
            # it may have been given in the moment in which nobody wanted it any more
            self._permits.give_back(name, holder)
            raise
        self._permits.keep(name, holder)
        return holder

    async def end(self, owner: str, conversation: str, leave: str) -> None:
        """Give leave back; it is free when this returns."""
        await self._permits.end(_name(owner, conversation), leave)

    def give_back(self, owner: str, conversation: str, leave: str) -> None:
        """The same soon."""
        self._permits.give_back(_name(owner, conversation), leave)


def _name(owner: str, conversation: str) -> str:
    return f"turn:{owner}:{conversation}"
