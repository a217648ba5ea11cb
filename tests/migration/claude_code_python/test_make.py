"""Moving here from claude-code-api (Python): the commands of its Makefile, run by make in a checkout of ours."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.support.program import ROOT, started

pytestmark = pytest.mark.needs("make", "ps")

DOCUMENTED: Final = {
    *(
        "install",
        "test",
        "start",
        "start-prod",
        "start-prod-bg",
        "stop",
        "restart",
        "status",
        "logs",
        "clean",
        "kill",
    ),
    *(
        "test-fast",
        "test-hello",
        "test-health",
        "test-models",
        "test-chat",
        "quick-test",
        "dev-setup",
        "lint",
    ),
    *("format", "type-check", "help", "models", "info", "check-claude", "deploy-check"),
}
"""Every target its document names."""
_KEYS: Final = {
    "ANTHROPIC_API_KEY": "k1",
    "API_KEY": "a-key-of-the-clients",
    "ADMIN_KEY": "a-key-of-the-admins",
}
_RUNS: Final = re.compile(r"process (\d+)")
_LISTENS: Final = re.compile(r"listens on http://\S*:(\d+)")
_LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Checkout:
    """A folder with what make needs, whose packages are those of these tests."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=lambda: {**_KEYS, "ADDRESS": "127.0.0.1:0"})

    async def make(self, *words: str, code: int = 0) -> str:
        """Run make; what it prints, on both streams."""
        installed = [f"--assume-old=.venv/.{name}" for name in ("runtime", "dev", "claude-code")]
        process = await asyncio.create_subprocess_exec(
            *("make", "--no-print-directory", f"BIN={Path(sys.executable).parent}", *installed, *words),
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], **self.settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(process.communicate(), _LIMIT_S)
        assert (process.returncode == 0) == (code == 0), printed.decode()
        return printed.decode()


@pytest.fixture
async def checkout(tmp_path: Path) -> AsyncIterator[_Checkout]:
    """A checkout, in which no server is left."""
    await asyncio.to_thread(_laid_out, tmp_path)
    found = _Checkout(tmp_path)
    yield found
    await found.make("stop")


def _laid_out(folder: Path) -> None:
    for name in ("Makefile", "app.py"):
        shutil.copy(ROOT / name, folder)
    for name in ("proxy", "tests"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "deploy", folder / "deploy")


async def _answers(port: str) -> bool:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"http://127.0.0.1:{port}/health") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


async def test_a_server_in_the_background_is_started_shown_and_stopped(checkout: _Checkout) -> None:
    """Protects its lines for servers: each of them does what it did, and says where there is nothing to do."""
    assert "No server runs" in await checkout.make("status", code=1)
    began = await checkout.make("start-prod-bg")
    first, port = _RUNS.findall(began)[0], _LISTENS.findall(began)[0]
    os.kill(int(first), signal.SIGHUP)
    assert await _answers(port)
    assert f"runs already, as process {first}" in await checkout.make("start-prod-bg")
    assert f"runs as process {first}" in await checkout.make("status")
    again = await checkout.make("restart")
    assert f"Process {first} has ended" in again
    second, port = _RUNS.findall(again)[-1], _LISTENS.findall(again)[-1]
    assert await _answers(port)
    assert f"listens on http://127.0.0.1:{port}" in await checkout.make("status")
    assert f"Process {second} has ended" in await checkout.make("stop")
    assert not await _answers(port)
    files = [checkout.folder / "data" / "run", *(checkout.folder / "data" / "run").iterdir()]
    assert {file.stat().st_mode & 0o077 for file in files} == {0}


async def test_a_server_is_ended_by_its_port_and_no_other_program_is(
    checkout: _Checkout, tmp_path: Path
) -> None:
    """Protects whatever else listens: a server of another folder is not ended, one of this folder is."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with started(elsewhere, "serve", **_KEYS) as other:
        told = await checkout.make("kill", f"PORT={other.url.rpartition(':')[2]}", code=1)
        assert "No server of this folder" in told
        assert other.process.returncode is None
    began = await checkout.make("start-prod-bg")
    port = _LISTENS.findall(began)[0]
    assert f"Ended: {_RUNS.findall(began)[0]}" in await checkout.make("kill", f"PORT={port}")
    assert not await _answers(port)
    assert "usage" in await checkout.make("kill", code=1)


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Protects those who forgot a credential: the reason is shown, and not only in a file."""
    await asyncio.to_thread(_laid_out, tmp_path)
    told = await _Checkout(tmp_path, {"ADDRESS": "127.0.0.1:0"}).make("start-prod-bg", code=1)
    assert "ANTHROPIC_API_KEY" in told
    assert not (tmp_path / "data" / "run" / "server.pid").exists()


async def test_what_informs_informs(checkout: _Checkout) -> None:
    """Protects the small commands: models, version, and every one that make help names."""
    assert "claude-sonnet-" in await checkout.make("models")
    assert "carousel 0." in await checkout.make("info")
    told = await checkout.make("help")
    assert [name for name in DOCUMENTED if name not in told and not name.startswith("test-")] == []


async def test_there_is_every_command_of_its_document(checkout: _Checkout) -> None:
    """Protects scripts that call them: make knows each, and what it would do is not nothing."""
    for name in sorted(DOCUMENTED - {"help"}):
        assert (await checkout.make("--dry-run", name, "PORT=1")).strip(), name
