"""A gateway that can be killed, stopped, started anew and given a wrong wall clock."""

import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.gateway import Gateway, gateway
from tests.support.nginx import free_port
from tests.support.wall_clock import WallClock


@dataclass(slots=True)
class Replica:
    """A gateway that keeps its address and its folder when it is killed."""

    folder: Path
    settings: dict[str, str]
    stack: AsyncExitStack
    port: int = field(default_factory=free_port)
    running: Gateway | None = None
    clock: WallClock = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.clock = WallClock(self.folder / "wrong-by")

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, or start it anew."""
        settings = {**self.settings, "ADDRESS": f"127.0.0.1:{self.port}"}
        with self.clock.used():
            self.running = await self.stack.enter_async_context(gateway(self.folder, settings))

    async def kill(self) -> None:
        """Kill it."""
        if self.running is not None:
            await self.running.stop(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Have it stand still, or go on."""
        if self.running is not None:
            self.running.program.send(number)
