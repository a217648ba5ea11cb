"""What handlers share, made once by the composition root."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from proxy.access import Keys
from proxy.clock import Clock
from proxy.dispatch.dispatcher import Dispatcher
from proxy.dispatch.objects import ObjectCalls
from proxy.dispatch.ownership import Ownership
from proxy.dispatch.places import Places
from proxy.dispatch.reloading import Reloader
from proxy.model.catalog import Catalog, Resolution
from proxy.model.names import ModelNames
from proxy.pool import Pool
from proxy.server.inflight import Inflight
from proxy.settings import Settings
from proxy.telemetry.requests import RequestLine
from proxy.telemetry.traces import Traces


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything a handler may use.

    Attributes:
        settings: the configuration.
        keys: client and admin keys.
        pool: credentials and their state.
        dispatcher: finds answers.
        objects: asks about files and batches.
        ownership: whose those are.
        catalog: model facts.
        names: what model names mean.
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
    objects: ObjectCalls
    ownership: Ownership
    catalog: Catalog
    names: ModelNames
    clock: Clock
    inflight: Inflight
    record: Callable[[RequestLine], None]
    started_s: float
    reloader: Reloader | None = None
    places: Places
    traces: Traces = field(default_factory=Traces)
    ready: bool = False
    common_headers: dict[str, str] = field(default_factory=dict)

    def resolve(self, asked: str) -> Resolution:
        """What a client's model name means today; the default one where it is empty."""
        return self.names.resolve(asked or self.settings.defaults.model or self.catalog.default_model)


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
