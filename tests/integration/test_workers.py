"""Several processes on one address, under a parent that only looks after them."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest

from tests.support.gateway import ADMIN_KEY, CLIENT_KEY
from tests.support.house import MODEL, eventually
from tests.support.program import Program, finished, started
from tests.support.real_redis import PROGRAM, SECRET_KEY, RealRedis, real_redis

pytestmark = pytest.mark.needs(PROGRAM)

_QUESTION: Final = {"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": "Hello!"}]}


def _settings(folder: Path, redis: RealRedis) -> Mapping[str, str]:
    return {
        "ADMIN_KEY": ADMIN_KEY,
        "API_KEY": CLIENT_KEY,
        "DATA_DIR": str(folder / "data"),
        "REDIS_URL": redis.url,
        "SECRET_KEY": SECRET_KEY,
        "WORKERS": "3",
    }


@asynccontextmanager
async def _workers(folder: Path) -> AsyncIterator[tuple[Program, set[int]]]:
    """Three workers of a demo, all of which serve; none of them outlives the test."""
    async with real_redis(folder) as redis:
        async with started(folder, "serve", "--demo", **_settings(folder, redis)) as program:
            children = await _children(program, 3)
            await eventually(lambda: _alive(redis))
            yield program, children
        await _gone(children)


async def _children(program: Program, count: int, *, without: int = 0) -> set[int]:
    """The processes of the workers, once there are so many."""

    async def complete() -> bool:
        if program.process.returncode is not None:
            raise RuntimeError(program.output)
        return len(_children_of(program.process.pid) - {without}) == count

    await eventually(complete)
    return _children_of(program.process.pid) - {without}


async def _gone(pids: set[int]) -> None:
    async def gone() -> bool:
        return all(_ended(pid) for pid in pids)

    await eventually(gone)


async def _alive(redis: RealRedis) -> bool:
    return await redis.ask("ZCARD", "carousel:1:replicas") == 3


def _children_of(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def _status(program: Program) -> int:
    """Ask over a connection of its own, so that any of the workers may answer."""
    headers = {"x-api-key": CLIENT_KEY}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{program.url}/v1/messages", json=_QUESTION, headers=headers) as answer,
    ):
        await answer.read()
        return answer.status


async def test_all_workers_answer_on_one_address_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    """Protects clients from a worker's death: the others answer, and soon there are as many as before."""
    async with _workers(tmp_path) as (program, children):
        assert set(await asyncio.gather(*(_status(program) for _ in range(12)))) == {200}
        assert len(re.findall("Carousel listens on", program.output)) == 1
        victim = min(children)
        os.kill(victim, signal.SIGKILL)
        again = await _children(program, 3, without=victim)
        assert len(again & children) == 2

        async def serving() -> bool:
            return all([await _status(program) == 200 for _ in range(6)])

        await eventually(serving)
        program.send(signal.SIGTERM)
        assert await program.ended() == 0
        await _gone(again)


async def _figures(program: Program) -> dict[str, float]:
    """What a scrape tells, over a connection of its own, of all series without labels, and requests by all of them."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{program.url}/metrics", headers=headers) as answer,
    ):
        page = await answer.text()
        assert answer.status == 200
    found: dict[str, float] = {}
    for series, value in re.findall(r"^(\w+)(?:\{.*\})? (\S+)$", page, re.MULTILINE):
        found[series] = found.get(series, 0.0) + float(value)
    return found


async def _stats(program: Program, key: str) -> dict[str, object]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{program.url}/stats", headers={"x-api-key": key}) as answer,
    ):
        return msgspec.json.decode(await answer.read(), type=dict[str, object])


async def test_whichever_worker_is_asked_tells_what_all_have_done(tmp_path: Path) -> None:
    """Protects every figure an operator reads: scrapes and /stats agree, also after a worker was killed."""
    async with _workers(tmp_path) as (program, children):
        assert {await _status(program) for _ in range(12)} == {200}
        told = [await _figures(program) for _ in range(4)]
        assert [each["carousel_workers"] for each in told] == [3] * 4
        assert [each["carousel_answer_tokens_total"] > 0 for each in told] == [True] * 4
        assert [each["carousel_first_event_seconds_count"] for each in told] == [12] * 4
        for key in (CLIENT_KEY, ADMIN_KEY):
            stats = await _stats(program, key)
            assert (stats["requests"], stats["workers"]) == (12, 3)
        victim = min(children)
        os.kill(victim, signal.SIGKILL)
        await _children(program, 3, without=victim)
        assert (await _figures(program))["carousel_first_event_seconds_count"] == 12


async def test_the_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Protects the address and the database from servers nobody knows of any more."""
    async with _workers(tmp_path) as (program, children):
        program.send(signal.SIGKILL)
        await program.process.wait()
        await _gone(children)


async def test_workers_without_a_redis_do_not_start_and_say_why(tmp_path: Path) -> None:
    """Protects limits from being multiplied by processes that know nothing of one another."""
    program = await finished(tmp_path, "serve", "--demo", WORKERS="2")
    assert program.process.returncode == 1
    assert "WORKERS: more than one process needs REDIS_URL" in program.output


async def test_a_taken_address_is_not_shared_with_whoever_has_it(tmp_path: Path) -> None:
    """Protects from a second server that would take every other connection of the first."""
    async with _workers(tmp_path) as (program, _), real_redis(tmp_path) as redis:
        address = program.url.removeprefix("http://")
        second = tmp_path / "second"
        second.mkdir()
        other = await finished(second, "serve", "--demo", **{**_settings(second, redis), "ADDRESS": address})
        assert other.process.returncode == 1
        assert f"Cannot listen on {address}" in other.output
