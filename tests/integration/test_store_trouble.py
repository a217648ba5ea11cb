"""A database that cannot be written costs no client its answer and tells no operator that an order was kept."""

import asyncio
import os
import re
import resource
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest

from proxy.clock import SystemClock
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway
from tests.support.house import House, Spoken, body_of, eventually, house
from tests.support.nginx import free_port
from tests.support.program import ROOT, Program, finished, started, through
from tests.support.real_redis import PROGRAM, SECRET_KEY, real_redis

_SECONDS: Final = 3
_LATE_S: Final = 0.1
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


class _Pulse(msgspec.Struct):
    """How long `/live` took to answer at worst, asked all the time while something else goes on."""

    worst_s: float = 0.0
    asked: int = 0


async def _feel(running: House, pulse: _Pulse) -> None:
    clock = SystemClock()
    while True:
        began_s = clock.monotonic_s()
        async with running.session.get(f"{running.server.url}/live") as answer:
            assert answer.status == 200
        pulse.worst_s = max(pulse.worst_s, clock.monotonic_s() - began_s)
        pulse.asked += 1
        await asyncio.sleep(0.01)


@asynccontextmanager
async def _felt(running: House) -> AsyncIterator[_Pulse]:
    pulse = _Pulse()
    feeling = asyncio.get_running_loop().create_task(_feel(running, pulse))
    try:
        yield pulse
    finally:
        feeling.cancel()
        with suppress(asyncio.CancelledError):
            await feeling


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


def _problems(lines: list[str]) -> Counter[str]:
    """How often each error was told, by its room and event."""
    found = (re.search(r" error +(\w+: [^=]*?)( \w+=|$)", line) for line in lines)
    return Counter(each[1] for each in found if each is not None)


@pytest.mark.parametrize("trouble", [_full, _locked])
async def test_nobody_waits_for_a_database_that_cannot_be_written_and_the_log_stays_short(
    trouble: Callable[[House, Path], AbstractContextManager[None]], tmp_path: Path
) -> None:
    """Protects the loop (late by 100 ms at most) from a slow disk, and the log (a line a minute) from a full one."""
    async with house(tmp_path, {"RATE_LIMIT_REQUESTS_PER_MINUTE": "1000"}) as running:
        assert isinstance(running.server, Gateway)
        key = await _limited_key(running)
        with trouble(running, tmp_path):
            async with _felt(running) as pulse:
                for _ in range(_SECONDS):
                    for spoken in Spoken:
                        assert (await running.ask(spoken, stream=True, key=key)).status == 200
                    assert await _ordered(running, "api-1/disable") == 503
                    await asyncio.sleep(1)
        assert pulse.asked > 10 * _SECONDS
        assert pulse.worst_s < 4 * _LATE_S
        told = _problems(running.server.output)
        assert told
        assert set(told.values()) == {1}, told


async def _limited_key(running: House) -> str:
    """A key whose budget is written down with each answer."""
    body = msgspec.json.encode({"name": "budgeted", "budget_usd": 100})
    url = f"{running.server.url}/admin/keys"
    async with running.session.post(url, data=body, headers=_ADMINISTRATOR) as answer:
        assert answer.status == 201
        made: dict[str, str] = await answer.json()
        return made["key"]


async def _answered(program: Program) -> int:
    headers = {"authorization": f"Bearer {CLIENT_KEY}", "content-type": "application/json"}
    url = f"{program.url}{Spoken.MESSAGES}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body_of(Spoken.MESSAGES, stream=False), headers=headers) as answer,
    ):
        await answer.read()
        return answer.status


async def test_a_full_disk_behind_its_output_stops_no_start_and_spoils_no_end(tmp_path: Path) -> None:
    """Protects a service whose log or whose start is written to a file from the disk that file is on."""
    async with _served_without_output(tmp_path, {}):
        pass


@pytest.mark.needs(PROGRAM)
async def test_nor_does_it_spoil_the_end_of_several_workers(tmp_path: Path) -> None:
    """The same where each worker has its own end."""
    async with real_redis(tmp_path) as redis:
        settings = {"WORKERS": "2", "REDIS_URL": redis.url, "SECRET_KEY": SECRET_KEY}
        async with _served_without_output(tmp_path, settings):
            pass


async def test_no_file_gets_the_number_of_an_output_that_was_closed(tmp_path: Path) -> None:
    """Protects the database and whoever is connected from what is written to a stream that is none."""
    async with _served_without_output(tmp_path, {}, "sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh") as program:
        opened = Path(f"/proc/{program.process.pid}/fd")
        assert {str((opened / str(number)).readlink()) for number in range(3)} == {os.devnull}


@asynccontextmanager
async def _served_without_output(
    tmp_path: Path, more: Mapping[str, str], *through: str
) -> AsyncIterator[Program]:
    """A server whose output nobody takes, which has answered, and which is ended."""
    port = free_port()
    settings = {"API_KEY": CLIENT_KEY, "DATA_DIR": str(tmp_path), "ADDRESS": f"127.0.0.1:{port}", **more}
    with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230 - no disk is behind it
        process = await asyncio.create_subprocess_exec(
            *(*through, sys.executable, str(ROOT / "app.py"), "serve", "--demo"),
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **settings},
            stdout=full,
            stderr=full,
        )
    program = Program(tmp_path, process, url=f"http://127.0.0.1:{port}")
    try:

        async def served() -> bool:
            assert process.returncode is None
            try:
                return await _answered(program) == 200
            except aiohttp.ClientConnectionError:
                return False

        await eventually(served)
        yield program
        program.send(signal.SIGTERM)
        assert await program.ended() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


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
