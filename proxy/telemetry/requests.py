"""The one line of the log each request gets."""

from typing import Protocol

import msgspec


class RequestLine(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """What is kept of a request: who, what, how it went. Nothing of its texts.

    Attributes:
        time: when it ended, UTC; set by the log.
        level: always ``info``.
        room: always ``requests``.
        event: always ``request``.
        id: ours, as the client sees it.
        client: name of the client key.
        path: as asked, 100 characters of it.
        status: of the answer; 499 when the client left before there was one.
        model: asked of the upstream, after aliases, 100 characters of it.
        stream: whether a streamed answer was asked for.
        credential: alias of the one that answered or was asked last.
        attempts: upstream calls made.
        took_ms: from the first byte of the request to the last of the answer.
        first_ms: to the first real event, or the whole of a unary answer.
        input_tokens: as the upstream told.
        output_tokens: as the upstream told.
        stop_reason: why the answer ended.
        failed: ``alias:outcome`` of each failed attempt, in order.
        dropped: paths of the fields that could not be carried.
        cache: ``hit`` or ``miss`` where the cache of answers was asked.
    """

    time: str
    level: str
    room: str
    event: str
    id: str
    client: str
    path: str
    status: int
    model: str | None = None
    stream: bool | None = None
    credential: str | None = None
    attempts: int | None = None
    took_ms: float
    first_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    stop_reason: str | None = None
    failed: list[str] = []
    dropped: list[str] = []
    cache: str | None = None

    def told(self) -> dict[str, object]:
        """The fields that say something, in their order."""
        fields = msgspec.structs.asdict(self)
        return {name: value for name, value in fields.items() if value is not None and value != []}


class HasLine(Protocol):
    """A request after its end, of which a line can be told."""

    @property
    def ended_unix_ms(self) -> int:
        """When that was."""
        ...

    def line(self) -> RequestLine:
        """Its line, but for the time."""
        ...
