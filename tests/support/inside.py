"""A gateway within the test's own process, for what can only be seen from inside: its queue, its tasks, its time."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from proxy.access import Keys, load_or_make_keys
from proxy.clock import Clock, SystemClock
from proxy.credentials import Credential, load_credentials
from proxy.model.catalog import Catalog
from proxy.pool.views import view_of
from proxy.server.app import Parts, build_app
from proxy.server.context import SERVICES, Services
from proxy.settings import Settings, load_settings
from proxy.simulator import Simulator
from proxy.store.sqlite import SqliteStore
from proxy.telemetry.logs import no_request_line
from proxy.telemetry.requests import HasLine
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY
from tests.support.house import CredentialView, House, client, configuration, simulated

_QUEUE: Final = re.compile(r"Queue: (\d+)")


@dataclass(frozen=True, slots=True)
class Inside:
    """The server's own side.

    Attributes:
        url: its address, without a slash at the end.
        services: what its handlers share.
    """

    url: str
    services: Services

    @classmethod
    def of(cls, app: web.Application, server: BaseTestServer) -> "Inside":
        """That of an application, run by a server."""
        return cls(str(server.make_url("")).rstrip("/"), app[SERVICES])

    @property
    def in_flight(self) -> int:
        """Leases that are out."""
        return self.services.pool.in_flight

    @property
    def waiting(self) -> int:
        """Requests in the queue, as the pool itself tells."""
        found = _QUEUE.search(repr(self.services.pool))
        if found is None:
            raise ValueError(repr(self.services.pool))
        return int(found[1])

    def strikes(self, alias: str) -> int:
        """Faults in a row that are held against a credential."""
        member = self.services.pool._by_name[alias]
        return sum(seat.strikes for seat in member.seats.values())

    def credential(self, alias: str) -> CredentialView:
        """One credential as the admin sees it."""
        view = view_of(self.services.pool._by_name[alias], self.services.clock)
        return msgspec.convert(msgspec.to_builtins(view), CredentialView)

    async def pool(self) -> list[dict[str, object]]:
        """See `tests.support.house.Server`; the pool itself is at hand here."""
        raise AssertionError("ask `services.pool`")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under which a gateway of this process runs.

    Attributes:
        clock: the time.
        rng: jitter.
        record: takes the line of each request.
        patient: whether its client waits for ever.
    """

    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    record: Callable[[HasLine], None] = no_request_line
    patient: bool = False


def configured(
    environment: Mapping[str, str], folder: Path
) -> tuple[Settings, tuple[Credential, ...], Keys, Catalog]:
    """What a server is made of, from its settings. Reads files."""
    settings = load_settings({}, environment, folder)
    found = load_credentials(settings, environment).found
    return settings, found, load_or_make_keys(settings, settings.data_dir), Catalog.load(None)


@asynccontextmanager
async def house_inside(
    folder: Path,
    settings: Mapping[str, str],
    credentials: Callable[[str], Iterable[Mapping[str, object]]],
    *,
    simulator: Simulator | None = None,
    circumstances: Circumstances | None = None,
) -> AsyncIterator[tuple[House, Inside]]:
    """The same as `house`, with the server in this process."""
    given = circumstances or Circumstances()
    async with simulated(simulator) as claude:
        environment = {
            **configuration(folder, claude, (), credentials),
            "API_KEY": CLIENT_KEY,
            "ADMIN_KEY": ADMIN_KEY,
            "DATA_DIR": str(folder),
            **settings,
        }
        settled, credentials_found, keys, catalog = await asyncio.to_thread(configured, environment, folder)
        parts = Parts(
            settings=settled,
            credentials=credentials_found,
            keys=keys,
            catalog=catalog,
            store=await SqliteStore.open(settled.database),
            clock=given.clock,
            rng=given.rng,
            record=given.record,
        )
        app = await build_app(parts)
        async with TestServer(app) as server, client(patient=given.patient) as session:
            inside = Inside.of(app, server)
            yield House(inside, claude, session), inside
