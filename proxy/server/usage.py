"""What was used and what it cost: ``/stats`` for each client, and for the operator ``/admin/usage``, also as CSV."""

import csv
import datetime
import io
from collections.abc import Iterable
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.hdrs import ACCEPT

from proxy import __version__
from proxy.dispatch.bookkeeper import KEPT_DAYS
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.log import get_logger
from proxy.model.tally import COUNTED, Dimension, Tally
from proxy.server.answers import owner_of_answers
from proxy.server.context import CALLER, SERVICES, Caller, Services
from proxy.server.extras import active_sessions, json_response
from proxy.server.gate import identity_headers
from proxy.server.metrics import told_by_all
from proxy.server.object_request import tenant_of
from proxy.server.query import demand_known, word
from proxy.server.routes import OPENAI_CHAT
from proxy.store.base import StoreError
from proxy.telemetry.redaction import REDACTOR
from proxy.telemetry.usage import HOUR_MS
from proxy.telemetry.workers import Figures

_log = get_logger("usage")
_PARAMETERS: Final = ("from", "to", "by", "format")
_FORMATS: Final = ("json", "csv")
_CSV: Final = "text/csv"
_MICRO: Final = 1_000_000
_KEPT_MS: Final = KEPT_DAYS * 86_400_000
_FORMULA_BEGINS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")

Sums = tuple[tuple[str | int, Tally], ...]


class Period(msgspec.Struct, frozen=True):
    """Whole hours, in Unix milliseconds: from the beginning of one on, and before that of another."""

    from_unix_ms: int
    to_unix_ms: int


async def stats(request: web.Request) -> web.Response:
    """``GET /stats``: since the start, with a client key what that client used, with the admin key what all did.

    Of several processes all are told of together, but for answers in memory and conversations of one client.
    """
    services, caller = request.app[SERVICES], request[CALLER]
    together = await told_by_all(services) if services.workers is not None else None
    tally = _used(services, caller, together)
    return json_response(
        request,
        {
            "version": __version__,
            "uptime_seconds": int(services.clock.monotonic_s() - services.started_s),
            "requests": tally.requests,
            "errors": tally.errors,
            "tokens": tally.tokens,
            "cost_usd": _usd(tally),
            "unpriced": tally.unpriced,
            "active_sessions": active_sessions(services) if together is None else together.active_sessions,
            "conversations": await services.conversations.count(
                None if caller.admin else tenant_of(request, caller)
            ),
            "cache": {
                "entries": _entries(request, together),
                "hits": tally.cache_hits,
                "misses": tally.cache_misses,
            },
            "workers": 1 if services.workers is None else services.workers.count,
        },
    )


def _used(services: Services, caller: Caller, together: Figures | None) -> Tally:
    """What was used since the start, by the caller or, for the administrator, by all."""
    ledger = services.bookkeeper.ledger
    if together is None:
        return ledger.total() if caller.admin else ledger.of(caller.client)
    if not caller.admin:
        return together.used.get(caller.client, Tally())
    total = Tally()
    for tally in together.used.values():
        total.add(tally)
    return total


def _entries(request: web.Request, together: Figures | None) -> int:
    """How many answers are kept for the caller; for the administrator, how many there are."""
    services, caller = request.app[SERVICES], request[CALLER]
    if together is not None and caller.admin:
        return together.answers_kept
    if services.cache is None:
        return 0
    return services.cache.entries(None if caller.admin else owner_of_answers(request, services.keys))


async def usage(request: web.Request) -> web.Response:
    """``GET /admin/usage?from=…&to=…&by=…&format=…``: sums of whole hours, as JSON or CSV.

    Raises InvalidRequest, and GatewayError with status 503 where the store cannot be read.
    """
    services = request.app[SERVICES]
    demand_known(request, _PARAMETERS)
    by, period = _dimension(request), _period(request, services.clock.unix_ms())
    as_csv = _wants_csv(request)
    try:
        sums = await services.bookkeeper.sums(by, period.from_unix_ms, period.to_unix_ms)
    except StoreError as error:
        _log.error("usage not read", problem=str(error))
        raise GatewayError(
            503, ErrorKind.API, "What was used cannot be read at the moment.", code="store_unavailable"
        ) from None
    if as_csv:
        return _csv_response(request, by, sums)
    total = Tally()
    for _, tally in sums:
        total.add(tally)
    return json_response(
        request,
        {
            "by": by,
            "from": _time(period.from_unix_ms),
            "to": _time(period.to_unix_ms),
            "prices_as_of": services.catalog.as_of,
            "rows": [{by.value: _named(name), **_fields(tally)} for name, tally in sums],
            "total": _fields(total),
        },
        # what clients call a model is shown here, and might be a key in the wrong place
        redacted=True,
    )


