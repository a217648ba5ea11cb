"""Events of one response, numbered as they go out."""

from typing import Final

import msgspec

_encode: Final = msgspec.json.Encoder().encode


class Frames:
    """Writes the events of one stream, each with the number that follows the last one's.

    Attributes:
        number: of the next event, from 0.
    """

    __slots__ = ("_out", "number")

    def __init__(self) -> None:
        self.number = 0
        self._out: list[bytes] = []

    def event(self, kind: bytes, fields: bytes) -> None:
        """One event: its type, and the JSON of its other fields without the braces around them."""
        self._out.append(
            b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n' % (kind, kind, self.number, fields)
        )
        self.number += 1

    def response(self, kind: bytes, response: bytes) -> None:
        """An event that carries the response, in JSON."""
        self.event(kind, b'"response":' + response)

    def item(self, kind: bytes, index: int, item: object) -> None:
        """An event that carries the output's `index`-th item."""
        self.event(kind, b'"output_index":%d,"item":%b' % (index, _encode(item)))

    def take(self) -> bytes:
        """The bytes of all events since the last time."""
        out = b"".join(self._out)
        self._out.clear()
        return out
