"""What handlers share, made once by the composition root."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from aiohttp import web

from proxy.access import Keys
from proxy.clock import Clock
from proxy.dispatch.dispatcher import Dispatcher
from proxy.dispatch.places import Places
from proxy.dispatch.reloading import Reloader
from proxy.model.catalog import AliasRules, Catalog, Resolution
from proxy.pool import Pool
from proxy.server.inflight import Inflight
from proxy.settings import Settings
from proxy.telemetry.requests import RequestLine
from proxy.telemetry.traces import Traces

_DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime.date(1970, 1, 1).toordinal()
_RESOLVED_MAX: Final = 1024
_NAME_MAX: Final = 128


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything a handler may use.

    Attributes:
        settings: the configuration.
        keys: client and admin keys.
        pool: credentials and their state.
        dispatcher: finds answers.
        catalog: model facts.
        aliases: which model names stand for others.
        clock: the time.
        inflight: requests being answered.
        started_s: monotonic seconds of the start.
        ready: whether the start is complete.
        common_headers: on every answer.
        record: takes the line of each request.
        reloader: takes credentials over again; None where they are not the operator's.
        places: how leases are waited for, and what an operator changed is carried out.
        traces: the last requests.
    """

    settings: Settings
    keys: Keys
    pool: Pool
    dispatcher: Dispatcher
    catalog: Catalog
    aliases: AliasRules
    clock: Clock
    inflight: Inflight
    record: Callable[[RequestLine], None]
    started_s: float
    reloader: Reloader | None = None
    places: Places
    traces: Traces = field(default_factory=Traces)
    ready: bool = False
    common_headers: dict[str, str] = field(default_factory=dict)
    _resolved: dict[str, Resolution] = field(default_factory=dict)
    _resolved_on: int = -1

    def resolve(self, asked: str) -> Resolution:
        """What a client's model name means today, by the date in UTC; the default one where it is empty.

        Remembered until midnight.
        """
        model = asked or self.settings.defaults.model or self.catalog.default_model
        day = self.clock.unix_ms() // _DAY_MS
        if day != self._resolved_on or len(self._resolved) >= _RESOLVED_MAX:
            self._resolved_on = day
            self._resolved.clear()
        found = self._resolved.get(model)
        if found is None:
            today = datetime.date.fromordinal(_EPOCH + day)
            found = self.catalog.resolve(model, today=today, aliases=self.aliases)
            if len(model) <= _NAME_MAX:
                self._resolved[model] = found
        return found


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


class Caller(msgspec.Struct):
    """One request as the middleware knows it.

    Attributes:
        services: what its handler may use.
        request_id: ours.
        client: name of the client key; empty on public and admin routes.
    """

    services: Services
    request_id: str
    client: str = ""


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
