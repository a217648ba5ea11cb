"""Runs one program and leaves nothing of it behind: a small program of its own, for nobody to import at run time.

Usage: ``python -I -S guard.py LIFELINE PROGRAM ARGUMENT...``. `LIFELINE` is the number of an inherited descriptor, the
reading end of a pipe whose other end the server holds. When that is closed, which the kernel does even for a server
that is killed, the program is told to end, and a second later everything it has started is killed. The guard uses
nothing but the standard library, as it is started without the packages of the server.
"""

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36
_GRACE_S = 1.0
_KILLING_S = 5.0
_STEP_S = 0.02
_CANNOT_RUN = 127
_SIGNALLED = 128


def main(lifeline: int, command: list[str]) -> int:
    """Run `command` until it ends or the lifeline is cut. Returns its exit code, 128 and more for a signal."""
    _process_control(_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, _nothing)
    child = _started(lifeline, command)
    _let_go_of_the_pipes()
    code = _watch(child, lifeline, woken)
    _kill_descendants()
    return code


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The signal is told through the descriptor; a handler is what makes it be."""


def _started(lifeline: int, command: list[str]) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.close(lifeline)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # a guard that is killed itself must not leave the program behind
        _process_control(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() == parent:
            os.execv(command[0], command)  # noqa: S606 - there is no shell on purpose
    finally:
        os._exit(_CANNOT_RUN)


def _let_go_of_the_pipes() -> None:
    """Leave the pipes to the program alone, so that they end when it does."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)


def _watch(child: int, lifeline: int, woken: int) -> int:
    events = select.poll()
    events.register(lifeline, select.POLLIN | select.POLLHUP)
    events.register(woken, select.POLLIN)
    asked_to_end_s: float | None = None
    while True:
        ready = {descriptor for descriptor, _ in events.poll(100 if asked_to_end_s is not None else None)}
        if woken in ready:
            os.read(woken, 4096)
        if (code := _reaped(child)) is not None:
            return code
        if lifeline in ready and asked_to_end_s is None:
            events.unregister(lifeline)
            asked_to_end_s = _now_s()
            os.kill(child, signal.SIGTERM)
        if asked_to_end_s is not None and _now_s() - asked_to_end_s >= _GRACE_S:
            os.kill(child, signal.SIGKILL)
            return _SIGNALLED + signal.SIGKILL


def _reaped(child: int) -> int | None:
    """Take in whoever has ended; the exit code of the program if it is among them."""
    code: int | None = None
    with suppress(ChildProcessError):
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            if ended == child:
                found = os.waitstatus_to_exitcode(status)
                code = found if found >= 0 else _SIGNALLED - found
    return code


def _kill_descendants() -> None:
    due_s = _now_s() + _KILLING_S
    while _now_s() < due_s:
        _reaped(0)
        found = _descendants(os.getpid())
        if not found:
            return
        for process in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_STEP_S)


def _descendants(ancestor: int) -> list[int]:
    """Who descends from a process. Orphans among them are its children, as it is their reaper."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            # the name in parentheses may hold anything; the state and the parent follow it
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found: list[int] = []
    waiting = [ancestor]
    while waiting:
        offspring = children.get(waiting.pop(), [])
        found += offspring
        waiting += offspring
    return found


def _process_control(option: int, value: int) -> None:
    """``prctl``, where the kernel has it; elsewhere the lifeline alone has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
