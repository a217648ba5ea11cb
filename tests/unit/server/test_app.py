"""The composition root puts the parts together, starts what runs beside the requests, and ends it."""

import random

from aiohttp.test_utils import TestServer

from proxy.pool import State
from proxy.secrets import Secret
from proxy.server.app import Parts, build_app
from proxy.server.context import SERVICES
from proxy.store.base import HealthRow
from proxy.tasks import _running
from tests.support.clock import FakeClock
from tests.support.storage import MemoryStorage
from tests.unit.dispatch.building import CATALOG, credential
from tests.unit.server.building import keys, settings

_SETTINGS = settings(MODEL_ALIASES="gpt-9=claude-opus-5-5,gpt-*=sonnet")
_CREDENTIALS = tuple(credential(name, secret=Secret(name)) for name in ("api-1", "api-2"))


class _ClosingStore(MemoryStorage):
    closed = 0

    async def close(self) -> None:
        """Count."""
        type(self).closed += 1


def _parts(store: MemoryStorage, *, demo: bool = False) -> Parts:
    return Parts(
        settings=_SETTINGS,
        credentials=_CREDENTIALS,
        keys=keys(),
        catalog=CATALOG,
        store=store,
        clock=FakeClock(),
        rng=random.Random(1),
        demo=demo,
    )


async def test_what_was_saved_about_a_credential_is_taken_over() -> None:
    """Protects a dead key from being asked again after every restart."""
    row = HealthRow(
        fingerprint=_CREDENTIALS[0].fingerprint(keys().secret_key),
        state="disabled",
        reason="auth",
        cause="auth_dead",
        since_unix_ms=1_794_000_000_000,
    )
    app = await build_app(_parts(MemoryStorage(rows=[row])))
    states = {view.name: view.state.state for view in app[SERVICES].pool.snapshot()}
    assert states == {"api-1": State.DISABLED, "api-2": State.READY}


async def test_it_is_ready_while_it_runs_and_leaves_nothing_running() -> None:
    """Protects the end of the program from work that goes on, and the database from being left open."""
    store = _ClosingStore()
    app = await build_app(_parts(store))
    before = set(_running)
    assert not app[SERVICES].ready
    async with TestServer(app):
        assert app[SERVICES].ready
        assert {task.get_name() for task in _running - before} == {
            "sweep the pool",
            "forget expired responses",
            "look for a first file",
            "write down usage",
            "count requests",
            "delete conversations",
            "look after the client keys",
            "look after Claude Code",
            "forget old conversations",
            "forget old sessions",
        }
    assert not app[SERVICES].ready
    assert not [task for task in _running - before if not task.done()]
    assert store.closed == 1


async def test_the_operators_names_are_exact_ones_before_patterns() -> None:
    """Protects a name of its own from a pattern that fits it too."""
    shared = (await build_app(_parts(MemoryStorage())))[SERVICES]
    assert shared.resolve("gpt-9").model == "claude-opus-5-5"
    assert shared.resolve("gpt-8").model == "claude-sonnet-5-5"


async def test_a_demo_is_marked_on_every_answer() -> None:
    """Protects people from taking a simulated answer for a real one."""
    marked = (await build_app(_parts(MemoryStorage(), demo=True)))[SERVICES].common_headers
    assert marked["x-carousel-demo"] == "1"
    assert "x-carousel-demo" not in (await build_app(_parts(MemoryStorage())))[SERVICES].common_headers


async def test_no_answer_tells_what_the_server_is_made_of() -> None:
    """Protects against being picked out by the version of a library."""
    assert (await build_app(_parts(MemoryStorage())))[SERVICES].common_headers["server"] == "carousel"
