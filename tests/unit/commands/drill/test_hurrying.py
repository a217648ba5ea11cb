"""A loop whose time runs ahead, and from which nothing leaves the machine."""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from proxy.commands.drill.hurrying import HurryingClock, HurryingLoop

_T = TypeVar("_T")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """What `work` gives in such a loop."""
    with asyncio.Runner(loop_factory=HurryingLoop) as runner:
        return runner.run(work)


def test_an_hour_of_waiting_is_over_at_once() -> None:
    """Protects the drill from lasting as long as the patience it looks at."""

    async def wait() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HurryingLoop)
        clock = HurryingClock(loop)
        began_s, began_ms = clock.monotonic_s(), clock.unix_ms()
        await asyncio.sleep(3600)
        return clock.monotonic_s() - began_s, clock.unix_ms() - began_ms

    passed_s, passed_ms = run(wait())
    assert passed_s >= 3600
    assert passed_ms >= 3_600_000


def test_time_does_not_run_ahead_while_something_happens() -> None:
    """Protects what takes its time from being taken for what never comes."""

    async def work() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HurryingLoop)
        for _ in range(1000):
            await asyncio.sleep(0)
        return loop.ahead_s

    assert run(work()) == 0


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "169.254.169.254", "0.0.0.0", "somewhere.test"])  # noqa: S104 - refused
def test_nothing_but_this_machine_is_connected_to(host: str) -> None:
    """Protects providers, and the operator's standing with them, from a drill."""

    async def connect() -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as one:
            one.setblocking(False)
            await asyncio.get_running_loop().sock_connect(one, (host, 443))

    with pytest.raises(PermissionError, match="nothing but this machine"):
        run(connect())
