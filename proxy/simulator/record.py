"""What the simulator received and how each exchange ended: the evidence tests and the benchmark judge by."""

from collections import Counter, deque
from enum import StrEnum

import msgspec

DEFAULT_RECORD_LIMIT = 10_000
DEFAULT_BODIES_BYTES = 64 * 1024 * 1024


class EndedBy(StrEnum):
    """Who ended an exchange or a connection."""

    SERVER = "server"
    CLIENT = "client"
    FAULT = "fault"


class Received(msgspec.Struct, eq=False):
    """One request, from its first byte to the end of its answer. Times are the clock's monotonic seconds.

    Attributes:
        number: counts all requests from 1.
        key: what the request authenticated with; empty when it brought nothing.
        method: as sent.
        path: target with its query.
        headers: pairs in order, names in lower case.
        connection: number of the connection, from 1.
        peer: address of the client, ``host:port``.
        started_s: when the head was complete.
        body: the body, or empty once newer bodies needed the room.
        body_bytes: its length, always.
        body_complete_s: when its last byte was read.
        step: name of the behaviour that answered.
        status: status line sent, if any.
        first_byte_s: when the first byte of the answer was written.
        bytes_sent: bytes of the answer handed to the connection, head and framing included.
        ended_s: when the exchange was over.
        ended_by: ``server``: answered fully; ``client``: gone before that; ``fault``: cut on purpose.
        closed_s: when the connection's end was seen, on the last request it carried.
        closed_by: whose end that was.
        answer: what was sent of the answer's body, where the simulator keeps answers; else empty.
    """

    number: int
    key: str
    method: str
    path: str
    headers: list[tuple[str, str]]
    connection: int
    peer: str
    started_s: float
    body: bytes = b""
    body_bytes: int = 0
    body_complete_s: float | None = None
    step: str = ""
    status: int | None = None
    first_byte_s: float | None = None
    bytes_sent: int = 0
    ended_s: float | None = None
    ended_by: EndedBy | None = None
    closed_s: float | None = None
    closed_by: EndedBy | None = None
    answer: bytes = b""

    def header(self, name: str) -> str | None:
        """The last value of a header, by its lower-case name."""
        return next((value for known, value in reversed(self.headers) if known == name), None)


class Snapshot(msgspec.Struct):
    """The record as ``GET /__record`` gives it; bodies are base64.

    Attributes:
        requests: the newest requests, oldest first.
        requests_total: all requests since the start or the last reset.
        requests_per_key: the same by key.
        statuses: answers by status.
        ended: exchanges by who ended them.
        bytes_sent: bytes of all ended answers.
        open_connections: now.
        connections_total: since the start or the last reset.
        in_flight: requests being answered now, by key.
        max_in_flight: the most there were at once, by key.
        malformed: times that bytes were no request; these are in no other number.
    """

    requests: list[Received]
    requests_total: int
    requests_per_key: dict[str, int]
    statuses: dict[int, int]
    ended: dict[str, int]
    bytes_sent: int
    open_connections: int
    connections_total: int
    in_flight: dict[str, int]
    max_in_flight: dict[str, int]
    malformed: int


class Record:
    """All that was received; bounded lists, unbounded counters."""

    def __init__(
        self, *, limit: int = DEFAULT_RECORD_LIMIT, bodies_bytes: int = DEFAULT_BODIES_BYTES
    ) -> None:
        self._limit = limit
        self._bodies_limit_bytes = bodies_bytes
        self.open_connections = 0
        self.in_flight: Counter[str] = Counter()
        self.clear()

    def clear(self) -> None:
        """Forget the past; what is live now stays counted."""
        self._requests: deque[Received] = deque(maxlen=self._limit)
        self._bodies: deque[Received] = deque()
        self._bodies_held_bytes = 0
        self.requests_total = 0
        self.connections_total = 0
        self.bytes_sent = 0
        self.malformed = 0
        self.requests_per_key: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.ended: Counter[str] = Counter()
        self.max_in_flight: Counter[str] = Counter(self.in_flight)

    @property
    def requests(self) -> list[Received]:
        """The newest requests, oldest first."""
        return list(self._requests)

    def of(self, key: str) -> list[Received]:
        """The newest requests of one key, oldest first."""
        return [received for received in self._requests if received.key == key]

    def connection_opened(self) -> int:
        """Count a connection; gives its number."""
        self.open_connections += 1
        self.connections_total += 1
        return self.connections_total

    def connection_closed(self) -> None:
        """Count a connection's end."""
        self.open_connections -= 1

    def began(self, received: Received) -> None:
        """Take a request whose head is complete."""
        self.requests_total += 1
        key = received.key
        self.requests_per_key[key] += 1
        self._requests.append(received)
        in_flight = self.in_flight[key] + 1
        self.in_flight[key] = in_flight
        self.max_in_flight[key] = max(self.max_in_flight[key], in_flight)

    def body_complete(self, received: Received, body: bytes, now_s: float) -> None:
        """Keep a body, and drop the oldest ones beyond the bound."""
        received.body_complete_s = now_s
        received.body_bytes = len(body)
        if not body or self._limit == 0:
            return
        received.body = body
        self._bodies.append(received)
        self._bodies_held_bytes += len(body)
        while self._bodies_held_bytes > self._bodies_limit_bytes or len(self._bodies) > self._limit:
            oldest = self._bodies.popleft()
            self._bodies_held_bytes -= oldest.body_bytes
            oldest.body = b""

    def ended_by(self, received: Received, who: EndedBy, now_s: float) -> None:
        """Close an exchange; later calls change nothing."""
        if received.ended_by is not None:
            return
        received.ended_by = who
        received.ended_s = now_s
        self.ended[who.value] += 1
        self.bytes_sent += received.bytes_sent
        if received.status is not None:
            self.statuses[received.status] += 1
        left = self.in_flight[received.key] - 1
        if left > 0:
            self.in_flight[received.key] = left
        else:
            del self.in_flight[received.key]

    def snapshot(self, *, newest: int | None = None, bodies: bool = True) -> Snapshot:
        """Everything as one value; `newest` bounds the list, `bodies` False leaves bodies out."""
        requests = self.requests if newest is None else self.requests[max(0, len(self._requests) - newest) :]
        if not bodies:
            requests = [msgspec.structs.replace(received, body=b"") for received in requests]
        return Snapshot(
            requests=requests,
            requests_total=self.requests_total,
            requests_per_key=dict(self.requests_per_key),
            statuses=dict(self.statuses),
            ended=dict(self.ended),
            bytes_sent=self.bytes_sent,
            open_connections=self.open_connections,
            connections_total=self.connections_total,
            in_flight=dict(self.in_flight),
            max_in_flight=dict(self.max_in_flight),
            malformed=self.malformed,
        )
