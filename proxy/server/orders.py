"""Orders, an administrator's or a client's: carried out once for each ``Idempotency-Key`` of whoever gives them.

Those of an administrator are written into the book.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web
from multidict import istr

from proxy.access.idempotency import HEADER, REPLAYED, Answered
from proxy.errors import ErrorKind, GatewayError
from proxy.log import get_logger
from proxy.server.body import kept_body
from proxy.server.context import CALLER, SERVICES
from proxy.server.extras import raw_json_response
from proxy.server.routes import Handler
from proxy.store.base import StoreError

_log = get_logger("orders")
_ORDER = istr(HEADER)
_ADMIN = "admin"
"""Owns the orders of administrators; no client can be called so."""


def once(handler: Handler) -> Handler:
    """The same handler of JSON answers, for requests that may be sent twice."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if _ORDER not in request.headers:
            return await handler(request)

        async def work(_nonce: str) -> tuple[int, bytes]:
            response = await handler(request)
            if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
                raise TypeError("an order is answered whole")
            return response.status, response.body

        answered = await carried_out(request, work)
        return shown(request, answered, answered.body)

    return handle


async def carried_out(request: web.Request, work: Callable[[str], Awaitable[tuple[int, bytes]]]) -> Answered:
    """Carry out what a request orders, unless it was before; see `Idempotency.once`."""
    asked = b"\0".join((request.method.encode(), request.path_qs.encode(), await kept_body(request)))
    orders = request.app[SERVICES].admission.desk.orders
    return await orders.once(request[CALLER].client or _ADMIN, request.headers.get(_ORDER), asked, work)


def shown(request: web.Request, answered: Answered, body: bytes) -> web.Response:
    """An order's answer; a repeated one says so."""
    response = raw_json_response(request, body, status=answered.status)
    if answered.repeated:
        response.headers[REPLAYED] = "true"
    return response


async def note(request: web.Request, action: str, target: str = "") -> None:
    """Write into the book what a request orders.

    Raises GatewayError 503 where it cannot be written: then it must not be carried out.
    """
    services = request.app[SERVICES]
    request_id = request[CALLER].request_id
    try:
        await services.admission.desk.audit.note(
            action, target, remote=services.admission.addresses.of(request), request_id=request_id
        )
    except StoreError as error:
        _log.error("order not written down", action=action, target=target, problem=str(error))
        raise GatewayError(
            503,
            ErrorKind.API,
            "Orders cannot be written down now, and those that cannot are not carried out.",
            code="not_kept",
        ) from None
