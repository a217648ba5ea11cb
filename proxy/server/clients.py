"""``/admin/keys`` and ``/admin/audit``: the keys of clients, and the book of orders."""

import datetime as dt
from typing import Annotated, Final

import msgspec
from aiohttp import web

from proxy.access import NameTaken, Period, Rules
from proxy.access.idempotency import HEADER
from proxy.access.stored import KeyView
from proxy.dialects.decoding import decode_json, printable
from proxy.errors import ErrorKind, GatewayError, InvalidRequest, NotFound
from proxy.log import get_logger
from proxy.server.body import kept_body
from proxy.server.context import CALLER, SERVICES
from proxy.server.extras import json_response
from proxy.server.orders import carried_out, note, shown
from proxy.server.query import demand_known, number
from proxy.store.base import StoreError

_log = get_logger("clients")
_AUDIT_DEFAULT: Final = 100
_AUDIT_MAX: Final = 1000
_ID_MAX: Final = 10**15
_MICRO: Final = 1_000_000

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
_Pattern = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,128}\Z")]
_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000_000)]


class NewKey(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``POST /admin/keys`` takes; all but the name may be left out, and is then not limited.

    Attributes:
        name: of the client, 1 to 64 letters, digits, dots, underscores and hyphens.
        models: patterns of models.
        credentials: aliases.
        requests_per_minute: at least 1.
        tokens_per_minute: at least 1.
        concurrency: requests at the same time.
        budget_usd: US dollars a period.
        period: of the budget: ``hour``, ``day``, ``week``, ``month`` or ``total``.
        expires_at: when it ends, with its zone.
    """

    name: Name
    models: Annotated[tuple[_Pattern, ...], msgspec.Meta(max_length=100)] = ()
    credentials: Annotated[tuple[Name, ...], msgspec.Meta(max_length=100)] = ()
    requests_per_minute: _Count | None = None
    tokens_per_minute: _Count | None = None
    concurrency: _Count | None = None
    budget_usd: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    period: Period = Period.MONTH
    expires_at: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None

    def rules(self) -> Rules:
        """The same as it is kept."""
        return Rules(
            models=self.models,
            credentials=frozenset(self.credentials),
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            concurrency=self.concurrency,
            budget_micro_usd=None if self.budget_usd is None else max(round(self.budget_usd * _MICRO), 1),
            period=self.period,
            expires_unix_ms=None if self.expires_at is None else int(self.expires_at.timestamp() * 1000),
        )


class ShownKey(msgspec.Struct, frozen=True, kw_only=True):
    """A client key as ``/admin/keys`` shows it: the settings of `NewKey`, and what became of it."""

    name: str
    state: str
    created_at: dt.datetime
    revoked_at: dt.datetime | None
    expires_at: dt.datetime | None
    models: tuple[str, ...]
    credentials: tuple[str, ...]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int | None
    budget_usd: float | None
    period: Period


async def keys(request: web.Request) -> web.Response:
    """``GET /admin/keys``: every key there is or was, without the keys themselves. Raises GatewayError 503."""
    demand_known(request, ())
    try:
        views = await request.app[SERVICES].admission.desk.stored.views()
    except StoreError as error:
        raise _unavailable(error) from None
    return json_response(request, {"keys": [_shown(view) for view in views]})


async def new_key(request: web.Request) -> web.Response:
    """``POST /admin/keys``: a new key, shown in this answer alone, and in that to the same order sent again.

    Raises InvalidRequest, and GatewayError: 409 for a name that was used, 503 where it cannot be kept.
    """
    demand_known(request, ())
    wanted = decode_json(NewKey, await kept_body(request))
    services = request.app[SERVICES]
    order = request.headers.get(HEADER)

    async def work(nonce: str) -> tuple[int, bytes]:
        _demand_aliases(wanted, frozenset(view.name for view in services.pool.snapshot()))
        _demand_future(wanted, services.clock.unix_ms())
        await note(request, "keys.new", wanted.name)
        try:
            await services.admission.desk.stored.add(
                wanted.name, wanted.rules(), services.admission.desk.issued_key(nonce, order)
            )
        except NameTaken as taken:
            raise GatewayError(
                409,
                ErrorKind.INVALID_REQUEST,
                str(taken),
                param="name",
                code="name_taken",
                should_retry=False,
            ) from None
        except StoreError as error:
            raise _unavailable(error) from None
        _log.warning("client key made", client=wanted.name, request_id=request[CALLER].request_id)
        return 201, msgspec.json.encode({"name": wanted.name})

    answered = await carried_out(request, work)
    # the key is put in here, so that it is neither kept nor different when the order comes again
    issued = services.admission.desk.issued_key(answered.nonce, order)
    body = msgspec.json.encode({"name": wanted.name, "key": issued.reveal()})
    return shown(request, answered, body)


async def revoke_key(request: web.Request) -> web.Response:
    """``DELETE /admin/keys/{name}``: the key opens nothing any more. Raises NotFound and GatewayError 503."""
    services = request.app[SERVICES]
    name = request.match_info["name"]
    await note(request, "keys.revoke", printable(name))
    try:
        revoked = await services.admission.desk.stored.revoke(name)
    except StoreError as error:
        raise _unavailable(error) from None
    if not revoked:
        raise NotFound(
            f"No client key called {printable(name)} was made here that is still good.",
            code="key_not_found",
            param="name",
        )
    _log.warning("client key revoked", client=name, request_id=request[CALLER].request_id)
    return json_response(request, {"name": name, "state": "revoked"})


async def audit(request: web.Request) -> web.Response:
    """``GET /admin/audit?limit=…&before=…``: what was ordered, newest first. Raises InvalidRequest."""
    demand_known(request, ("limit", "before"))
    limit = number(request, "limit", default=_AUDIT_DEFAULT, most=_AUDIT_MAX)
    before = number(request, "before", default=_ID_MAX, most=_ID_MAX)
    try:
        rows = await request.app[SERVICES].admission.desk.audit.last(limit, before)
    except StoreError as error:
        raise _unavailable(error) from None
    return json_response(request, {"orders": rows}, redacted=True)


def _demand_aliases(wanted: NewKey, aliases: frozenset[str]) -> None:
    for position, alias in enumerate(wanted.credentials):
        if alias not in aliases:
            raise InvalidRequest(
                f"No credential is called {printable(alias)}.", param=f"credentials[{position}]"
            )


def _demand_future(wanted: NewKey, now_unix_ms: int) -> None:
    if wanted.rules().expired(now_unix_ms):
        raise InvalidRequest("expires_at lies in the past.", param="expires_at")


def _unavailable(error: StoreError) -> GatewayError:
    _log.error("keys cannot be kept or read", problem=str(error))
    return GatewayError(503, ErrorKind.API, "Client keys cannot be kept or read now.", code="not_kept")


def _shown(view: KeyView) -> ShownKey:
    rules = view.rules
    return ShownKey(
        name=view.name,
        state=view.state,
        created_at=_moment(view.created_unix_ms),
        revoked_at=None if view.revoked_unix_ms is None else _moment(view.revoked_unix_ms),
        expires_at=None if rules.expires_unix_ms is None else _moment(rules.expires_unix_ms),
        models=rules.models,
        credentials=tuple(sorted(rules.credentials)),
        requests_per_minute=rules.requests_per_minute,
        tokens_per_minute=rules.tokens_per_minute,
        concurrency=rules.concurrency,
        budget_usd=None if rules.budget_micro_usd is None else rules.budget_micro_usd / _MICRO,
        period=rules.period,
    )


def _moment(unix_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(unix_ms / 1000, dt.UTC)
