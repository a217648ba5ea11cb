"""Several processes on one address: the parent only supervises, each child is a whole server.

The system spreads connections over them. A child that dies is replaced; when the parent dies, however it does, the
children are told by the end of a pipe nobody writes to, and drain.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.clock import Clock
from proxy.commands.output import finish_output
from proxy.commands.terminal import has_terminal
from proxy.log import get_logger
from proxy.telemetry.slots import Slots

_log = get_logger("workers")
_WATCHED: Final = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_SHORT_LIFE_S: Final = 5.0
_PAUSE_S: Final = 1.0
_IDLE_S: Final = 3600.0
_CANNOT_START: Final = 1


@dataclass(frozen=True, slots=True)
class Worker:
    """One of the processes.

    Attributes:
        number: from 0.
        replaces: whether another one of this number has died.
        parent: a descriptor that comes to its end with the parent; None for a process that is alone.
        began_unix_ms: when the parent began; None for a process that is alone.
        slots: memory that all of them share; None for a process that is alone.
    """

    number: int = 0
    replaces: bool = False
    parent: int | None = None
    began_unix_ms: int | None = None
    slots: Slots | None = None

    @property
    def first(self) -> bool:
        """Whether it is the one that does what is done once a start."""
        return self.number == 0 and not self.replaces

    @property
    def takes_up_before_unix_ms(self) -> int | None:
        """What was left undone before this moment is for it to do; None for all of it, 0 for nothing."""
        return self.began_unix_ms if self.first else 0


ALONE: Final = Worker()


@dataclass(frozen=True, slots=True)
class _Child:
    worker: Worker
    started_s: float


class Supervisor:
    """The parent of some workers.

    Args:
        count: how many.
        work: what each does, in a process of its own; returns its exit code.
        clock: the time.
    """

    def __init__(self, count: int, work: Callable[[Worker], int], clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._parent, self._life = os.pipe()
        self._slots = Slots(count)
        self._children: dict[int, _Child] = {}
        self._due: dict[int, float] = dict.fromkeys(range(count), 0.0)
        self._replaced: set[int] = set()
        self._stopping = False
        self._began_unix_ms = clock.unix_ms()
        self._code = 0
        self._in_terminal = has_terminal()

    def run(self) -> int:
        """Supervise until told to stop and the last child has ended. Returns the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        while self._children or not self._stopping:
            self._start_due()
            waits_s = max(min(self._due.values(), default=_IDLE_S) - self._clock.monotonic_s(), 0.0)
            came = signal.sigtimedwait(_WATCHED, waits_s if self._due else _IDLE_S)
            if came is not None:
                self._on_signal(signal.Signals(came.si_signo))
        return self._code

    def _start_due(self) -> None:
        now_s = self._clock.monotonic_s()
        for number in [number for number, due_s in self._due.items() if due_s <= now_s]:
            del self._due[number]
            worker = Worker(number, number in self._replaced, self._parent, self._began_unix_ms, self._slots)
            pid = os.fork()
            if pid == 0:
                self._be(worker)
            self._children[pid] = _Child(worker, now_s)

    def _be(self, worker: Worker) -> None:
        """Be a child; never returns."""
        code = _CANNOT_START
        try:
            # what is typed into the terminal is for the parent, which passes it on once
            os.setpgid(0, 0)
            os.close(self._life)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            code = self._work(worker)
        except BaseException as error:  # noqa: BLE001 - nothing of the parent's may run in a child
            _log.error("worker failed", worker=worker.number, error=type(error).__name__)
        finally:
            finish_output()
            os._exit(code)

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGCHLD:
            self._reap()
            return
        if number == signal.SIGHUP and self._in_terminal and not has_terminal():
            number = signal.SIGTERM
        if number != signal.SIGHUP:
            self._stopping = True
            self._due.clear()
        self._tell(number)

    def _tell(self, number: signal.Signals) -> None:
        for pid in self._children:
            os.kill(pid, number)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if (child := self._children.pop(pid, None)) is not None:
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: _Child, code: int) -> None:
        number = child.worker.number
        if self._stopping:
            self._code = max(self._code, code if code >= 0 else _CANNOT_START)
            return
        if code == _CANNOT_START and not child.worker.replaces:
            # a configuration that cannot be served is no better with the next one
            self._stopping, self._code = True, code
            self._due.clear()
            self._tell(signal.SIGTERM)
            return
        now_s = self._clock.monotonic_s()
        short_lived = now_s - child.started_s < _SHORT_LIFE_S
        _log.error("a worker died and is replaced", worker=number, code=code)
        self._replaced.add(number)
        self._due[number] = now_s + (_PAUSE_S if short_lived else 0.0)
