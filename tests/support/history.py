"""What clients and operators saw of several replicas, and what of it cannot have been so."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

REDIS: Final = "redis"
STOPPED: Final = "stopped"


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took a while.

    Attributes:
        what: that.
        began_s: monotonic seconds.
        ended_s: the same.
        where: at which replica, where that is known.
    """

    what: str
    began_s: float
    ended_s: float
    where: str = ""


@dataclass(frozen=True, slots=True)
class Ban:
    """Something was not to be used any more.

    Attributes:
        what: that.
        acknowledged_s: when the order was answered; monotonic seconds.
        lifted_s: when the contrary was ordered; infinite where it never was.
    """

    what: str
    acknowledged_s: float
    lifted_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long replicas may take.

    Attributes:
        heard_s: until what one was ordered holds at the others.
        settled_s: until they agree again after a trouble is over.
    """

    heard_s: float
    settled_s: float


@dataclass(slots=True)
class History:
    """All that happened to several replicas.

    Attributes:
        troubles: when Redis was away, and when a replica stood still.
        bans: orders that something is not to be used.
        uses: when something was used that may be banned.
        granted_s: when a limited client got an answer; monotonic seconds, in order.
    """

    troubles: list[Span] = field(default_factory=list)
    bans: list[Ban] = field(default_factory=list)
    uses: list[Span] = field(default_factory=list)
    granted_s: list[float] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Span]:
        """Troubles of these kinds."""
        return [trouble for trouble in self.troubles if trouble.what in kinds]

    def between(self, began_s: float, ended_s: float, *kinds: str) -> list[Span]:
        """Those of them that overlap a time."""
        return [one for one in self.of(*kinds) if one.began_s <= ended_s and one.ended_s >= began_s]


def used_in_spite(history: History, patience: Patience) -> list[tuple[Ban, Span]]:
    """Uses that began when every replica had to know of the ban.

    Who could not hear of it, because Redis was away or it stood still itself, hears of it when that is over. What all
    have heard no trouble takes back.
    """
    found = []
    for ban in history.bans:
        known_s = ban.acknowledged_s + patience.heard_s
        for trouble in sorted(history.of(REDIS, STOPPED), key=lambda one: one.began_s):
            # one may have come before another was over
            if trouble.began_s <= known_s and trouble.ended_s >= ban.acknowledged_s:
                known_s = max(known_s, trouble.ended_s + patience.settled_s)
        found += [
            (ban, use)
            for use in history.uses
            if use.what == ban.what and known_s < use.began_s < ban.lifted_s
        ]
    return found


def told(history: History, found: Sequence[tuple[Ban, Span]]) -> str:
    """A line for each ban with uses that should not have been, and what had happened shortly before or meanwhile."""
    lines = []
    for ban in dict.fromkeys(ban for ban, _ in found):
        late = [(round(use.began_s - ban.acknowledged_s, 2), use.where) for each, use in found if each is ban]
        near = [
            (one.what, round(one.began_s - ban.acknowledged_s, 2), round(one.ended_s - ban.acknowledged_s, 2))
            for one in history.troubles
            if one.ended_s > ban.acknowledged_s - 30 and one.began_s < late[-1][0] + ban.acknowledged_s
        ]
        lines.append(f"{ban.what} {len(late)} times, {late[0]} to {late[-1]} after its order; {near}")
    return "\n".join(lines)


def overdrawn(history: History, limit: int, window_s: float, factor: float) -> list[tuple[float, int]]:
    """Beginnings of windows in which a client got more than its limit, with how much.

    A Redis that was lost takes its counts with it: then as much may be had once more, from each of two replicas by
    itself and from the new Redis. `factor` is what replicas may be off by where nothing happened.
    """
    found = []
    granted_s = history.granted_s
    for number, began_s in enumerate(granted_s):
        count = sum(each_s < began_s + window_s for each_s in granted_s[number:])
        lost = len(history.between(began_s - window_s, began_s + window_s, REDIS))
        if count > limit * factor + 3 * limit * lost:
            found.append((began_s, count))
    return found


def at_once(calls: Sequence[Span], excused: Callable[[Span, Span], bool]) -> list[tuple[Span, Span]]:
    """Calls that began before the one before had ended, though only one at a time was allowed."""
    ordered = sorted(calls, key=lambda call: call.began_s)
    return [
        (first, second)
        for first, second in pairwise(ordered)
        if second.began_s < first.ended_s and not excused(first, second)
    ]


def twice(done: Iterable[Span], excused: Callable[[Span, Span], bool]) -> list[tuple[Span, Span]]:
    """What was done two times though it was ordered once, by name."""
    first: dict[str, Span] = {}
    found = []
    for one in done:
        before = first.setdefault(one.what, one)
        if before is not one and not excused(before, one):
            found.append((before, one))
    return found
