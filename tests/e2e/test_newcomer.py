"""A newcomer's walk: from a clean clone to a first streamed answer and the dashboard, by the README's own commands."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.support.program import ROOT

_FENCED: Final = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LISTENS: Final = re.compile(r"listens on http://(\S+) with")
_LIMIT_S: Final = 60.0
COMMANDS: Final = _FENCED.findall((ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0])


def installed(clone: Path) -> None:
    """What ``make run`` would install first: the packages of this very test, so that it takes no minute."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (clone / ".venv" / ".runtime").touch()


async def listening(process: asyncio.subprocess.Process) -> str:
    """Its address, once it says so."""
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode():
        if found := _LISTENS.search(line):
            return found[1]
    raise AssertionError("it ended without listening")


async def run(*command: str, folder: Path) -> str:
    """What a command prints that ends well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    assert process.returncode == 0
    return printed.decode()


@pytest.mark.needs("git", "make", "curl")
async def test_a_clean_clone_streams_and_shows_its_dashboard(tmp_path: Path) -> None:
    """Protects the first five minutes: three lines to paste, two curl lines, and a page in the browser."""
    assert len(COMMANDS) == 3
    start, _, streamed = COMMANDS
    fetch, enter, make = start.splitlines()
    clone = tmp_path / enter.removeprefix("cd ")
    # the address in the README is nobody's yet; everything else is typed as it stands there
    command, _, address = fetch.rpartition(" ")
    assert address.endswith(f"/{clone.name}")
    await run(*command.split(), "--quiet", "--no-hardlinks", str(ROOT), clone.name, folder=tmp_path)
    await asyncio.to_thread(installed, clone)
    process = await asyncio.create_subprocess_exec(
        *make.split(),
        cwd=clone,
        env={"PATH": os.environ["PATH"], "ADDRESS": "127.0.0.1:0", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        address = await asyncio.wait_for(listening(process), _LIMIT_S)
        printed = await run("sh", "-c", streamed.replace("127.0.0.1:8080", address), folder=clone)
        assert printed.count("data: {") > 3
        assert printed.rstrip().endswith("data: [DONE]")
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}/dashboard") as page:
            assert page.status == 200
            assert "text/html" in page.headers["content-type"]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        await process.wait()
