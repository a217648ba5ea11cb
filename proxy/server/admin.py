"""What an operator sees and orders below ``/admin``: the pool, why it chooses as it does, and the last requests."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Final

from aiohttp import web

from proxy.dialects.decoding import printable
from proxy.errors import ErrorKind, GatewayError, InvalidRequest, NotFound
from proxy.log import get_logger
from proxy.pool import BY_CONFIGURATION, MemberView, Pool, Settled
from proxy.server.context import CALLER, SERVICES, Services
from proxy.server.extras import json_response
from proxy.server.query import demand_known, number, word
from proxy.server.routes import Handler
from proxy.store.base import NotShared, StoreError
from proxy.telemetry.traces import KEPT

_log = get_logger("admin")
_ORGANIZATION_SHOWN: Final = 8
_REQUESTS_DEFAULT: Final = 20
_STATUS: Final = re.compile(r"[1-5](?:[0-9]{2}|xx)")


async def pool(request: web.Request) -> web.Response:
    """``GET /admin/pool``: every credential by alias, with its state and times; what is left at claude.ai."""
    services = request.app[SERVICES]
    owed = services.deletions.owed if services.deletions is not None else 0
    credentials = [shown(view) for view in services.pool.snapshot()]
    return _answer(request, {"credentials": credentials, "owed_deletions": owed})


async def explain(request: web.Request) -> web.Response:
    """``GET /admin/pool/explain?model=…&client=…``: who would be asked for a model now, and why not the others.

    Raises InvalidRequest.
    """
    services = request.app[SERVICES]
    demand_known(request, ("model", "client"))
    asked, client = word(request, "model"), word(request, "client")
    known = None if client is None else services.keys.clients.named(client)
    if client is not None and known is None:
        names = ", ".join(sorted(services.keys.clients.names))
        raise InvalidRequest(f"client names no client key. There are: {names}.", param="client")
    model = services.resolve(asked or "").model
    limit_class = services.catalog.limit_class(model)
    rules = known.rules if known is not None else None
    only = rules.credentials if rules is not None else frozenset()
    outlook = services.pool.outlook(model, limit_class, client, only)
    return _answer(
        request,
        {
            "asked": asked,
            "model": model,
            "limit_class": limit_class,
            "client": client,
            "next": outlook.next,
            "waits": outlook.waits,
            "exhausted": outlook.exhausted,
            "retry_after_s": round(outlook.retry_after_s, 1) if outlook.retry_after_s is not None else None,
            "credentials": outlook.credentials,
        },
    )


async def requests(request: web.Request) -> web.Response:
    """``GET /admin/requests?limit=…&credential=…&status=…``: the last requests, newest first. Raises InvalidRequest."""
    services = request.app[SERVICES]
    demand_known(request, ("limit", "credential", "status"))
    limit = number(request, "limit", default=_REQUESTS_DEFAULT, most=KEPT)
    credential, statuses = word(request, "credential"), _statuses(request)
    found = list(islice(services.traces.newest(credential=credential, statuses=statuses), limit))
    # one that is gone may still be in the traces
    if credential is not None and not found and _view(services, credential) is None:
        raise InvalidRequest("credential is the alias of none.", param="credential")
    return _answer(request, {"requests": found})


async def traced_request(request: web.Request) -> web.Response:
    """``GET /admin/requests/{id}``: one of the last requests. Raises NotFound."""
    services = request.app[SERVICES]
    wanted = request.match_info["id"]
    trace = services.traces.find(wanted)
    if trace is None:
        raise NotFound(f"{printable(wanted)} is none of the last {KEPT} requests.", code="request_not_found")
    return _answer(request, trace)


def order(action: str, change: Callable[[Pool, str], Settled]) -> Handler:
    """The handler of ``POST /admin/pool/{alias}/…``: `change` is made, kept, and only then answered.

    It raises NotFound for an unknown alias, and GatewayError: 409 for a credential that is disabled in the
    configuration and cannot be brought back from here, 503 where the change cannot be kept.
    """

    async def handle(request: web.Request) -> web.Response:
        services = request.app[SERVICES]
        alias = request.match_info["alias"]
        unheard = await _unheard(services)
        _demand_orderable(services, alias, action)
        settled = change(services.pool, alias)
        view = _view(services, alias)
        _log.warning(
            "credential administered",
            action=action,
            credential=alias,
            by="admin key",
            remote=request.remote,
            request_id=request[CALLER].request_id,
        )
        try:
            await services.places.order(settled)
            if unheard is not None:
                raise unheard
            await _noted(request, f"pool.{action}", alias)
        except NotShared as error:
            _log.error("order not told to others", action=action, credential=alias, problem=str(error))
            raise GatewayError(
                503,
                ErrorKind.API,
                f"{alias} was changed here; the other processes cannot be told before Redis is back.",
                code="not_shared",
            ) from None
        except StoreError as error:
            _log.error("order not kept", action=action, credential=alias, problem=str(error))
            raise GatewayError(
                503,
                ErrorKind.API,
                f"{alias} was changed, but that could not be written down and ends with the next restart.",
                code="not_kept",
            ) from None
        return _answer(request, shown(view) if view is not None else None)

    return handle


enable: Final = order("enable", Pool.enable)
disable: Final = order("disable", Pool.disable)
reset: Final = order("reset", Pool.reset)


async def _noted(request: web.Request, action: str, alias: str) -> None:
    """Write an order into the book. Raises StoreError."""
    admission = request.app[SERVICES].admission
    remote, request_id = admission.addresses.of(request), request[CALLER].request_id
    await admission.desk.audit.note(action, alias, remote=remote, request_id=request_id)


async def _unheard(services: Services) -> NotShared | None:
    """Why it cannot be known what other processes have told so far; None where it is known."""
    try:
        await services.places.hear()
    except NotShared as error:
        return error
    return None


def _demand_orderable(services: Services, alias: str, action: str) -> None:
    """Raises NotFound and GatewayError; see `order`."""
    view = _view(services, alias)
    if view is None:
        raise NotFound(
            f"No credential is called {printable(alias)}.", code="credential_not_found", param="alias"
        )
    if action != "disable" and view.state.cause == BY_CONFIGURATION:
        raise GatewayError(
            409,
            ErrorKind.INVALID_REQUEST,
            f"{alias} is disabled in the configuration, and only there it can be enabled.",
            code="disabled_in_configuration",
        )


def _view(services: Services, alias: str) -> MemberView | None:
    return next((view for view in services.pool.snapshot() if view.name == alias), None)


def shown(view: MemberView) -> MemberView:
    """A credential as it is told: of an organization only as much as tells it from the others."""
    return replace(view, organization=_short(view.organization), workspace=_short(view.workspace))


def _short(name: str | None) -> str | None:
    return None if name is None else name[:_ORGANIZATION_SHOWN]


def _statuses(request: web.Request) -> range | None:
    """The statuses asked for: one, or with ``xx`` at its end all of a class; None for any. Raises InvalidRequest."""
    text = request.query.get("status")
    if text is None:
        return None
    if not _STATUS.fullmatch(text):
        raise InvalidRequest("status must be a number from 100 to 599, or 4xx and the like.", param="status")
    first = int(text.replace("x", "0"))
    return range(first, first + (100 if text.endswith("xx") else 1))


def _answer(request: web.Request, value: object) -> web.Response:
    # what clients call a model or a field is shown here, and might be a key in the wrong place
    return json_response(request, value, redacted=True)
