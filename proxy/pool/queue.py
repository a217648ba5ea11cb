"""Who waits for a place, in the order in which places are given: one client after the other, each in its own order."""

from bisect import insort
from collections import Counter
from collections.abc import Iterator

from proxy.pool.outcomes import Ticket


class Queue:
    """The waiting requests of one pool, bounded.

    Every request is due in a turn. A client's next one is due in the turn after its last, and in no earlier one than
    that which is being served, so that many requests of one client hold up another's by one request at a time. Within
    a turn whoever came first is first.
    """

    __slots__ = ("_last_turns", "_length", "_line", "_number", "_places", "_turn")

    def __init__(self, length: int) -> None:
        """`length` is how many may wait."""
        self._length = length
        self._line: list[tuple[int, int, Ticket]] = []
        self._places: dict[Ticket, tuple[int, int, Ticket]] = {}
        self._last_turns: dict[str, int] = {}
        self._turn = 0
        self._number = 0

    def join(self, ticket: Ticket) -> bool:
        """Wait; False while the queue is full."""
        if len(self._line) >= self._length:
            return False
        client = ticket.want.client
        turn = max(self._turn, self._last_turns.get(client, -1) + 1)
        self._last_turns[client] = turn
        self._number += 1
        place = self._places[ticket] = (turn, self._number, ticket)
        insort(self._line, place)
        return True

    def serve(self, ticket: Ticket) -> None:
        """It waits no longer, because its turn has come. Raises KeyError for one that is not in the queue."""
        turn, _, _ = self._places[ticket]
        self._turn = max(self._turn, turn)
        self.leave(ticket)

    def leave(self, ticket: Ticket) -> bool:
        """It waits no longer; False if it was not in the queue."""
        place = self._places.pop(ticket, None)
        if place is None:
            return False
        self._line.remove(place)
        client = ticket.want.client
        if place[0] == self._last_turns.get(client) and place[0] > self._turn:
            # a turn that was not used is not lost
            self._last_turns[client] = place[0] - 1
        if not self._line:
            self._last_turns.clear()
        return True

    def crowded_out(self, client: str) -> Ticket | None:
        """Who has to make room for `client` in a full queue: the last one of the client that has most of it.

        None where that would leave it no more than `client` has then.
        """
        waiting = Counter(ticket.want.client for _, _, ticket in self._line)
        if not waiting:
            return None
        greediest, most = waiting.most_common(1)[0]
        if most <= waiting[client] + 1:
            return None
        return next(ticket for _, _, ticket in reversed(self._line) if ticket.want.client == greediest)

    def __iter__(self) -> Iterator[Ticket]:
        """In the order of their turns, as it is now."""
        return iter([ticket for _, _, ticket in self._line])

    def __len__(self) -> int:
        return len(self._line)

    def __contains__(self, ticket: object) -> bool:
        return ticket in self._places
