"""Codex CLI, started as its users start it for one turn: configured by a file in a home of its own."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.support.lacking import lacks
from tests.support.node import node_programs

_LIMIT_S: Final = 60.0
_CONFIGURATION: Final = """\
model = "{model}"
model_provider = "carousel"
sandbox_mode = "danger-full-access"

[model_providers.carousel]
name = "Carousel"
base_url = "{url}/v1"
env_key = "CAROUSEL_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""


class Item(msgspec.Struct, kw_only=True):
    """Something that happened in a turn; only what tests read."""

    type: str
    text: str = ""
    message: str = ""
    command: str = ""
    aggregated_output: str = ""
    exit_code: int | None = None


class Usage(msgspec.Struct):
    """The tokens of a turn."""

    input_tokens: int
    output_tokens: int


class Problem(msgspec.Struct):
    """Why a turn failed."""

    message: str


class Event(msgspec.Struct):
    """One line of what ``--json`` prints."""

    type: str
    item: Item | None = None
    usage: Usage | None = None
    error: Problem | None = None


class Turn(msgspec.Struct):
    """What ``codex exec`` did: how it ended, and what it told on the way."""

    exit_code: int
    events: Sequence[Event]

    def done(self, kind: str) -> list[Item]:
        """What was completed of a kind."""
        return [
            event.item
            for event in self.events
            if event.type == "item.completed" and event.item is not None and event.item.type == kind
        ]


def codex_program() -> Path:
    """The program. Skips the test, or fails it under ``REQUIRE_ALL=1``, where npm cannot install it."""
    program = node_programs("codex") / "node_modules" / ".bin" / "codex"
    if not program.exists():
        lacks("not installed here: the program of @openai/codex")
    return program


async def run_codex(
    program: Path, folder: Path, prompt: str, *arguments: str, url: str, key: str, model: str
) -> Turn:
    """One turn of ``codex exec`` in `folder`, with the gateway at `url` as its provider.

    Nothing but the path, its home and the key is in its environment; its home is a new folder beside `folder`.
    """
    home = folder.parent / f"{folder.name}-home"
    await asyncio.to_thread(_configure, home, url, model)
    process = await asyncio.create_subprocess_exec(
        program,
        "exec",
        "--json",
        "--skip-git-repo-check",
        *arguments,
        prompt,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "CODEX_HOME": str(home),
            "CAROUSEL_KEY": key,
            "NO_PROXY": "127.0.0.1",
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
    lines = printed.splitlines()
    assert process.returncode is not None
    assert lines, complaints.decode()
    return Turn(process.returncode, [msgspec.json.decode(line, type=Event) for line in lines])


def _configure(home: Path, url: str, model: str) -> None:
    home.mkdir()
    (home / "config.toml").write_text(_CONFIGURATION.format(url=url, model=model))
