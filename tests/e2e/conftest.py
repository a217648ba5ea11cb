"""What holds for every test with somebody else's program."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _nothing_suspended() -> Iterator[None]:
    """End what an SDK leaves suspended when its stream fails here, and not in whatever thread collects it later."""
    yield
    gc.collect()
