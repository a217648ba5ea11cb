"""An answer that is whole before it is passed on."""

from typing import Final

from proxy.upstreams.base import Source
from proxy.watch import Watch


class WholeReply:
    """A whole answer that is already here; see `ByteReply`."""

    content_type: Final = "application/json"
    ended: Final = True

    def __init__(self, body: bytes, source: Source | None = None) -> None:
        self.source = source or Source()
        self._body = body

    async def read(self) -> bytes:
        """The body, once."""
        body, self._body = self._body, b""
        return body

    async def read_all(self, watch: Watch, limit_s: float) -> bytes:  # noqa: ARG002 - there is nothing to wait for
        """The body."""
        return await self.read()

    def close(self) -> None:
        """Nothing is open."""
