"""``/dashboard/events``: what changes by itself, once a second, as server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from aiohttp import web

from proxy.access import Login
from proxy.errors import ErrorKind, GatewayError
from proxy.model.tally import Tally
from proxy.pool import MemberView
from proxy.server.admin import shown
from proxy.server.context import SERVICES, Services
from proxy.server.dashboard.cookie import login_of
from proxy.server.dashboard.files import page_headers
from proxy.server.metrics import told
from proxy.telemetry.history import Point
from proxy.telemetry.redaction import REDACTOR

EVERY_S: Final = 1.0
WATCHERS_MAX: Final = 20
_LAST_POINTS: Final = 2
_STALL_S: Final = 10.0


class Sleep(Protocol):
    """How the feed waits."""

    async def __call__(self, delay: float) -> None:
        """Return after so many seconds."""
        ...


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums since the start."""

    requests: int
    errors: int
    tokens: int
    cost_micro_usd: int | None


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """One of several processes.

    Attributes:
        number: its own, from 1.
        count: how many there are.
    """

    number: int
    count: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How everything is now.

    Attributes:
        now_unix_ms: the server's time, from which the page counts down.
        credentials: as ``/admin/pool`` shows them.
        in_flight: leases that are out.
        waiting: requests that wait for a place.
        panic: whether credentials are in use only because too many failed at once.
        owed_deletions: conversations still to be deleted at claude.ai.
        draining: whether the server is about to stop.
        totals: since the start.
        points: the last parts of the hour, the running one included.
        workers: of several processes on this address, which one tells this; the totals are those of all.
    """

    now_unix_ms: int
    credentials: Sequence[MemberView]
    in_flight: int
    waiting: int
    panic: bool
    owed_deletions: int
    draining: bool
    totals: Totals
    points: Sequence[Point]
    workers: Answering | None


class Feed:
    """Makes the frame of each moment once for all who watch."""

    def __init__(self, services: Services, sleep: Sleep = asyncio.sleep) -> None:
        self._services = services
        self._sleep = sleep
        self._watching = 0
        self._made_at_s = float("-inf")
        self._frame = b""

    def __repr__(self) -> str:
        return f"<Feed [Watching: {self._watching}]>"

    async def serve(self, request: web.Request, login: Login | None) -> web.StreamResponse:
        """Tell a page until it leaves, its login is over or the server stops.

        Raises GatewayError 503 for one too many.
        """
        if self._watching >= WATCHERS_MAX:
            raise GatewayError(
                503, ErrorKind.OVERLOADED, "Too many dashboards are open.", code="too_many_dashboards"
            )
        self._watching += 1
        try:
            return await self._tell(request, login)
        finally:
            self._watching -= 1

    async def _tell(self, request: web.Request, login: Login | None) -> web.StreamResponse:
        response = web.StreamResponse(headers=_headers(request))
        await response.prepare(request)
        while self._welcome(login):
            try:
                async with asyncio.timeout(_STALL_S):
                    await response.write(self._now())
            except TimeoutError:
                break
            await self._sleep(EVERY_S)
        return response

    def _welcome(self, login: Login | None) -> bool:
        services = self._services
        over = login is not None and not services.admission.logins.good(login)
        return not over and not services.inflight.draining

    def _now(self) -> bytes:
        now_s = self._services.clock.monotonic_s()
        if now_s - self._made_at_s >= EVERY_S / 2:
            self._made_at_s = now_s
            body = REDACTOR.clean(msgspec.json.encode(snapshot(self._services)))
            self._frame = b"event: snapshot\ndata: " + body + b"\n\n"
        return self._frame


def snapshot(services: Services) -> Snapshot:
    """How everything is now."""
    services.traces.settle()
    pool, workers, tally = services.pool, services.workers, _total(services)
    return Snapshot(
        now_unix_ms=services.clock.unix_ms(),
        credentials=[shown(view) for view in pool.snapshot()],
        in_flight=pool.in_flight,
        waiting=pool.waiting,
        panic=pool.panic,
        owed_deletions=services.deletions.owed if services.deletions is not None else 0,
        draining=services.inflight.draining,
        totals=Totals(
            requests=tally.requests,
            errors=tally.errors,
            tokens=tally.tokens,
            cost_micro_usd=tally.known_micro_usd,
        ),
        points=services.last_hour.points(_LAST_POINTS),
        workers=None if workers is None else Answering(number=workers.number + 1, count=workers.count),
    )


def _total(services: Services) -> Tally:
    """What was used since the start, by way of all processes, as far as they have told this one."""
    if (workers := services.workers) is None:
        return services.bookkeeper.ledger.total()
    workers.want()
    total = Tally()
    for tally in workers.now(told(services)).used.values():
        total.add(tally)
    return total


def _headers(request: web.Request) -> dict[str, str]:
    return {
        **page_headers(request),
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
    }


FEED: web.AppKey[Feed] = web.AppKey("feed", Feed)


async def events(request: web.Request) -> web.StreamResponse:
    """``GET /dashboard/events``. Raises GatewayError 503 where too many are open."""
    services = request.app[SERVICES]
    return await request.app[FEED].serve(request, login_of(request, services.admission.logins))
