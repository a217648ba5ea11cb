"""Retries have bounds: an upstream in trouble is not asked much more often than clients ask, and heals at once."""

import asyncio
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from proxy.clock import SystemClock
from proxy.simulator import Step
from proxy.tasks import spawn
from tests.support.house import Answer, House, Spoken, house
from tests.support.soak import sized

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS: Final = tuple(f"k{number}" for number in range(10))
RATE: Final = 50
FAILING_S: Final = sized(full=60.0, short=6.0)
HEALING_S: Final = sized(full=20.0, short=4.0)
HEALED_WITHIN_S: Final = 15.0
CALLS_A_REQUEST: Final = 1.2
CALLS_A_SECOND: Final = 2
BUDGET_AT_THE_START: Final = 10
ATTEMPTS_MAX: Final = 3
CUTS: Final = sized(full=1000, short=200)
DOWN: Final = Step("status", status=503)
WAYS: Final = [(spoken, stream) for spoken in Spoken for stream in (False, True)]
clock = SystemClock()


async def ask_steadily(running: House, seconds: float) -> list[tuple[float, Answer]]:
    """Ask fifty times a second in all dialects and forms; every answer with the moment its request was made."""

    async def one(number: int, spoken: Spoken, *, stream: bool) -> tuple[float, Answer]:
        asked_s = clock.monotonic_s()
        return asked_s, await running.ask(spoken, stream=stream, text=f"Question {number}")

    began_s = clock.monotonic_s()
    asking = []
    for number in range(int(seconds * RATE)):
        await asyncio.sleep(max(began_s + number / RATE - clock.monotonic_s(), 0.0))
        spoken, stream = WAYS[number % len(WAYS)]
        asking.append(spawn(one(number, spoken, stream=stream), name=f"question {number}"))
    return await asyncio.gather(*asking)


@pytest.mark.long
@pytest.mark.timeout(200)
async def test_an_upstream_that_fails_is_asked_little_more_and_heals_at_once(tmp_path: Path) -> None:
    """Protects an upstream in trouble from a storm of retries, and clients from our caution once it is well."""
    async with house(tmp_path, keys=KEYS) as running:
        running.simulator.script("*", then=DOWN)
        failed = [answer for _, answer in await ask_steadily(running, FAILING_S)]
        calls = running.calls()
        assert {answer.status for answer in failed} == {503}
        assert max(int(answer.headers["x-carousel-attempts"]) for answer in failed) <= ATTEMPTS_MAX
        assert len(failed) < calls
        assert calls <= CALLS_A_REQUEST * len(failed) + CALLS_A_SECOND * FAILING_S + BUDGET_AT_THE_START
        assert all(one.state.state == "ready" for one in (await running.credentials()).values())

        running.simulator.script("*", then=Step())
        healed_s = clock.monotonic_s()
        after = await ask_steadily(running, HEALING_S)
        late = [asked_s - healed_s for asked_s, answer in after if answer.status != 200]
        assert max(late, default=0.0) <= HEALED_WITHIN_S
        assert after[-1][1].status == 200


@pytest.mark.long
async def test_what_is_cut_after_its_first_byte_is_asked_for_once(tmp_path: Path) -> None:
    """Protects clients from two answers in one, and from paying twice, in every one of so many cuts."""
    cuts = [Step("end_without_stop"), Step("cut_at_byte", at_byte=1000, how="close")]
    gate = asyncio.Semaphore(20)

    async def one(number: int) -> Answer:
        async with gate:
            return await running.ask(list(Spoken)[number % 2], stream=True, text=f"Question {number}")

    def entries(_url: str) -> Iterable[dict[str, object]]:
        return [{"name": key, "key": key} for key in KEYS]

    async with house(
        tmp_path, {"POOL_STRIKES": "1000", "POOL_STRIKE_SHARE": "1"}, credentials=entries
    ) as running:
        for key, cut in zip(KEYS, (cuts[number % 2] for number in count()), strict=False):
            running.simulator.script(key, then=cut)
        answers = await asyncio.gather(*[one(number) for number in range(CUTS)])
        assert running.calls() == CUTS
        assert {(answer.status, answer.headers["x-carousel-attempts"]) for answer in answers} == {(200, "1")}
        assert all(answer.broken_off and answer.last_frame_error.error.message for answer in answers)
