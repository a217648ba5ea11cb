"""Programs of Node and what they need: installed once by npm as a lock file says, and run as programs of their own."""

import asyncio
import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tests.support.lacking import lacks
from tests.support.program import ROOT

_SOURCES: Final = ROOT / "tests" / "e2e"
_INSTALLED: Final = ROOT / ".node"
_INSTALL: Final = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_INSTALL_LIMIT_S: Final = 100
_RUN_LIMIT_S: Final = 60
_T = TypeVar("_T")


def node_programs(name: str) -> Path:
    """A folder with the programs of ``tests/e2e/<name>`` and what they import, shared by all tests of this tree.

    Skips the test, or fails it under ``REQUIRE_ALL=1``, where npm cannot install that.
    """
    sources = _SOURCES / name
    lock = (sources / "package-lock.json").read_bytes()
    folder = _INSTALLED / hashlib.blake2b(lock, digest_size=8).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for source in sources.iterdir():
            shutil.copy(source, folder)
        if not (folder / "installed").exists():
            _install(folder)
            (folder / "installed").touch()
    return folder


def _install(folder: Path) -> None:
    done = subprocess.run(  # noqa: S603 - the command is a constant
        _INSTALL, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_LIMIT_S, check=False
    )
    if done.returncode != 0:
        lacks(f"npm could not install what tests/e2e needs of Node: {done.stderr[-1000:]}")


async def run_node(
    folder: Path, program: str, scenario: str, expected: type[_T], /, **environment: str
) -> _T:
    """Run a scenario of a program and decode the JSON it prints; a program that fails fails the test."""
    process = await asyncio.create_subprocess_exec(
        "node",
        program,
        scenario,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await asyncio.wait_for(process.communicate(), _RUN_LIMIT_S)
    assert process.returncode == 0, complaints.decode()
    return msgspec.json.decode(printed, type=expected)
