"""What every kind of upstream offers to the dispatcher."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from proxy.credentials import Credential
from proxy.dialects.claude_options import ClaudeOptions
from proxy.exchange import Operation
from proxy.pool import Failure, Fault, LimitHeaders, UpstreamError
from proxy.watch import Watch


class CodeWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks of Claude Code beyond its messages.

    Attributes:
        options: what it says itself.
        owner: whose sessions it may go on with.
        folder: the folder of the project it belongs to; None for none.
        tell: takes the id of its session, once that is known.
    """

    options: ClaudeOptions
    owner: str
    folder: Path | None
    tell: Callable[[str], None]


class UpstreamCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it goes out.

    Attributes:
        operation: which endpoint.
        body: JSON in the upstream's dialect.
        stream: whether a streamed answer is asked for.
        version: ``anthropic-version``.
        beta: ``anthropic-beta``, or None.
        wish: what Claude Code is asked for; None for an answer alone.
        traceparent: W3C's header of that name, or None.
        client: name of the client's key, where the upstream keeps something for it between calls; else empty.
    """

    operation: Operation
    body: bytes
    stream: bool
    version: str
    beta: str | None = None
    wish: CodeWish | None = None
    traceparent: str | None = None
    client: str = ""


class Source(msgspec.Struct, frozen=True):
    """Who answered, as the answer itself tells.

    Attributes:
        request_id: the upstream's own id of the request, or None.
        organization: the organization the credential belongs to, or None.
        workspace: the workspace within it, or None.
        limits: what is left of the credential's limits, or None.
        limit: the limit that is reached with this answer, or None; where it comes at an answer's end, known then.
    """

    request_id: str | None = None
    organization: str | None = None
    workspace: str | None = None
    limits: LimitHeaders | None = None
    limit: Failure | None = None


class UpstreamRefused(Exception):
    """The upstream answered with something other than success."""

    def __init__(self, error: UpstreamError, source: Source) -> None:
        super().__init__(f"upstream answered {error.status}")
        self.error = error
        self.source = source


class UpstreamFault(Exception):
    """The call did not come to a proper answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class ByteReply(Protocol):
    """A successful answer whose body is being read as bytes of the upstream's dialect."""

    @property
    def source(self) -> Source:
        """Who answered."""
        ...

    @property
    def content_type(self) -> str:
        """The media type, lower case, without parameters."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the body's end has come and every byte before it was read: nothing more can follow."""
        ...

    async def read(self) -> bytes:
        """The next bytes as they came; empty at the end of the body. Raises UpstreamFault. Safe to cancel."""
        ...

    async def read_all(self, watch: Watch, limit_s: float) -> bytes:
        """The whole body within `limit_s` seconds, at most the cap of an upstream answer. Raises UpstreamFault."""
        ...

    def close(self) -> None:
        """Give the connection back if the answer was read to its end, else close it at once. Idempotent."""
        ...


class Upstream(Protocol):
    """One kind of upstream, for all its credentials."""

    @property
    def dialect(self) -> str:
        """Name of the dialect its replies speak."""
        ...

    async def open(
        self, call: UpstreamCall, credential: Credential, watch: Watch, limit_s: float
    ) -> ByteReply:
        """Send the call and read the head of the answer.

        Raises UpstreamRefused for an error answer and UpstreamFault for none, both within `limit_s` seconds.
        """
        ...

    async def forget(self, credential: Credential) -> None:
        """Close and forget what was made for this credential alone. It is configured no more and has no call open."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
