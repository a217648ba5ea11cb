"""The guard, run as the program it is: what it ends, and what it tells."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.children import children, seconds_until_none

GUARD: Final = Path(__file__).parents[4] / "proxy" / "upstreams" / "claude_code" / "guard.py"


async def _guarded(folder: Path, script: str) -> tuple[asyncio.subprocess.Process, int]:
    watched, lifeline = os.pipe()
    command = [sys.executable, "-I", "-S", str(GUARD), str(watched), "/bin/sh", "-c", script]
    process = await asyncio.create_subprocess_exec(
        *command, pass_fds=(watched,), cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    os.close(watched)
    return process, lifeline


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", 137)])
async def test_the_end_of_the_program_is_told_and_what_it_left_is_ended(
    tmp_path: Path, script: str, code: int
) -> None:
    """Protects the machine from what a program leaves running in the background."""
    process, lifeline = await _guarded(tmp_path, f"sleep 600 & {script}")
    assert await process.wait() == code
    os.close(lifeline)
    await seconds_until_none(tmp_path, 5)


async def test_a_cut_lifeline_ends_a_whole_family(tmp_path: Path) -> None:
    """Protects the machine from a program that takes no hint, and from a child that has left its family."""
    script = "trap '' TERM; (setsid sleep 600 &); sleep 600 & echo ready; while :; do wait; sleep 1; done"
    process, lifeline = await _guarded(tmp_path, script)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    assert len(await asyncio.to_thread(children, tmp_path)) >= 4
    os.close(lifeline)
    await process.wait()
    assert await asyncio.to_thread(children, tmp_path) == []


async def test_a_guard_that_is_killed_takes_the_program_along(tmp_path: Path) -> None:
    """Protects the machine where memory has run out and the guard is the one that is picked."""
    process, lifeline = await _guarded(tmp_path, "echo ready; exec sleep 600")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.kill()
    await process.wait()
    await seconds_until_none(tmp_path, 5)
    os.close(lifeline)


async def test_a_program_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    """Protects whoever waits for it from waiting for ever."""
    watched, lifeline = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(GUARD), str(watched), str(tmp_path / "nothing")),
        pass_fds=(watched,),
    )
    assert await process.wait() == 127
    os.close(watched)
    os.close(lifeline)
