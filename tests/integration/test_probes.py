"""Probes tell the truth, to whoever asks: what no restart helps does not make a server look dead."""

import asyncio
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from proxy.clock import SystemClock
from proxy.simulator import Simulator, Step
from tests.support.gateway import CLIENT_KEY, Gateway
from tests.support.house import House, Spoken, eventually, house
from tests.support.real_redis import PROGRAM, SECRET_KEY, real_redis, replicas

_WITHIN_S: Final = 0.05
# what the machine may take on top of it while other tests run
_PATIENCE: Final = 4
_ASKED: Final = 40
_MOST_LATE: Final = 4
_clock: Final = SystemClock()
_KEYS: Final = ("canary-one", "canary-two")


@asynccontextmanager
async def _busy_core() -> AsyncIterator[None]:
    """One core has something to do all the time."""
    busy = await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass")
    try:
        yield
    finally:
        busy.kill()
        await busy.wait()


async def _asked(running: House, path: str) -> tuple[int, bytes, float]:
    """Status and body of an answer to somebody without a key, and how long it took, seconds."""
    began_s = _clock.monotonic_s()
    async with running.session.get(running.server.url + path) as answer:
        return answer.status, await answer.read(), _clock.monotonic_s() - began_s


async def _is_degraded(running: House) -> bool:
    return b'"degraded":true' in (await _asked(running, "/health"))[1]


@pytest.mark.needs(PROGRAM)
async def test_live_answers_in_time_whatever_is_wrong_beside_the_process(tmp_path: Path) -> None:
    """Protects a server from being restarted for what no restart helps, and secrets and keys from who asks."""
    simulator = Simulator()
    simulator.script("*", then=Step("status", status=429, headers={"retry-after": "300"}))
    async with (
        real_redis(tmp_path) as redis,
        replicas(tmp_path, redis, 1, keys=_KEYS, simulator=simulator) as (running,),
        _busy_core(),
    ):
        for _ in _KEYS:
            assert (await running.ask(Spoken.MESSAGES)).status == 429
        await redis.kill()
        await eventually(partial(_is_degraded, running))
        other = sqlite3.connect(tmp_path / "replica-0/data/carousel.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            found = [await _asked(running, "/live") for _ in range(_ASKED)]
            ready, said, _ = await _asked(running, "/ready")
        finally:
            other.close()
    assert {status for status, _, _ in found} == {200}
    assert (ready, said) == (200, b'{"status":"ready"}')
    took_s = sorted(each for _, _, each in found)
    print(f"/live: {took_s[_ASKED // 2] * 1000:.1f} ms in the middle, {took_s[-1] * 1000:.1f} ms at most")  # noqa: T201 - the figure
    assert took_s[-1 - _MOST_LATE] <= _WITHIN_S * _PATIENCE
    told = b"".join(body for _, body, _ in found) + said
    for secret in (*_KEYS, CLIENT_KEY, SECRET_KEY, "api-1", "cooling", redis.url):
        assert secret.encode() not in told


async def test_ready_turns_away_from_a_server_without_a_usable_key_only_where_that_is_wanted(
    tmp_path: Path,
) -> None:
    """Protects clients of several replicas, and a single server from answering nothing where it could tell why."""
    for wanted, status in (("true", 503), ("false", 200)):
        folder = tmp_path / wanted
        folder.mkdir()
        simulator = Simulator()
        simulator.script("*", [Step("status", status=429, headers={"retry-after": "300"})] * len(_KEYS))
        settings = {"READY_NEEDS_CREDENTIAL": wanted}
        async with house(folder, settings, keys=_KEYS, simulator=simulator) as running:
            assert (await _asked(running, "/ready"))[0] == 200
            assert (await running.ask(Spoken.MESSAGES)).status == 429
            assert [(await _asked(running, path))[0] for path in ("/ready", "/live")] == [status, 200]


async def test_a_loop_that_hangs_fails_the_live_probe_and_is_well_again_by_itself(tmp_path: Path) -> None:
    """Protects clients from a process that serves nobody, and one that was late for once from a restart."""
    async with house(tmp_path) as running:
        assert isinstance(running.server, Gateway)
        assert (await _asked(running, "/live"))[0] == 200
        running.server.program.send(signal.SIGSTOP)
        # not one answer comes while it hangs
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.7):
                await _asked(running, "/live")
        running.server.program.send(signal.SIGCONT)
        assert (await _asked(running, "/live"))[0] == 503

        async def well() -> bool:
            return (await _asked(running, "/live"))[0] == 200

        await eventually(well)
