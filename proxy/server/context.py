"""What handlers share, made once by the composition root."""

import datetime
from dataclasses import dataclass, field

from aiohttp import web

from proxy.access import Keys
from proxy.clock import Clock
from proxy.dispatch.dispatcher import Dispatcher
from proxy.model.catalog import AliasRules, Catalog
from proxy.pool import Pool
from proxy.server.inflight import Inflight
from proxy.settings import Settings


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
    """

    settings: Settings
    keys: Keys
    pool: Pool
    dispatcher: Dispatcher
    catalog: Catalog
    aliases: AliasRules
    clock: Clock
    inflight: Inflight
    started_s: float
    ready: bool = False
    common_headers: dict[str, str] = field(default_factory=dict)

    def today(self) -> datetime.date:
        """The date in UTC, by which models retire."""
        return datetime.datetime.fromtimestamp(self.clock.unix_ms() / 1000, datetime.UTC).date()


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


@dataclass(slots=True)
class Caller:
    """One request as the middleware knows it.

    Attributes:
        request_id: ours.
        client: name of the client key; empty on public and admin routes.
    """

    request_id: str
    client: str = ""


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
