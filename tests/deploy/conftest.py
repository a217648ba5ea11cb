"""A simulated Claude, two gateways in front of it, and the real nginx in front of those; one of each for a module."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from proxy.simulator import Simulator
from tests.support.gateway import Gateway, gateway
from tests.support.nginx import Nginx, nginx


@dataclass(frozen=True, slots=True)
class Site:
    """Gateways behind nginx.

    Attributes:
        nginx: what clients reach.
        replicas: the gateways; both believe what nginx says about addresses.
        simulator: the simulated Claude.
    """

    nginx: Nginx
    replicas: tuple[Gateway, ...]
    simulator: Simulator

    @property
    def url(self) -> str:
        """What clients reach, without a slash at the end."""
        return self.nginx.url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A site that lives as long as the module's tests."""
    folder = tmp_path_factory.mktemp("site")
    simulator = Simulator()
    await simulator.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(simulator.stop)
        replicas = [
            await stack.enter_async_context(_replica(folder / name, simulator)) for name in ("a", "b")
        ]
        addresses = [one.url.removeprefix("http://") for one in replicas]
        front = await stack.enter_async_context(nginx(folder / "nginx", addresses))
        yield Site(front, tuple(replicas), simulator)


@pytest.fixture
def site(standing: Site) -> Iterator[Site]:
    """The same, with a simulated Claude that remembers nothing of other tests."""
    standing.simulator.reset()
    yield standing
    standing.simulator.reset()


def _replica(folder: Path, simulator: Simulator) -> AbstractAsyncContextManager[Gateway]:
    folder.mkdir(parents=True)
    settings = {
        "ANTHROPIC_API_KEYS": "k1,k2",
        "ANTHROPIC_BASE_URL": simulator.url,
        "POOL_JITTER": "0",
        "TRUSTED_PROXIES": "127.0.0.1/32",
    }
    return gateway(folder, settings)
