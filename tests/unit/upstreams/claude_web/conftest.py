"""A simulator and connections around each test."""

from collections.abc import AsyncIterator

import pytest

from proxy.settings import Policy
from proxy.simulator import Simulator
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """One on a free loopback port, whose delays take a hundredth of their time."""
    server = Simulator(time_scale=0.01)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def ways_out() -> AsyncIterator[WaysOut]:
    """Connections that are closed again."""
    ways = WaysOut(Policy())
    yield ways
    await ways.close()


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """A watch for calls that do not run out of time; limits that are kept need one of the test's own task."""
    made = Watch()
    yield made
    made.close()
