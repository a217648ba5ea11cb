"""A simulated Claude and a gateway process in front of it, one of each for a module.

A module's ``SETTINGS`` are the settings of its process.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from proxy.simulator import Simulator
from tests.support.gateway import Gateway, gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def claude() -> AsyncIterator[Simulator]:
    """A simulated Claude that lives as long as the module's tests."""
    running = Simulator()
    await running.start()
    yield running
    await running.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, claude: Simulator
) -> AsyncIterator[Gateway]:
    """A gateway process in production mode in front of `claude`."""
    settings = {
        "ANTHROPIC_API_KEYS": "k1,k2,k3",
        "ANTHROPIC_BASE_URL": claude.url,
        "POOL_JITTER": "0",
        **getattr(request.module, "SETTINGS", {}),
    }
    async with gateway(tmp_path_factory.mktemp("gateway"), settings) as running:
        yield running
        code = await running.stop()
    assert code == 0, "".join(running.output)


@pytest.fixture(scope="module")
def address(server: Gateway) -> str:
    """What clients ask: the server itself. A module that puts something in between has its own fixture of this name."""
    return server.url


@pytest.fixture(autouse=True)
def _forgotten(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the simulator saw and was told in one test is forgotten before the next."""
    yield
    if "claude" in request.fixturenames:
        request.getfixturevalue("claude").reset()
