"""A simulated Claude, connections, and folders around each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.settings import Policy
from proxy.upstreams.claude_code.folders import Folder, Folders
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch


@pytest.fixture
async def ways_out() -> AsyncIterator[WaysOut]:
    """Connections that are closed again."""
    ways = WaysOut(Policy())
    yield ways
    await ways.close()


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """A watch for calls of the test's own task."""
    made = Watch()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Where a child lives."""
    return Folders(tmp_path / "children").new()
