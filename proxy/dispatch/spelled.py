"""An upstream's whole answer read as the stream that was asked for."""

import msgspec

from proxy.dialects.sse import encode_frame
from proxy.model.events import Event
from proxy.model.message import Message
from proxy.model.spell import spelled
from proxy.upstreams.base import Source
from proxy.watch import Watch


class SpelledReply:
    """A `ByteReply` whose bytes are all there; the call behind it is closed already."""

    content_type = "text/event-stream"

    def __init__(self, message: Message, source: Source) -> None:
        self.source = source
        self._left = b"".join(map(_frame, spelled(message)))

    @property
    def ended(self) -> bool:
        """See `ByteReply.ended`."""
        return not self._left

    async def read(self) -> bytes:
        """See `ByteReply.read`."""
        found, self._left = self._left, b""
        return found

    async def read_all(self, watch: Watch, limit_s: float) -> bytes:  # noqa: ARG002 - nothing is waited for
        """See `ByteReply.read_all`."""
        return await self.read()

    def close(self) -> None:
        """Nothing is open."""


def _frame(event: Event) -> bytes:
    return encode_frame(msgspec.json.encode(event), str(event.__struct_config__.tag))
