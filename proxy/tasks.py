"""Background work that is never lost, never silent, and ends with the program; and the way around a busy loop."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from proxy.log import get_logger

_T = TypeVar("_T")
# of several busy threads each would take its turn of the interpreter before the loop gets one
_worker: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="off-loop")
_log = get_logger("tasks")
_running: set["asyncio.Task[Any]"] = set()


def spawn(work: Coroutine[Any, Any, _T], *, name: str) -> "asyncio.Task[_T]":
    """Start `work` in the running loop and hold on to it until it ends.

    A failure nobody awaits is logged by its class alone: the text of an exception may hold what must not be shown.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def detach(work: Coroutine[Any, Any, None], *, name: str) -> None:
    """Start `work` that nobody will await; it is held, and its failure logged, all the same."""
    spawn(work, name=name).get_name()


async def off_loop(work: Callable[[], _T]) -> _T:
    """Do `work` that takes tens of milliseconds in a thread, one after the other, while the loop goes on.

    For large bodies only: the way there and back costs more than decoding a small one. Work that nobody waits for any
    more is done all the same.
    """
    return await asyncio.get_running_loop().run_in_executor(_worker, work)


def _ended(task: "asyncio.Task[Any]") -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("background task failed", task=task.get_name(), error=type(error).__name__)


async def finish_all(*, within_s: float) -> None:
    """Let this loop's tasks end by themselves for `within_s` seconds, then cancel what is left and await it."""
    loop = asyncio.get_running_loop()
    current = asyncio.current_task()
    mine = {task for task in _running if task.get_loop() is loop and task is not current}
    if not mine:
        return
    _, pending = await asyncio.wait(mine, timeout=within_s)
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=1.0)