def _fields(tally: Tally) -> dict[str, int | float | None]:
    counts = msgspec.structs.asdict(tally)
    return {**counts, "cost_micro_usd": tally.known_micro_usd, "cost_usd": _usd(tally)}


def _usd(tally: Tally) -> float | None:
    """For people; six digits behind the point are exact in a float up to billions of dollars."""
    micro_usd = tally.known_micro_usd
    return None if micro_usd is None else micro_usd / _MICRO


def _named(name: str | int) -> str:
    return name if isinstance(name, str) else _time(name)


def _time(unix_ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(unix_ms / 1000, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _dimension(request: web.Request) -> Dimension:
    text = request.query.get("by", Dimension.CLIENT.value)
    try:
        return Dimension(text)
    except ValueError:
        known = ", ".join(Dimension)
        raise InvalidRequest(f"by must be one of {known}.", param="by") from None


def _wants_csv(request: web.Request) -> bool:
    """What ``format`` says; without it, whether the client accepts CSV by name."""
    if (wanted := request.query.get("format")) is not None:
        if wanted not in _FORMATS:
            raise InvalidRequest(f"format must be one of {', '.join(_FORMATS)}.", param="format")
        return wanted == "csv"
    accepted = ",".join(request.headers.getall(ACCEPT, ())).lower().split(",")
    return any(each.partition(";")[0].strip() == _CSV for each in accepted)


def _period(request: web.Request, now_ms: int) -> Period:
    """The hours asked for: those that the two times touch; all that are kept where none is given."""
    to_ms = _moment(request, "to")
    to_ms = -(-(now_ms + 1 if to_ms is None else to_ms) // HOUR_MS) * HOUR_MS
    from_ms = _moment(request, "from")
    from_ms = (to_ms - _KEPT_MS if from_ms is None else from_ms) // HOUR_MS * HOUR_MS
    if from_ms >= to_ms:
        raise InvalidRequest("from must be before to.", param="from")
    return Period(from_ms, to_ms)


def _moment(request: web.Request, name: str) -> int | None:
    """A time in Unix milliseconds; None where it is not given. Raises InvalidRequest."""
    text = word(request, name)
    if text is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        example = "2026-11-21 or 2026-11-21T08:00Z"
        raise InvalidRequest(f"{name} must be a day or a time such as {example}.", param=name) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.UTC)
    if not 1970 < found.year < 9999:
        raise InvalidRequest(f"{name} must be a year after 1970.", param=name)
    return int(found.timestamp() * 1000)


def _csv_response(request: web.Request, by: Dimension, sums: Sums) -> web.Response:
    services = request.app[SERVICES]
    headers = {
        **services.common_headers,
        **identity_headers(OPENAI_CHAT, request[CALLER].request_id),
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="usage-by-{by}.csv"',
    }
    body = REDACTOR.clean(csv_of(by, sums).encode(errors="replace"))
    return web.Response(body=body, content_type=_CSV, charset="utf-8", headers=headers)


def csv_of(by: Dimension, sums: Iterable[tuple[str | int, Tally]]) -> str:
    """A table with a line of names, one row for each sum, lines ending as RFC 4180 has it.

    A cell that a spreadsheet would take for a formula begins with an apostrophe; an unknown cost is empty.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow((by.value, *COUNTED, "cost_usd"))
    for name, tally in sums:
        *counts, usd = _fields(tally).values()
        table.writerow((_harmless(_named(name)), *counts, "" if usd is None else f"{usd:.6f}"))
    return text.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_BEGINS) else cell
