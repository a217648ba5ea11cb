"""Reading a request's body, refused as soon as it is known to be too large."""

from collections.abc import AsyncGenerator, Callable
from typing import Final, TypeVar

from aiohttp import StreamReader, web

from proxy.errors import ErrorKind, GatewayError, InvalidRequest, TooLarge
from proxy.server.context import SERVICES
from proxy.settings import Policy
from proxy.tasks import off_loop
from proxy.watch import Watch

LARGE_BYTES: Final = 2 * 1024 * 1024
"""From here on even a look at a body takes so long that the loop must not wait for it."""

_KEPT: Final = web.RequestKey("kept_body", bytes)
_T = TypeVar("_T")


async def looked_at(length_bytes: int, look: Callable[[], _T], *, large_bytes: int = LARGE_BYTES) -> _T:
    """What a look at so many bytes finds; at `large_bytes` and more beside the loop."""
    return look() if length_bytes < large_bytes else await off_loop(look)


async def read_body(
    request: web.Request, policy: Policy, watch: Watch, *, limit_bytes: int | None = None
) -> bytes:
    """The whole body, decompressed.

    Raises TooLarge over `limit_bytes`, the policy's `body_max_bytes` where none is given, by the declared length before
    a byte is read, and GatewayError 408 when it arrives too slowly.
    """
    if limit_bytes is None:
        limit_bytes = policy.body_max_bytes
    content = request.content
    if content.is_eof() and content.exception() is None:
        body = content.read_nowait()
        if len(body) > limit_bytes:
            raise TooLarge(limit_bytes)
        return body
    declared = request.content_length
    if declared is not None and declared > limit_bytes:
        raise TooLarge(limit_bytes)
    arriving = _Arriving(content, limit_bytes, policy, watch)
    chunks = []
    while chunk := await arriving.piece():
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def kept_body(request: web.Request, *, limit_bytes: int | None = None) -> bytes:
    """The same as `read_body`, kept with the request for whoever asks again."""
    kept: bytes | None = request.get(_KEPT)
    if kept is None:
        watch = Watch()
        try:
            kept = await read_body(
                request, request.app[SERVICES].settings.policy, watch, limit_bytes=limit_bytes
            )
        finally:
            watch.close()
        request[_KEPT] = kept
    return kept


async def body_pieces(
    request: web.Request, limit_bytes: int, policy: Policy, watch: Watch
) -> AsyncGenerator[bytes, None]:
    """The body as it comes, decompressed; raises as `read_body` does, for lengths only once they have come."""
    arriving = _Arriving(request.content, limit_bytes, policy, watch)
    while chunk := await arriving.piece():
        yield chunk


class _Arriving:
    """A body on its way.

    It is waited for as long as the policy's `body_stall_s` in all, which every piece lengthens again, up to that, by
    the time it would have taken at `body_min_bytes_per_s`. So neither silence nor single bytes hold a connection.
    """

    __slots__ = (
        "_content",
        "_least_bytes_per_s",
        "_left_bytes",
        "_left_s",
        "_limit_bytes",
        "_most_s",
        "_watch",
    )

    def __init__(self, content: StreamReader, limit_bytes: int, policy: Policy, watch: Watch) -> None:
        self._content = content
        self._watch = watch
        self._limit_bytes = self._left_bytes = limit_bytes
        self._most_s = self._left_s = policy.body_stall_s
        self._least_bytes_per_s = policy.body_min_bytes_per_s

    async def piece(self) -> bytes:
        """What has come; empty at the end. Raises as `body_pieces` does."""
        content, watch = self._content, self._watch
        if content.at_eof() and content.exception() is None:
            return b""
        began_s = watch.now_s()
        try:
            chunk = await watch.within(self._left_s, content.readany())
        except TimeoutError:
            raise GatewayError(408, ErrorKind.TIMEOUT, "The request body arrived too slowly.") from None
        except web.RequestPayloadError:
            raise InvalidRequest("The request body could not be read.") from None
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise TooLarge(self._limit_bytes)
        gained_s = len(chunk) / self._least_bytes_per_s if self._least_bytes_per_s else self._most_s
        self._left_s = min(self._left_s - (watch.now_s() - began_s) + gained_s, self._most_s)
        return chunk
