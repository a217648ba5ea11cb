"""A caller's session is there for one request, and then is nowhere."""

import contextlib
import gc
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import CookieJar

from proxy.access import Presented, Told
from proxy.clock import SystemClock
from proxy.dispatch.attempt import UnaryOpened
from proxy.dispatch.trace import Trace
from proxy.dispatch.visiting import VisitedSession, Visiting
from proxy.errors import GatewayError
from proxy.model.aliases import AliasRules
from proxy.model.names import ModelNames
from proxy.pool import Success
from proxy.secrets import Secret
from proxy.server.handlers import NoHold
from proxy.settings import Policy
from proxy.simulator import Simulator, Step
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch
from tests.support.house import simulated
from tests.support.web_sessions import place_of
from tests.unit.dispatch.building import CATALOG, MODEL, NO_DEFAULTS, exchange

_COOKIE = "sk-ant-sid01-canary-visitor"


@dataclass(slots=True)
class _Bench:
    """A simulated claude.ai, and what asks it with callers' sessions."""

    site: Simulator
    visiting: Visiting

    async def visit(self) -> tuple[Told, float | None] | None:
        """Ask once with the session and end; what the site told it."""
        visited = self.visiting.session_of(Presented(Secret(_COOKIE), None))
        with contextlib.suppress(GatewayError):
            await self._ask(visited)
        told = visited.told_to_stop()
        await visited.end("req_1")
        return told

    async def _ask(self, visited: VisitedSession) -> None:
        clock, watch = self.visiting.clock, Watch()
        now_s = clock.monotonic_s()
        try:
            call = exchange(started_s=now_s, deadline_s=now_s + 30)
            opened = await visited.dispatcher.open(call, Trace(), NoHold(), watch)
            assert isinstance(opened, UnaryOpened)
            visited.dispatcher.end(opened, Success())
        finally:
            watch.close()


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[_Bench]:
    """All of it, for one test."""
    clock, policy = SystemClock(), Policy()
    async with simulated() as site:
        visiting = Visiting(
            ways_out=WaysOut(policy),
            policy=policy,
            clock=clock,
            rng=random.Random(1),
            catalog=CATALOG,
            names=ModelNames(CATALOG, AliasRules(), clock),
            defaults=NO_DEFAULTS,
            base_url=place_of(site.url),
            proxy=None,
        )
        yield _Bench(site, visiting)
        await visiting.close()


def _kept() -> Iterator[object]:
    """Whatever in this process still has the cookie."""
    gc.collect()
    for thing in gc.get_objects():
        secret = isinstance(thing, Secret) and thing.reveal() == _COOKIE
        if secret or (isinstance(thing, CookieJar) and any(one.value == _COOKIE for one in thing)):
            yield thing


async def test_nobody_has_the_cookie_once_its_request_has_ended(bench: _Bench) -> None:
    """Protects callers' accounts from whatever might be read out of the server later."""
    held = bench.visiting.session_of(Presented(Secret(_COOKIE), None))
    assert list(_kept()) != []
    await held.end("req_1")
    del held
    for step in (
        Step(),
        Step("status", status=500),
        Step("web_limit"),
        Step("challenge"),
        Step("dead_cookie"),
    ):
        bench.site.script(_COOKIE, then=step)
        await bench.visit()
        assert list(_kept()) == []


@pytest.mark.parametrize(
    ("step", "told", "seconds"),
    [
        (Step(), None, None),
        (Step("status", status=500, call="complete"), None, None),
        (Step("web_limit", call="complete", resets_in_s=7000), Told.LIMIT, 7000),
        (Step(message_limit="exceeded_limit", resets_in_s=5000, call="complete"), Told.LIMIT, 5000),
        (Step("challenge"), Told.CHALLENGE, 60),
        (Step("dead_cookie"), Told.DEAD, None),
        (Step("organization_disabled", call="complete"), Told.DEAD, None),
    ],
    ids=lambda value: value.do if isinstance(value, Step) else None,
)
async def test_what_the_site_told_is_known_afterwards(
    bench: _Bench, step: Step, told: Told | None, seconds: int | None
) -> None:
    """Protects accounts: each stop sign there is, and none where there was none."""
    bench.site.script(_COOKIE, then=step)
    found = await bench.visit()
    if told is None:
        assert found is None
        return
    assert found is not None
    assert found[0] is told
    if seconds is not None:
        assert found[1] == pytest.approx(seconds, rel=0.25)


async def test_a_question_is_asked_once(bench: _Bench) -> None:
    """Protects callers' accounts from questions they did not send."""
    bench.site.script(_COOKIE, then=Step("status", status=500, call="complete"))
    await bench.visit()
    asked = [one for one in bench.site.record.of(_COOKIE) if one.path.endswith("/completion")]
    assert len(asked) == 1
    assert MODEL in bench.visiting.models()
