"""The programs under test, each started on a core of its own and ended by its id."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxy.clock import SystemClock
from tests.support.processor import processor_s

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "sk-bench-client-key-0123456789abcdef"
ADMIN_KEY: Final = "bench-admin-key-0123456789abcdef"
LOAD_CORE: Final = 0
TESTED_CORE: Final = 1
clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Program:
    """Something that answers on a port.

    Attributes:
        name: shown in the figures.
        port: where it listens on this machine.
        command: how it is started.
        settings: added to its environment.
        folder: where it is started; None for the repository.
        paths: which endpoints it has: ``chat``, ``messages``.
        ready: what is asked until it answers; empty where it is enough that it takes a connection.
        headers: that its callers have to send beside the usual ones.
        peer: whether it is another project's: paced streams are left out, and what it cannot do is told.
    """

    name: str
    port: int
    command: Sequence[str]
    settings: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    paths: tuple[str, ...] = ("chat", "messages")
    ready: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    peer: bool = False


@dataclass(slots=True)
class Running:
    """A started program.

    Attributes:
        program: what was started.
        pid: of its first process.
        started_in_s: from its start to its first answer.
    """

    program: Program
    pid: int
    started_in_s: float

    def processor_s(self) -> float:
        """Seconds the process and its children have had of the processor."""
        whole_s = processor_s(self.pid)
        for pid in _children(self.pid):
            with suppress(OSError):
                whole_s += processor_s(pid)
        return whole_s

    def rss_mib(self) -> float:
        """Resident memory of the process and its children, in MiB."""
        return sum(_rss_kib(pid) for pid in (self.pid, *_children(self.pid))) / 1024


@asynccontextmanager
async def running(program: Program, core: int = TESTED_CORE, *others: int) -> AsyncIterator[Running]:
    """Start a program on one core or several, wait until it answers, end it afterwards.

    Raises RuntimeError where its port is taken: what listens there, left by a run that was killed, would be measured.
    """
    if await _taken(program.port):
        raise RuntimeError(f"port {program.port} is taken; is a program of an earlier run still there?")
    environment = {"PATH": os.environ["PATH"], "HOME": str(program.folder or ROOT), **program.settings}
    began_s = clock.monotonic_s()
    process = await asyncio.create_subprocess_exec(
        "taskset",
        "-c",
        ",".join(map(str, (core, *others))),
        *program.command,
        cwd=program.folder or ROOT,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _answers(program, process)
        yield Running(program, process.pid, clock.monotonic_s() - began_s)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def upstream(port: int, *arguments: str) -> Program:
    """The simulated Claude that everything else is put in front of."""
    command = (sys.executable, "-m", "proxy.simulator", "--address", f"127.0.0.1:{port}", *arguments)
    return Program("upstream", port, command, paths=("messages",))


def carousel(port: int, upstream_port: int, folder: Path, **settings: str) -> Program:
    """The gateway in production mode: keys, pool, store and log on."""
    return Program(
        "carousel",
        port,
        (sys.executable, str(ROOT / "app.py"), "serve", "--address", f"127.0.0.1:{port}"),
        {
            "API_KEY": KEY,
            "ADMIN_KEY": ADMIN_KEY,
            "ANTHROPIC_API_KEYS": "bench-1,bench-2,bench-3",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{upstream_port}",
            "DATA_DIR": str(folder / "data"),
            "LOG_FORMAT": "json",
            **settings,
        },
        folder,
        ready="/ready",
    )


def relay(port: int, upstream_port: int) -> Program:
    """The ceiling of the framework."""
    command = (sys.executable, "-m", "tests.bench.relay", "--port", str(port))
    return Program("relay", port, (*command, "--upstream", f"http://127.0.0.1:{upstream_port}"))


def nginx(port: int, upstream_port: int, folder: Path) -> Program | None:
    """The floor: bytes passed on by a program in C. None where it is not installed."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        return None
    template = (ROOT / "tests" / "bench" / "nginx.conf").read_text()
    config = folder / "nginx.conf"
    config.write_text(
        template.replace("@PORT@", str(port))
        .replace("@UPSTREAM@", str(upstream_port))
        .replace("@FOLDER@", str(folder))
    )
    return Program(
        "nginx", port, (program, "-c", str(config), "-p", str(folder)), paths=("messages",), folder=folder
    )


def redis_server(port: int) -> Program | None:
    """A Redis that keeps nothing on disk. None where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        return None
    command = (program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    return Program("redis", port, command, paths=(), ready="")


async def _taken(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _answers(program: Program, process: asyncio.subprocess.Process) -> None:
    while True:
        if process.returncode is not None:
            raise RuntimeError(f"{program.name} ended with code {process.returncode} instead of serving")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        if not program.ready:
            writer.close()
            return
        writer.write(f"GET {program.ready} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
        writer.close()
        if status and (program.ready == "/" or b" 200 " in status):
            return
        await asyncio.sleep(0.01)


def _rss_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            child = int(entry.name)
            found += [child, *_children(child)]
    return found
