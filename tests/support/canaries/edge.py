"""The edge at which a server of ours writes to a connection, with somebody listening.

It is put up in the tests' own process, and in those that they start; see `inside/sitecustomize.py`.
"""

from asyncio import Transport
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiohttp import web, web_protocol

from proxy.server.context import SERVICES

_ADMINISTRATORS: Final = ("/admin", "/dashboard", "/metrics", "/stats", "/openapi.json", "/health", "/ready")
Heard = Callable[[bool, bytes], None]
"""Takes what was written: whether it answers an administrator, or whoever else is no client; and the bytes."""


class _Overheard:
    """A transport that tells what is written to it; all else is the transport's own."""

    __slots__ = ("_hear", "_transport", "is_page")

    def __init__(self, transport: Transport, hear: Heard) -> None:
        self._transport = transport
        self._hear = hear
        self.is_page = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._hear(self.is_page, bytes(data))
        self._transport.write(data)

    def writelines(self, parts: Iterable[bytes]) -> None:
        kept = [bytes(part) for part in parts]
        self._hear(self.is_page, b"".join(kept))
        self._transport.writelines(kept)


def overhear(hear: Heard) -> Callable[[], None]:
    """Have `hear` called with all that servers of ours write from now on; the result ends that."""
    kind = web_protocol.RequestHandler
    made, handle = kind.connection_made, kind._handle_request

    def connection_made(handler: web_protocol.RequestHandler, transport: Transport) -> None:
        made(handler, _Overheard(transport, hear) if _is_ours(handler) else transport)  # type: ignore[arg-type]  # it stands in for one

    async def handle_request(
        handler: web_protocol.RequestHandler, request: web.BaseRequest, *rest: Any
    ) -> tuple[web.StreamResponse, bool]:
        transport: object = handler.transport
        if isinstance(transport, _Overheard):
            transport.is_page = request.path.startswith(_ADMINISTRATORS)
        return await handle(handler, request, *rest)

    def put(made: object, handle: object) -> None:
        # there is no hook for what is written
        setattr(kind, "connection_made", made)  # noqa: B010 - a method is replaced
        setattr(kind, "_handle_request", handle)  # noqa: B010 - the same

    def end() -> None:
        put(made, handle)

    put(connection_made, handle_request)
    return end


def _is_ours(handler: web_protocol.RequestHandler) -> bool:
    app = getattr(getattr(handler._manager, "request_handler", None), "__self__", None)
    return isinstance(app, web.Application) and SERVICES in app
