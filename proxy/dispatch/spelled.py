"""An upstream's whole answer read as the stream that was asked for."""

from proxy.upstreams.base import Source
from proxy.watch import Watch


class SpelledReply:
    """A `ByteReply` whose bytes are all there; the call behind it is closed already."""

    content_type = "text/event-stream"

    def __init__(self, frames: bytes, source: Source) -> None:
        self.source = source
        self._left = frames

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
