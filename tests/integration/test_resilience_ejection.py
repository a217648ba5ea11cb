"""A bad credential goes out of use, a fault of the whole service never empties the pool, and times are kept."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.clock import SystemClock
from proxy.simulator import Simulator, Step
from tests.support.gateway import gateway
from tests.support.house import Answer, House, Spoken, body_of, client, configuration, house, simulated
from tests.support.soak import sized

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS: Final = tuple(f"k{number}" for number in range(1, 11))
BAD: Final = "k4"
WAYS: Final = [(spoken, stream) for spoken in Spoken for stream in (False, True)]
REFUSED: Final = Step("status", status=401)
REFUSED_AGAIN_S: Final = 5.2
AT_ONCE: Final = 10
REQUESTS: Final = 1000
OTHER_ENTRIES: Final = sized(full=10_000, short=1_200)
clock = SystemClock()


async def ask_many(running: House, requests: int, *, at_once: int = AT_ONCE) -> list[Answer]:
    """Ask in all dialects and forms, so many at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(number: int) -> Answer:
        spoken, stream = WAYS[number % len(WAYS)]
        async with gate:
            return await running.ask(spoken, stream=stream, text=f"Question {number}")

    return await asyncio.gather(*[one(number) for number in range(requests)])


@pytest.mark.parametrize(
    ("step", "state", "calls_max"),
    [
        (REFUSED, "cooling(auth)", AT_ONCE),
        (Step("status", status=500), "cooling(faults)", 5 + AT_ONCE),
        (Step("reset_before_headers"), "cooling(faults)", 5 + AT_ONCE),
    ],
    ids=["refused", "failing", "resetting"],
)
async def test_one_bad_credential_of_ten_is_never_noticed_and_soon_left_alone(
    tmp_path: Path, step: Step, state: str, calls_max: int
) -> None:
    """Protects clients from one bad credential, and the others' even shares from its going."""
    async with house(tmp_path, keys=KEYS) as running:
        running.simulator.script(BAD, then=step)
        answers = await ask_many(running, 100)
        assert {answer.status for answer in answers} == {200}
        calls = running.calls(BAD)
        assert 1 <= calls <= calls_max
        assert (await running.credentials())["api-4"].word() == state

        running.simulator.record.clear()
        answers = await ask_many(running, REQUESTS)
        assert {answer.status for answer in answers} == {200}
        counts = running.simulator.record.requests_per_key
        assert BAD not in counts
        assert max(counts.values()) - min(counts.values()) <= 1, counts
        assert sum(counts.values()) == REQUESTS
        told = Counter(answer.headers["x-carousel-credential"] for answer in answers)
        assert told == {f"api-{key[1:]}": number for key, number in counts.items()}


async def test_when_every_key_is_refused_none_is_disabled_and_all_come_back(tmp_path: Path) -> None:
    """Protects the operator from a pool that a fault of the provider's own sign-in has emptied for good."""
    async with house(tmp_path, {"POOL_AUTH_COOLING_S": str(REFUSED_AGAIN_S)}, keys=KEYS) as running:
        running.simulator.script("*", then=REFUSED)
        began_s = clock.monotonic_s()
        while min(running.calls(key) for key in KEYS) < 2:
            assert clock.monotonic_s() - began_s < 3 * REFUSED_AGAIN_S
            assert {answer.status for answer in await ask_many(running, 4, at_once=1)} == {503}
            await asyncio.sleep(0.1)
        states = Counter(str(one.state) for one in (await running.credentials()).values())
        assert states == {"cooling(auth)": len(KEYS)} or set(states) <= {"cooling(auth)", "trial(auth)"}

        running.simulator.script("*", then=Step())
        served: set[str] = set()
        healed_s = clock.monotonic_s()
        while len(served) < len(KEYS):
            assert clock.monotonic_s() - healed_s < 4 * REFUSED_AGAIN_S, served
            found = await ask_many(running, 20)
            served |= {one.headers["x-carousel-credential"] for one in found if one.status == 200}
            await asyncio.sleep(0.1)


def _limited(seconds: int, *, after_s: float) -> Step:
    limit = Step("status", status=429, headers={"retry-after": str(seconds)})
    return Step("delay", seconds=after_s, next=limit)


async def _left_s(running: House, name: str) -> float:
    """Seconds for which a credential will be out of use."""
    found = (await running.credentials())[name]
    state = next(one for one in found.classes.values() if one.state == "cooling")
    assert state.until_unix_ms is not None
    return state.until_unix_ms / 1000 - clock.unix_ms() / 1000


@pytest.mark.long
async def test_a_limit_keeps_its_longest_time_among_much_else_and_over_a_restart(tmp_path: Path) -> None:
    """Protects the time an upstream has named from shorter ones, from what is forgotten, and from a restart."""
    async with simulated() as simulator:
        settings = {**configuration(tmp_path, simulator, ("k1", "k2"), None), "POOL_JITTER": "0"}
        async with gateway(tmp_path, settings) as server, client() as session:
            running = House(server, simulator, session)
            simulator.script("k1", [_limited(100, after_s=0.2), _limited(5, after_s=0.6)])
            assert {answer.status for answer in await ask_many(running, 4)} == {200}
            assert running.calls("k1") == 2
            named_s = clock.monotonic_s()
            assert 95 < await _left_s(running, "api-1") <= 100
            await _remember_much_else(running, simulator)
            passed_s = clock.monotonic_s() - named_s
            left_s = await _left_s(running, "api-1")
            assert abs(left_s + passed_s - 99.5) < 1.5
            before_ms = clock.unix_ms()
            assert await server.stop() == 0
        async with gateway(tmp_path, settings) as server, client() as session:
            running = House(server, simulator, session)
            down_s = (clock.unix_ms() - before_ms) / 1000
            assert abs(await _left_s(running, "api-1") + down_s - left_s) <= 1
            simulator.record.clear()
            assert {answer.status for answer in await ask_many(running, 12)} == {200}
            assert simulator.record.requests_per_key == {"k2": 12}


async def _remember_much_else(running: House, simulator: Simulator) -> None:
    """Ask about so many models, each in a conversation of its own, that whatever is bounded has to forget."""
    simulator.script("k2", then=Step("raw", status=404, body_bytes=_NO_SUCH_MODEL))
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> int:
        async with gate:
            body = body_of(Spoken.MESSAGES, stream=False, model=f"claude-{number}-0", text=f"About {number}")
            return (await running.send(Spoken.MESSAGES, body)).status

    assert set(await asyncio.gather(*[one(number) for number in range(OTHER_ENTRIES)])) <= {200, 404}
    simulator.script("k2", then=Step())


_NO_SUCH_MODEL: Final = msgspec.json.encode(
    {"type": "error", "error": {"type": "not_found_error", "message": "model: unknown"}}
)
