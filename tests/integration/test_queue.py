"""When every place is taken: who waits, for how long, in which order, and what those are told who cannot."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from proxy.clock import SystemClock
from proxy.simulator import EndedBy, Step
from proxy.tasks import spawn
from tests.support.house import Answer, House, Spoken, house, until
from tests.support.inside import Inside, house_inside

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUEUE_LENGTH = 3
QUEUE_WAIT_S = 0.5
REJECTED_WITHIN_S = 0.05
BUSY = Step("delay", seconds=4 * QUEUE_WAIT_S)
FULL = {
    Spoken.MESSAGES: ("overloaded_error", None),
    Spoken.CHAT: ("service_unavailable_error", "server_is_overloaded"),
}
clock = SystemClock()


class _Turn(msgspec.Struct):
    content: str


class _Asked(msgspec.Struct):
    messages: list[_Turn]


def one_place(_url: str) -> Iterable[dict[str, object]]:
    """A pool with a single place."""
    return [{"name": "only", "key": "k-only", "max_concurrency": 1}]


def questions(running: House) -> list[str]:
    """What the upstream was asked, in order; a chat's question comes in blocks and is not looked for."""
    bodies = [received.body for received in running.simulator.record.requests]
    return [msgspec.json.decode(body, type=_Asked).messages[0].content for body in bodies]


async def _enqueue(running: House, inside: Inside, texts: Iterable[str]) -> list[asyncio.Task[Answer]]:
    """Ask one after the other, each when the one before stands in the queue."""
    tasks: list[asyncio.Task[Answer]] = []
    for text in texts:
        longer = inside.waiting + 1
        tasks.append(spawn(running.ask(Spoken.MESSAGES, stream=len(tasks) % 2 == 0, text=text), name=text))
        await until(partial(_is_waiting, inside, longer))
    return tasks


def _is_waiting(inside: Inside, count: int) -> bool:
    return inside.waiting == count


async def _occupy(running: House, inside: Inside) -> asyncio.Task[Answer]:
    """Take the only place until `_free` is called."""
    running.simulator.script("k-only", [Step("stall_before_event")])
    task = spawn(running.ask(Spoken.MESSAGES, text="first"), name="first")
    await until(lambda: inside.in_flight == 1 and running.calls() == 1)
    return task


async def _leave(task: asyncio.Task[Answer]) -> None:
    """Have a client hang up."""
    task.cancel()
    await asyncio.wait([task])


async def test_places_are_given_in_the_order_of_asking(tmp_path: Path) -> None:
    """First come, first served, one at a time; and a client that hangs up makes room at once."""
    async with house_inside(tmp_path, {"QUEUE_WAIT_S": "60"}, one_place) as (running, inside):
        first = await _occupy(running, inside)
        waiting = await _enqueue(running, inside, [f"waiting {number}" for number in range(8)])
        assert running.calls() == 1
        await _leave(first)
        answers = await asyncio.gather(*waiting)
        assert {answer.status for answer in answers} == {200}
        assert questions(running) == ["first", *[f"waiting {number}" for number in range(8)]]
        assert running.simulator.record.max_in_flight == {"k-only": 1}
        assert running.simulator.record.requests[0].ended_by is EndedBy.CLIENT
        await until(lambda: (inside.in_flight, inside.waiting) == (0, 0))


async def test_a_waiting_client_that_leaves_frees_its_place_in_the_queue(tmp_path: Path) -> None:
    """It is never asked for upstream, the others keep their order, and a new one may take its room."""
    settings = {"QUEUE_WAIT_S": "60", "QUEUE_LENGTH": str(QUEUE_LENGTH)}
    async with house_inside(tmp_path, settings, one_place) as (running, inside):
        first = await _occupy(running, inside)
        one, two, three = await _enqueue(running, inside, ["one", "two", "three"])
        assert (await running.ask(Spoken.MESSAGES)).status == 503
        await _leave(two)
        await until(lambda: inside.waiting == QUEUE_LENGTH - 1)
        (four,) = await _enqueue(running, inside, ["four"])
        await _leave(first)
        answers = await asyncio.gather(one, three, four)
        assert {answer.status for answer in answers} == {200}
        assert questions(running) == ["first", "one", "three", "four"]
        await until(lambda: (inside.in_flight, inside.waiting) == (0, 0))


