"""A database that cannot be written costs no client its answer and tells no operator that an order was kept."""

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.gateway import ADMIN_KEY, Gateway
from tests.support.house import House, Spoken, eventually, house

_ADMINISTRATOR: Final = {"authorization": f"Bearer {ADMIN_KEY}"}


@contextmanager
def _full(running: House, _folder: Path) -> Iterator[None]:
    """No file of the server may grow."""
    assert isinstance(running.server, Gateway)
    pid = running.server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def _locked(_running: House, folder: Path) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    other = sqlite3.connect(folder / "data/carousel.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


async def _ordered(running: House, path: str) -> int:
    url = f"{running.server.url}/admin/pool/{path}"
    async with running.session.post(url, headers=_ADMINISTRATOR) as answer:
        assert answer.content_type == "application/json"
        return answer.status


@pytest.mark.parametrize("trouble", [_full, _locked])
async def test_answers_go_on_orders_are_refused_and_all_is_well_afterwards(
    trouble: Callable[[House, Path], AbstractContextManager[None]], tmp_path: Path
) -> None:
    """Protects clients and operators from a disk that is full, and from another process that holds the database."""
    async with house(tmp_path, {"RATE_LIMIT_REQUESTS_PER_MINUTE": "1000"}) as running:
        with trouble(running, tmp_path):
            for _ in range(10):
                for spoken in Spoken:
                    assert (await running.ask(spoken)).status == 200
                    assert (await running.ask(spoken, stream=True)).status == 200
            assert await _ordered(running, "api-1/disable") == 503

        async def taken() -> bool:
            return await _ordered(running, "api-1/disable") == 200

        await eventually(taken)
        assert (await running.ask(Spoken.MESSAGES)).status == 200
