"""What every test runs under: a loop that must not block, and programs that may be missing."""

import gc
import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

from proxy.simulator import Simulator
from tests.support.canaries.deep import DEEP
from tests.support.canaries.plugin import Teller, Watcher
from tests.support.lacking import lacks

settings.register_profile(
    "fast", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "deep", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_configure(config: pytest.Config) -> None:
    """Watch for secrets in whatever is told."""
    if DEEP:
        config.option.log_level = "DEBUG"
    watcher = Watcher(deep=DEEP)
    watcher.begin()
    config.pluginmanager.register(watcher, "canaries")
    config.pluginmanager.register(Teller(), "canaries-told")
    config.add_cleanup(watcher.end)


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> Iterator[BlockBuster]:
    """A test fails when code of ours blocks the event loop."""
    with blockbuster_ctx("proxy") as buster:
        yield buster


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulated Claude on a socket of its own."""
    running = Simulator()
    await running.start()
    yield running
    await running.stop()


def pytest_collection_finish() -> None:
    """Leave what was collected out of every later look for garbage: it stays to the end, and there is much of it."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose programs are missing, or fail it where nothing may be skipped."""
    for marker in item.iter_markers("needs"):
        missing = [program for program in marker.args if shutil.which(program) is None]
        if missing:
            lacks(f"not installed here: {', '.join(missing)}")
