"""One gateway for all cases of a module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.faults.places import FaultyHouse, faulty_house


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def whole_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultyHouse]:
    """The gateway of all places."""
    async with faulty_house(tmp_path_factory.mktemp("faults")) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def running(whole_house: FaultyHouse) -> FaultyHouse:
    """The same without a memory of what was asked."""
    await whole_house.fresh()
    return whole_house
