"""A simulator that is started and stopped around each test."""

from collections.abc import AsyncIterator

import pytest

from proxy.simulator import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """One on a free loopback port, whose delays take a hundredth of their time."""
    server = Simulator(time_scale=0.01)
    await server.start()
    yield server
    await server.stop()
