"""``POST /admin/pool/reload``: the credentials are read again."""

from aiohttp import web

from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.server.context import SERVICES
from proxy.server.extras import json_response
from proxy.server.orders import note
from proxy.settings import ConfigurationError


async def reload(request: web.Request) -> web.Response:
    """The aliases that were added, changed and removed.

    Raises InvalidRequest with every mistake when what is configured cannot be used; the old credentials stay then.
    """
    reloader = request.app[SERVICES].reloader
    if reloader is None:
        raise GatewayError(
            409, ErrorKind.INVALID_REQUEST, "Nothing can be read again: the server runs in demo mode."
        )
    await note(request, "pool.reload")
    try:
        difference = await reloader.reload("administrator")
    except ConfigurationError as error:
        raise InvalidRequest(f"The old credentials stay. {error}", param="SESSIONS_FILE") from None
    return json_response(
        request,
        {"added": difference.added, "changed": difference.changed, "removed": difference.removed},
    )
