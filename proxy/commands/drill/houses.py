"""Gateways of the stand-ins, each with a simulated Claude of its own, for one request each."""

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from aiohttp import web

from proxy.access import load_or_make_keys
from proxy.commands.drill.hurrying import HurryingClock
from proxy.commands.drill.seen import Seen, Way, read
from proxy.commands.drill.stand_ins import CLIENT_KEY, StandIns, stand_in_settings
from proxy.model.catalog import Catalog
from proxy.server.app import Parts, build_app
from proxy.server.context import SERVICES
from proxy.settings import Settings
from proxy.simulator import Simulator, Step
from proxy.simulator.faults.elsewhere import Elsewhere
from proxy.simulator.faults.fault import Address, asked_by, key_of, organization_of
from proxy.simulator.faults.told import Spoken
from proxy.store.sqlite import SqliteStore

_MAX_TOKENS: Final = 1000
_LONGEST_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the upstream does, and where its calls go then."""

    step: Step
    address: Address = Address.SHARED


NO_TROUBLE: Final = Trouble(Step())


@dataclass(frozen=True, slots=True)
class Yard:
    """Where the gateways stand.

    Attributes:
        settings: of the operator.
        stand_ins: of their credentials.
        catalog: model facts.
        elsewhere: addresses where nobody answers as a Claude would.
        folder: of everything that is written.
        clock: the time.
    """

    settings: Settings
    stand_ins: StandIns
    catalog: Catalog
    elsewhere: Elsewhere
    folder: Path
    clock: HurryingClock

    @asynccontextmanager
    async def house(self, number: int, trouble: Trouble, failing: frozenset[str]) -> AsyncIterator["House"]:
        """A gateway of which the `failing` credentials are in trouble; `number` tells its folder from others'."""
        async with AsyncExitStack() as opened:
            simulator = Simulator(organization=organization_of)
            await simulator.start()
            opened.push_async_callback(simulator.stop)
            for alias, organization in self.stand_ins.organizations.items():
                simulator.assign(key_of(alias), organization)
            for alias in failing:
                key = key_of(alias)
                organization = self.stand_ins.organization_told_of(alias)
                simulator.script(key, then=asked_by(trouble.step, key, organization))
            credentials = self.stand_ins.at(
                self.elsewhere, simulator.url, simulator.site_url, failing, trouble.address
            )
            folder = self.folder / f"house-{number}"
            settings = stand_in_settings(self.settings, folder)
            store = await SqliteStore.open(settings.database)
            opened.push_async_callback(store.close)
            parts = Parts(
                settings=settings,
                credentials=credentials,
                keys=load_or_make_keys(settings, folder),
                catalog=self.catalog,
                store=store,
                clock=self.clock,
                rng=random.Random(0),  # noqa: S311 - jitter
            )
            yield await opened.enter_async_context(_running(await build_app(parts)))


@asynccontextmanager
async def _running(app: web.Application) -> AsyncIterator["House"]:
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        unlimited = aiohttp.ClientTimeout(total=_LONGEST_S)
        async with aiohttp.ClientSession(
            timeout=unlimited, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session:
            yield House(f"http://127.0.0.1:{port}", app, session)
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class House:
    """One running gateway, and a client of it."""

    url: str
    app: web.Application
    session: aiohttp.ClientSession

    def serves(self, models: Iterable[str]) -> tuple[str, ...]:
        """Those of `models` that a credential serves."""
        return self.app[SERVICES].pool.servable(models)

    async def ask(self, way: Way, model: str) -> Seen:
        """Ask a small question and read the answer."""
        fields: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
        if way.spoken is Spoken.MESSAGES:
            fields["max_tokens"] = _MAX_TOKENS
        if way.stream:
            fields["stream"] = True
        headers = {"content-type": "application/json", "authorization": f"Bearer {CLIENT_KEY.reveal()}"}
        try:
            async with self.session.post(
                self.url + way.spoken, data=msgspec.json.encode(fields), headers=headers
            ) as answer:
                return await read(answer, way)
        except (aiohttp.ClientError, TimeoutError):
            return Seen(0, fault="no answer")
