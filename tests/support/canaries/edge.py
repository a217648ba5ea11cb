"""The edge at which a server of ours writes to a connection, with somebody listening.

It is put up in the tests' own process, and in those that they start; see `inside/sitecustomize.py`.
"""

from asyncio import Transport
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web, web_protocol

from proxy.server.context import SERVICES

_ADMINISTRATORS: Final = ("/admin", "/dashboard", "/metrics", "/stats", "/openapi.json", "/health", "/ready")
Heard = Callable[[bool, bytes], None]
"""Takes what was written: whether it answers an administrator, or whoever else is no client; and the bytes."""


class _Overheard:
    """A transport that tells what is written to it; all else is the transport's own."""

    __slots__ = ("_handler", "_hear", "_transport")

    def __init__(self, transport: Transport, handler: web_protocol.RequestHandler, hear: Heard) -> None:
        self._transport = transport
        self._handler = handler
        self._hear = hear

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._hear(self._is_page(), bytes(data))
        self._transport.write(data)

    def writelines(self, parts: Iterable[bytes]) -> None:
        kept = [bytes(part) for part in parts]
        self._hear(self._is_page(), b"".join(kept))
        self._transport.writelines(kept)

    def _is_page(self) -> bool:
        request = self._handler._current_request
        return request is not None and request.path.startswith(_ADMINISTRATORS)


def overhear(hear: Heard) -> Callable[[], None]:
    """Have `hear` called with all that servers of ours write from now on; the result ends that."""
    made = web_protocol.RequestHandler.connection_made

    def connection_made(handler: web_protocol.RequestHandler, transport: Transport) -> None:
        made(handler, _Overheard(transport, handler, hear) if _is_ours(handler) else transport)  # type: ignore[arg-type]  # it stands in for one

    def end() -> None:
        web_protocol.RequestHandler.connection_made = made  # type: ignore[method-assign]  # there is no hook for it

    web_protocol.RequestHandler.connection_made = connection_made  # type: ignore[method-assign,assignment]  # the same
    return end


def _is_ours(handler: web_protocol.RequestHandler) -> bool:
    app = getattr(getattr(handler._manager, "request_handler", None), "__self__", None)
    return isinstance(app, web.Application) and SERVICES in app
