"""Of all processes one answers a turn of a conversation at a time."""

import asyncio

import pytest

from proxy.dispatch.turns import SharedTurns


class _Permits:
    """Leave that one holder has at a time, or nobody can tell of.

    Attributes:
        known: whether somebody can tell.
        holders: who has leave, by name.
        kept: what is to last.
    """

    def __init__(self) -> None:
        self.known = True
        self.holders: dict[str, str] = {}
        self.kept: dict[str, str] = {}

    async def take(self, name: str, holder: str) -> bool | None:
        """See `Permits.take`."""
        await asyncio.sleep(0)
        if not self.known:
            return None
        return self.holders.setdefault(name, holder) == holder

    def keep(self, name: str, holder: str) -> None:
        """See `Permits.keep`."""
        self.kept[name] = holder

    def give_back(self, name: str, holder: str) -> None:
        """See `Permits.give_back`."""
        for each in (self.holders, self.kept):
            if each.get(name) == holder:
                del each[name]

    async def end(self, name: str, holder: str) -> None:
        """See `TurnPermits.end`."""
        self.give_back(name, holder)


async def test_the_next_turn_of_another_process_begins_when_the_one_before_has_ended() -> None:
    """Protects a history from two turns that know nothing of each other; other conversations wait for nobody."""
    permits = _Permits()
    one, two = SharedTurns(permits, holder="one"), SharedTurns(permits, holder="two")
    leave = await one.take("ann", "c1")
    assert list(permits.kept.values()) == [leave]
    await two.take("ann", "c2")
    await two.take("bob", "c1")
    waiting = asyncio.gather(two.take("ann", "c1"))
    await asyncio.sleep(0.12)
    assert not waiting.done()
    await one.end("ann", "c1", leave)
    (after,) = await waiting
    assert after != leave
    two.give_back("ann", "c1", after)
    assert await one.take("ann", "c1") != leave


async def test_who_waits_no_more_leaves_nothing_behind() -> None:
    """Protects a conversation from leave that was given in the moment in which its client left."""
    permits = _Permits()
    turns = SharedTurns(permits, holder="one")
    leave = await turns.take("ann", "c1")
    waiting = asyncio.gather(turns.take("ann", "c1"))
    await asyncio.sleep(0.01)
    # it is given in the very moment in which the client leaves
    permits.holders["turn:ann:c1"] = leave.replace("-0", "-1")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert permits.holders == {}


async def test_where_nobody_can_tell_each_process_goes_by_itself() -> None:
    """Protects answers from a Redis that is away."""
    permits = _Permits()
    permits.known = False
    turns = SharedTurns(permits, holder="one")
    await turns.take("ann", "c1")
    await turns.take("ann", "c1")
