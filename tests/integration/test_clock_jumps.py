"""A wall clock that is set, forward or back, changes nothing that lasts, and makes nothing last for ever."""

import asyncio
import datetime as dt
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator, Step
from tests.support.clock import LoopClock
from tests.support.gateway import ADMIN_KEY, gateway
from tests.support.house import House, Spoken, client, configuration, eventually, simulated
from tests.support.inside import Circumstances, Inside, house_inside
from tests.support.wall_clock import WallClock

_ADMINISTRATOR: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
_DAY_S: Final = 86_400
_JUMPS_S: Final = (-_DAY_S, -7200, 1, 7200, _DAY_S)
_COOLING_S: Final = 60
_ABOUT_S: Final = 1.0
_LONGEST_S: Final = 3600
_LATER_S: Final = 5
"""By how much a time that an upstream named may be lengthened at most."""

_LIMITED: Final = Step("status", status=429, headers={"retry-after": str(_COOLING_S)})


@asynccontextmanager
async def _standing(folder: Path, **settings: str) -> AsyncIterator[tuple[House, Inside, LoopClock]]:
    """A gateway of two keys in this process, whose time can be hurried on and whose wall clock can be set."""
    clock = LoopClock(asyncio.get_running_loop())
    entries = [{"name": "api-1", "key": "k1"}, {"name": "api-2", "key": "k2"}]
    given = Circumstances(clock, patient=True)
    async with house_inside(folder, settings, lambda _: entries, circumstances=given) as (running, inside):
        yield running, inside, clock


async def _order(running: House, method: str, path: str, body: object = None) -> bytes:
    """What an administrator is answered."""
    data = None if body is None else msgspec.json.encode(body)
    url = f"{running.server.url}/admin/{path}"
    async with running.session.request(method, url, data=data, headers=_ADMINISTRATOR) as answer:
        said = await answer.read()
        assert answer.status < 300, said
        return said