async def test_a_failed_call_hands_its_place_to_the_next(tmp_path: Path) -> None:
    """A fault frees a place as well as an answer does, and those who wait are not punished for it."""
    async with house_inside(tmp_path, {"QUEUE_WAIT_S": "60", "RETRY_COUNT": "0"}, one_place) as (
        running,
        inside,
    ):
        slow_fault = Step("delay", seconds=0.3, next=Step("reset_before_headers"))
        running.simulator.script("k-only", [slow_fault])
        failing = spawn(running.ask(Spoken.MESSAGES, text="failing"), name="failing")
        await until(lambda: inside.in_flight == 1)
        waiting = await _enqueue(running, inside, ["one", "two"])
        assert (await failing).status == 502
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
        assert questions(running) == ["failing", "one", "two"]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def narrow_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A process with a single place and a short queue."""
    settings = {"QUEUE_LENGTH": str(QUEUE_LENGTH), "QUEUE_WAIT_S": "60"}
    async with house(tmp_path_factory.mktemp("narrow"), settings, credentials=one_place) as running:
        yield running


@pytest.fixture
def narrow(narrow_house: House) -> House:
    """The same without a memory of what was asked."""
    narrow_house.simulator.reset()
    return narrow_house


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def impatient_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A process with a single place and little patience with those who wait for it."""
    settings = {"QUEUE_WAIT_S": str(QUEUE_WAIT_S), "RELAY_HOLD_BACK_S": str(QUEUE_WAIT_S / 5)}
    async with house(tmp_path_factory.mktemp("impatient"), settings, credentials=one_place) as running:
        yield running


@pytest.fixture
def impatient(impatient_house: House) -> House:
    """The same without a memory of what was asked."""
    impatient_house.simulator.reset()
    return impatient_house


def _check_told(answer: Answer, spoken: Spoken) -> None:
    assert answer.status == 503
    assert (answer.error.error.type, answer.error.error.code) == FULL[spoken]
    assert answer.headers["retry-after"] == "1"
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("spoken", Spoken)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_full_queue_turns_requests_away_at_once(
    narrow: House, spoken: Spoken, *, stream: bool
) -> None:
    """Our own overload is told within moments, costs no upstream call and is blamed on no credential."""
    narrow.simulator.script("k-only", [Step("stall_before_event")])
    first = spawn(narrow.ask(Spoken.MESSAGES), name="first")
    await until(lambda: narrow.calls() == 1)
    turned_away: list[Answer] = []
    took_s: list[float] = []

    async def ask() -> Answer:
        began_s = clock.monotonic_s()
        answer = await narrow.ask(spoken, stream=stream)
        if answer.status == 503:
            took_s.append(clock.monotonic_s() - began_s)
            turned_away.append(answer)
        return answer

    asking = [spawn(ask(), name="ask") for _ in range(12)]
    await until(lambda: len(turned_away) == 12 - QUEUE_LENGTH)
    assert narrow.calls() == 1
    for answer in turned_away:
        _check_told(answer, spoken)
    assert min(took_s) <= 4 * REJECTED_WITHIN_S
    await _leave(first)
    served = [answer for answer in await asyncio.gather(*asking) if answer.status == 200]
    assert len(served) == QUEUE_LENGTH
    assert narrow.calls() == 1 + QUEUE_LENGTH
    assert narrow.simulator.record.max_in_flight == {"k-only": 1}
    found = (await narrow.idle())["only"]
    assert (found.word(), found.failed) == ("ready", 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_waiting_too_long_ends_in_a_status(impatient: House, *, stream: bool) -> None:
    """A stream gets no early headers while it waits for a place, so that it can be told properly."""
    impatient.simulator.script("k-only", [BUSY])
    first = spawn(impatient.ask(Spoken.MESSAGES), name="first")
    await until(lambda: impatient.calls() == 1)
    began_s = clock.monotonic_s()
    answers = await asyncio.gather(*[impatient.ask(spoken, stream=stream) for spoken in Spoken])
    assert clock.monotonic_s() - began_s >= QUEUE_WAIT_S
    for spoken, answer in zip(Spoken, answers, strict=True):
        _check_told(answer, spoken)
    assert impatient.calls() == 1
    assert (await first).status == 200
    assert (await impatient.ask(Spoken.CHAT, stream=stream)).status == 200
    found = (await impatient.idle())["only"]
    assert (found.word(), found.failed) == ("ready", 0)


async def test_after_the_longest_wait_a_later_tier_will_do(tmp_path: Path) -> None:
    """A busy tier is waited for; only when that was in vain the next one is asked."""

    def two_tiers(_url: str) -> Iterable[dict[str, object]]:
        return [
            {"name": "main", "key": "k-main", "max_concurrency": 1},
            {"name": "spare", "key": "k-spare", "tier": 1},
        ]

    async with house(tmp_path, {"QUEUE_WAIT_S": str(QUEUE_WAIT_S)}, credentials=two_tiers) as running:
        running.simulator.script("k-main", [BUSY])
        first = spawn(running.ask(Spoken.MESSAGES), name="first")
        await until(lambda: running.calls() == 1)
        began_s = clock.monotonic_s()
        answer = await running.ask(Spoken.CHAT)
        assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "spare")
        assert clock.monotonic_s() - began_s >= QUEUE_WAIT_S
        assert (await first).headers["x-carousel-credential"] == "main"
