"""The processes that run in a folder or below it, whoever started them."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

from proxy.clock import SystemClock

_STEP_S: Final = 0.05


def children(folder: Path) -> list[int]:
    """Their ids. The folder itself may be gone."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            where = str((process / "cwd").readlink()).removesuffix(" (deleted)")
            if Path(where).is_relative_to(folder):
                found.append(int(process.name))
    return found


async def seconds_until_none(folder: Path, within_s: float) -> float:
    """How long the last of them lived; raises TimeoutError where any is left in the end."""
    clock = SystemClock()
    began_s = clock.monotonic_s()
    async with asyncio.timeout(within_s):
        while True:
            if not await asyncio.to_thread(children, folder):
                return clock.monotonic_s() - began_s
            await asyncio.sleep(_STEP_S)
