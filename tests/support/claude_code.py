"""The Claude Code program of the ``claude-agent-sdk`` package, started as its users start it: in a home of its own."""

import asyncio
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from tests.support.lacking import lacks

_LIMIT_S: Final = 90.0


class Result(msgspec.Struct):
    """What ``--output-format json`` prints; only what tests read."""

    is_error: bool
    result: str
    num_turns: int
    session_id: str


def claude_program() -> Path:
    """The program. Skips the test, or fails it under ``REQUIRE_ALL=1``, where the package is not installed."""
    found = find_spec("claude_agent_sdk")
    folders = (found.submodule_search_locations or ()) if found is not None else ()
    programs = [Path(folder) / "_bundled" / "claude" for folder in folders]
    program = next((one for one in programs if one.exists()), None)
    if program is None:
        lacks("not installed here: claude-agent-sdk with its program (requirements-claude-code.txt)")
    return program


async def run_claude(folder: Path, prompt: str, *arguments: str, settings: Mapping[str, str]) -> str:
    """What ``claude -p`` prints for a prompt, in `folder`; a failure fails the test.

    Nothing but the path and `settings` is in its environment; its configuration lies in a new folder beside `folder`.
    """
    home = folder.parent / f"{folder.name}-home"
    home.mkdir()
    process = await asyncio.create_subprocess_exec(
        claude_program(),
        "-p",
        prompt,
        *arguments,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "CLAUDE_CONFIG_DIR": str(home / "configuration"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            **settings,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        printed, complaints = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (printed + complaints).decode()
    return printed.decode()
