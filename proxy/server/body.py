"""Reading a request's body, refused as soon as it is known to be too large."""

from collections.abc import AsyncGenerator, Callable
from typing import Final, TypeVar

from aiohttp import web

from proxy.errors import ErrorKind, GatewayError, InvalidRequest, TooLarge
from proxy.tasks import off_loop
from proxy.watch import Watch

LARGE_BYTES: Final = 2 * 1024 * 1024
"""From here on even a look at a body takes so long that the loop must not wait for it."""

_STALLED_BODY_S = 60.0
_T = TypeVar("_T")


async def looked_at(length_bytes: int, look: Callable[[], _T], *, large_bytes: int = LARGE_BYTES) -> _T:
    """What a look at so many bytes finds; at `large_bytes` and more beside the loop."""
    return look() if length_bytes < large_bytes else await off_loop(look)


async def read_body(request: web.Request, limit_bytes: int, watch: Watch) -> bytes:
    """The whole body, decompressed.

    Raises TooLarge over `limit_bytes`, by the declared length before a byte is read, and GatewayError 408 when
    60 seconds pass without a byte.
    """
    declared = request.content_length
    if declared is not None and declared > limit_bytes:
        raise TooLarge(limit_bytes)
    content = request.content
    if content.is_eof() and content.exception() is None:
        body = content.read_nowait()
        if len(body) > limit_bytes:
            raise TooLarge(limit_bytes)
        return body
    chunks = [chunk async for chunk in body_pieces(request, limit_bytes, watch)]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def body_pieces(request: web.Request, limit_bytes: int, watch: Watch) -> AsyncGenerator[bytes, None]:
    """The body as it comes, decompressed; raises as `read_body` does, for lengths only once they have come."""
    content = request.content
    left_bytes = limit_bytes
    try:
        while chunk := await watch.within(_STALLED_BODY_S, content.readany()):
            left_bytes -= len(chunk)
            if left_bytes < 0:
                raise TooLarge(limit_bytes)
            yield chunk
    except TimeoutError:
        raise GatewayError(408, ErrorKind.TIMEOUT, "The request body stopped arriving.") from None
    except web.RequestPayloadError:
        raise InvalidRequest("The request body could not be read.") from None
