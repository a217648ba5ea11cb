"""Background work is held, its failure is told without its text, and it ends with the program."""

import asyncio
import gc
import threading
import weakref
from functools import partial

import pytest

from proxy.tasks import detach, finish_all, off_loop, spawn
from tests.unit.telemetry.recording import RecordedLog


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> RecordedLog:
    """What the module logs."""
    found = RecordedLog()
    monkeypatch.setattr("proxy.tasks._log", found)
    return found


async def _lonely() -> None:
    await asyncio.get_running_loop().create_future()


async def _failing() -> None:
    raise ValueError("sk-ant-canary")


async def test_a_task_nobody_holds_is_not_collected_while_it_runs() -> None:
    """Protects background work from vanishing in the middle: the loop itself holds tasks only weakly."""
    held = weakref.ref(spawn(_lonely(), name="lonely"))
    for _ in range(3):
        await asyncio.sleep(0)
        gc.collect()
    task = held()
    assert task is not None
    task.cancel()
    await asyncio.wait([task])


async def test_a_task_is_let_go_when_it_has_ended() -> None:
    """Protects memory from tasks that are over."""
    held = weakref.ref(spawn(asyncio.sleep(0), name="short"))
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    assert held() is None


async def test_spawned_work_gives_its_result() -> None:
    """Protects callers that wait for what they started."""
    assert await spawn(asyncio.sleep(0, "done"), name="answer") == "done"


async def test_a_failure_is_logged_by_its_class_alone(log: RecordedLog) -> None:
    """Protects the log from the text of an exception, which may hold a key."""
    task = spawn(_failing(), name="failing")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert log.lines == [("error", "background task failed", {"task": "failing", "error": "ValueError"})]


async def test_detached_work_fails_no_louder(log: RecordedLog) -> None:
    """Protects whoever detached it, who is not there any more."""
    detach(_failing(), name="detached")
    for _ in range(3):
        await asyncio.sleep(0)
    assert [fields["task"] for fields in log.of("background task failed")] == ["detached"]


async def test_a_cancelled_task_is_no_failure(log: RecordedLog) -> None:
    """Protects the log from the ordinary end of background work."""
    task = spawn(_lonely(), name="cancelled")
    task.cancel()
    await asyncio.wait([task])
    assert log.lines == []


async def test_at_the_end_tasks_may_finish_by_themselves() -> None:
    """Protects last writes, such as the record of a credential's health."""
    written = []

    async def write() -> None:
        await asyncio.sleep(0)
        written.append("row")

    detach(write(), name="last write")
    await finish_all(within_s=10.0)
    assert written == ["row"]


async def test_at_the_end_a_task_that_does_not_finish_is_cancelled_and_awaited() -> None:
    """Protects the end of the program from work that never ends, and that work's clean-up from being cut off."""
    cleaned = []

    async def work() -> None:
        try:
            await _lonely()
        finally:
            cleaned.append("up")

    detach(work(), name="endless")
    await asyncio.sleep(0)
    await finish_all(within_s=0.01)
    assert cleaned == ["up"]


async def test_finishing_with_nothing_to_do_is_no_mistake() -> None:
    """Protects the end of a program without background work."""
    await finish_all(within_s=0.0)


async def test_a_task_that_finishes_all_does_not_wait_for_itself() -> None:
    """Protects the end of the program from waiting for ever when it runs in a spawned task."""
    await asyncio.wait_for(spawn(finish_all(within_s=60.0), name="ending"), 20)


async def test_work_off_the_loop_leaves_the_loop_to_others() -> None:
    """Protects everybody else's streams while one client's large body is decoded."""
    may_end = threading.Event()
    working = spawn(off_loop(lambda: may_end.wait(20)), name="working")
    for _ in range(10):
        await asyncio.sleep(0)
    assert not working.done()
    may_end.set()
    assert await working


async def test_work_off_the_loop_is_done_one_after_the_other() -> None:
    """Protects the loop from several threads that would all have their turn before it."""
    running: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        running.append(number)
        most.append(len(running))
        threading.Event().wait(0.001)
        running.remove(number)

    await asyncio.gather(*(off_loop(partial(work, number)) for number in range(8)))
    assert most == [1] * 8


async def test_a_failure_off_the_loop_is_that_of_whoever_waits() -> None:
    """Protects clients from an error that nobody tells them."""

    def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await off_loop(work)
