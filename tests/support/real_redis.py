"""A real Redis on this machine, which can be stopped, started and made to misbehave; and gateways that share it."""

import asyncio
import shutil
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from proxy.secrets import Secret
from proxy.simulator import Simulator
from tests.support.canaries.deep import kept_in
from tests.support.canaries.marks import secret
from tests.support.gateway import gateway
from tests.support.house import House, client, configuration, simulated

PROGRAM: Final = "redis-server"
SECRET_KEY: Final = secret("signing")
_HOST: Final = "127.0.0.1"
_START_S: Final = 20.0


def which(program: str) -> bool:
    """Whether a program is installed here."""
    return shutil.which(program) is not None


@dataclass(slots=True)
class RealRedis:
    """A Redis that keeps nothing on disk.

    Attributes:
        folder: where it runs.
        port: where it listens, on the loopback address.
    """

    folder: Path
    port: int
    _process: Process | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://{_HOST}:{self.port}/0"

    @property
    def secret_url(self) -> Secret:
        """The same, as the program handles it."""
        return Secret(self.url)

    async def start(self) -> None:
        """Start it, empty, and wait until it answers. Raises RuntimeError when it ends instead."""
        words = ("--port", str(self.port), "--bind", _HOST, "--save", "", "--appendonly", "no")
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM, *words, cwd=self.folder, stdout=DEVNULL, stderr=DEVNULL
        )
        async with asyncio.timeout(_START_S):
            while not await self._answers():
                if self._process.returncode is not None:
                    raise RuntimeError(f"{PROGRAM} ended with {self._process.returncode}")
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """End it at once, with all it holds; safe to call twice."""
        if self._process is not None and self._process.returncode is None:
            await kept_in(_HOST, self.port)
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def freeze(self) -> None:
        """Have it take connections and answer nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    async def ask(self, *words: str | int) -> object:
        """Carry out one command as a bystander."""
        async with Redis(host=_HOST, port=self.port) as bystander:
            answer: object = await bystander.execute_command(*words)  # type: ignore[no-untyped-call] # the library's
            return answer

    async def _answers(self) -> bool:
        try:
            await self.ask("PING")
        except (RedisError, OSError):
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("it was not started")
        self._process.send_signal(number)


@asynccontextmanager
async def real_redis(folder: Path) -> AsyncIterator[RealRedis]:
    """A running Redis; it is ended in the end."""
    with socket.create_server((_HOST, 0)) as free:
        port = free.getsockname()[1]
    running = RealRedis(folder, port)
    try:
        await running.start()
        yield running
    finally:
        await running.kill()


@asynccontextmanager
async def replicas(
    folder: Path,
    redis: RealRedis,
    count: int,
    settings: Mapping[str, str] | None = None,
    *,
    keys: tuple[str, ...] = ("k1", "k2", "k3"),
    credentials: Callable[[str], Iterable[Mapping[str, object]]] | None = None,
    simulator: Simulator | None = None,
) -> AsyncIterator[list[House]]:
    """Several gateways with folders of their own in front of one simulated Claude; see `tests.support.house.house`."""
    async with simulated(simulator) as claude, AsyncExitStack() as opened:
        shared = {
            **configuration(folder, claude, keys, credentials),
            "REDIS_URL": redis.url,
            "SECRET_KEY": SECRET_KEY,
            **(settings or {}),
        }
        running: list[House] = []
        for number in range(count):
            own = folder / f"replica-{number}"
            own.mkdir(exist_ok=True)
            server = await opened.enter_async_context(gateway(own, shared))
            running.append(House(server, claude, await opened.enter_async_context(client())))
        yield running
