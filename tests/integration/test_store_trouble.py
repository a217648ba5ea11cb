"""A database that cannot be written costs no client its answer and tells no operator that an order was kept."""

import os
import resource
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway
from tests.support.house import House, Spoken, body_of, eventually, house
from tests.support.program import Program, finished, started, through

_ADMINISTRATOR: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
# nothing is forbidden to root as long as it has what makes it root
_ORDINARY: Final = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


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


async def _answered(program: Program) -> int:
    headers = {"authorization": f"Bearer {CLIENT_KEY}", "content-type": "application/json"}
    url = f"{program.url}{Spoken.MESSAGES}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body_of(Spoken.MESSAGES, stream=False), headers=headers) as answer,
    ):
        await answer.read()
        return answer.status


@pytest.mark.needs(*_ORDINARY[:1])
async def test_a_folder_that_cannot_be_written_stops_a_start_and_no_server(tmp_path: Path) -> None:
    """Protects answers from a volume that turns read-only, and operators from a server that would keep nothing."""
    data = tmp_path / "data"
    settings = {"API_KEY": CLIENT_KEY, "DATA_DIR": str(data)}
    with through(*_ORDINARY):
        async with started(tmp_path, "serve", "--demo", **settings) as program:
            assert await _answered(program) == 200
            program.send(signal.SIGTERM)
            assert await program.ended() == 0
        data.chmod(0o500)
        try:
            refused = await finished(tmp_path, "serve", "--demo", **settings)
            assert refused.process.returncode == 1
            assert f"{data}/carousel.db: it cannot be written to" in refused.output
            assert "Traceback" not in refused.output
            data.chmod(0o700)
            async with started(tmp_path, "serve", "--demo", **settings) as program:
                data.chmod(0o500)
                assert [await _answered(program) for _ in range(3)] == [200, 200, 200]
        finally:
            data.chmod(0o700)