def _moment(unix_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(unix_ms // 1000, dt.UTC)


async def _used(running: House, times: int) -> set[str]:
    """Who answers the next questions."""
    answers = [await running.ask(Spoken.MESSAGES) for _ in range(times)]
    assert {answer.status for answer in answers} == {200}
    return {answer.headers["x-carousel-credential"] for answer in answers}


@pytest.mark.parametrize("jump_s", _JUMPS_S)
async def test_a_rate_limit_lasts_as_long_as_the_upstream_said(tmp_path: Path, jump_s: int) -> None:
    """Protects an upstream from being asked too early, and a key from resting for a day."""
    async with _standing(tmp_path) as (running, inside, clock):
        running.simulator.script("k1", [_LIMITED])
        while not running.calls("k1"):
            await running.ask(Spoken.MESSAGES)
        clock.jump(jump_s)
        (state,) = inside.credential("api-1").classes.values()
        assert state.until_unix_ms is not None
        assert abs((state.until_unix_ms - clock.unix_ms()) / 1000 - _COOLING_S) <= _ABOUT_S
        clock.advance(_COOLING_S - 2 * _ABOUT_S)
        assert await _used(running, 4) == {"api-2"}
        clock.advance(3 * _ABOUT_S)
        assert await _used(running, 4) == {"api-1", "api-2"}


@pytest.mark.parametrize("jump_s", _JUMPS_S)
async def test_a_minute_of_a_limit_is_a_minute(tmp_path: Path, jump_s: int) -> None:
    """Protects a limit from being given out anew, and clients from waiting for longer than a minute."""
    async with _standing(tmp_path, RATE_LIMIT_REQUESTS_PER_MINUTE="3") as (running, _, clock):
        await _used(running, 3)
        clock.jump(jump_s)
        refused = await running.ask(Spoken.CHAT)
        assert refused.status == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        clock.advance(61)
        await _used(running, 3)


@pytest.mark.parametrize(
    ("jump_s", "least_s", "most_s"), [(-_DAY_S, _LONGEST_S, _LONGEST_S), (0, 58, 60), (_DAY_S, 0.5, 1)]
)
async def test_a_moment_an_upstream_names_is_bounded_if_our_clock_is_wrong(
    tmp_path: Path, jump_s: int, least_s: float, most_s: float
) -> None:
    """Protects a key from resting for as long as our clock is behind, and an upstream from being asked at once."""
    async with _standing(tmp_path) as (running, inside, clock):
        named = format_datetime(_moment(clock.unix_ms() + _COOLING_S * 1000), usegmt=True)
        running.simulator.script("k1", [Step("status", status=429, headers={"retry-after": named})])
        clock.jump(jump_s)
        while not running.calls("k1"):
            await running.ask(Spoken.MESSAGES)
        (state,) = inside.credential("api-1").classes.values()
        assert state.until_unix_ms is not None
        assert least_s - _ABOUT_S <= (state.until_unix_ms - clock.unix_ms()) / 1000 <= most_s + _ABOUT_S


@pytest.mark.parametrize("jump_s", _JUMPS_S)
async def test_a_key_ends_when_it_was_to_end(tmp_path: Path, jump_s: int) -> None:
    """Protects keys that end at a moment of the calendar: a clock that is put right puts them right."""
    async with _standing(tmp_path) as (running, _, clock):
        ends = _moment(clock.unix_ms() + 3_600_000)
        said = await _order(running, "POST", "keys", {"name": "work", "expires_at": ends})
        key = msgspec.json.decode(said, type=dict[str, str])["key"]
        clock.jump(jump_s)
        assert (await running.ask(Spoken.CHAT, key=key)).status == (401 if jump_s > 3600 else 200)
        clock.jump(-jump_s)
        assert (await running.ask(Spoken.CHAT, key=key)).status == 200
        clock.advance(3601)
        assert (await running.ask(Spoken.CHAT, key=key)).status == 401


@pytest.mark.parametrize("jump_s", _JUMPS_S)
async def test_a_spent_budget_stays_spent_until_its_period_is_over(tmp_path: Path, jump_s: int) -> None:
    """Protects the operator's money from a clock that is set, and clients from waiting for a time that is far off."""
    async with _standing(tmp_path) as (running, _, clock):
        wanted = {"name": "poor", "budget_usd": 0.000001, "period": "day"}
        key = msgspec.json.decode(await _order(running, "POST", "keys", wanted), type=dict[str, str])["key"]
        clock.advance(-clock.unix_ms() / 1000 % _DAY_S + 7201)
        assert (await running.ask(Spoken.CHAT, key=key)).status == 200
        clock.jump(jump_s)
        # a clock that is a day ahead tells of a new day
        assert ((await running.ask(Spoken.CHAT, key=key)).status == 429) is (jump_s < _DAY_S)
        clock.jump(-jump_s)
        assert (await running.ask(Spoken.CHAT, key=key)).status == 429
        # what was spent on the day that came too early is spent on that day
        clock.advance(2 * _DAY_S if jump_s == _DAY_S else _DAY_S)
        assert (await running.ask(Spoken.CHAT, key=key)).status == 200


class _Listed(msgspec.Struct):
    """A request, or an order, in a list."""

    id: str | int


@pytest.mark.parametrize("jump_s", _JUMPS_S)
async def test_what_came_later_stands_later(tmp_path: Path, jump_s: int) -> None:
    """Protects whoever reads what happened: lists go by what came after what, and the books miss nothing."""
    async with _standing(tmp_path) as (running, _, clock):
        asked = []
        for name in ("one", "two", "three"):
            asked.append((await running.ask(Spoken.CHAT)).headers["x-request-id"])
            await _order(running, "POST", "keys", {"name": name})
            clock.jump(jump_s)
        listed = msgspec.json.decode(await _order(running, "GET", "requests"), type=dict[str, list[_Listed]])
        assert [one.id for one in listed["requests"]] == asked[::-1]
        audit = msgspec.json.decode(await _order(running, "GET", "audit"), type=dict[str, list[_Listed]])
        numbers = [one.id for one in audit["orders"]]
        assert len(numbers) == 3
        assert numbers == sorted(numbers, reverse=True)
        clock.jump(-3 * jump_s)
        # ten days, forward and back
        span = {"from": _moment(clock.unix_ms() - 10**9), "to": _moment(clock.unix_ms() + 10**9)}
        query = "&".join(f"{name}={moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in span.items())
        said = await _order(running, "GET", f"usage?by=credential&{query}")
        assert msgspec.json.decode(said, type=dict[str, object])["total"]["requests"] == 3  # type: ignore[index]


@pytest.mark.parametrize("jump_s", [-_DAY_S, -7200, 7200, _DAY_S])
async def test_a_restart_under_another_time_bounds_what_was_stored(tmp_path: Path, jump_s: int) -> None:
    """Protects a key from resting for as long as a clock was wrong when the limit was written down."""
    async with simulated(Simulator()) as simulator, client() as session:
        simulator.script("k1", [_LIMITED])
        settings = configuration(tmp_path, simulator, ("k1",), None)
        clock = WallClock(tmp_path / "wrong-by")
        with clock.used():
            async with gateway(tmp_path, settings) as server:
                running = House(server, simulator, session)
                assert (await running.ask(Spoken.MESSAGES)).status == 429
                await eventually(lambda: _says(running, "cooling(rate_limit)"))
                await server.stop(signal.SIGKILL)
            clock.set(jump_s)
            async with gateway(tmp_path, settings) as server:
                running = House(server, simulator, session)
                answer = await running.ask(Spoken.MESSAGES)
                if jump_s > 0:
                    assert answer.status == 200
                else:
                    assert answer.status == 429
                    assert 1 <= int(answer.headers["retry-after"]) <= _LONGEST_S + _LATER_S
                    clock.set(0)
                    # set right while it runs: what is left of it is what was left of it
                    again = await running.ask(Spoken.MESSAGES)
                    assert 0 <= int(answer.headers["retry-after"]) - int(again.headers["retry-after"]) <= 5


async def _says(running: House, word: str) -> bool:
    return (await running.credentials())["api-1"].word() == word
