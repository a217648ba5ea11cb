"""What stops a start, and what does not."""

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from proxy.commands.configuration import CannotStart
from proxy.commands.serve import _loop_factory, _require_fast_parser
from tests.support.program import ROOT, finished, started


async def test_without_a_credential_it_says_what_to_set(tmp_path: Path) -> None:
    """Protects a newcomer from a server that cannot answer anything."""
    program = await finished(tmp_path)
    assert program.process.returncode == 1
    assert "ANTHROPIC_API_KEY" in program.output
    assert "--demo" in program.output
    assert not (tmp_path / "data").exists()


async def test_a_demo_needs_nothing(tmp_path: Path) -> None:
    """Protects the first minute with the program."""
    async with started(tmp_path, "serve", "--demo") as program:
        assert "DEMO MODE" in program.output
        program.process.terminate()
        assert await program.ended() == 0


@pytest.mark.parametrize(
    ("address", "demo"), [("127.0.0.1:0", True), ("0.0.0.0:0", False)], ids=["loopback", "everywhere"]
)
async def test_a_demo_for_want_of_credentials_stays_on_this_machine(
    tmp_path: Path, address: str, demo: bool
) -> None:
    """Protects a deployment that lost its credentials from answering with simulated ones."""
    if demo:
        async with started(tmp_path, "serve", "--demo-if-unconfigured", ADDRESS=address) as program:
            assert "DEMO MODE" in program.output
    else:
        ended = await finished(tmp_path, "serve", "--demo-if-unconfigured", ADDRESS=address)
        assert ended.process.returncode == 1


async def test_it_takes_the_descriptors_that_are_granted_for_the_asking(tmp_path: Path) -> None:
    """Protects the thousandth stream from the number of open files a shell starts programs with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        async with started(tmp_path, "serve", "--demo") as program:
            granted = resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert granted == (min(hard, 65_536), hard)


async def test_a_demo_for_want_of_credentials_is_none_when_there_are_some(tmp_path: Path) -> None:
    """Protects real credentials from being ignored."""
    async with started(
        tmp_path, "serve", "--demo-if-unconfigured", ANTHROPIC_API_KEY="a-key", LOG_LEVEL="error"
    ) as program:
        assert "DEMO MODE" not in program.output
        assert "api-1" in program.output


async def test_a_credential_whose_program_is_missing_is_named_and_the_others_serve(tmp_path: Path) -> None:
    """Protects an operator from believing that a credential is used, and the others from its lack."""
    async with started(
        tmp_path, ANTHROPIC_API_KEY="a-key", CLAUDE_CODE="true", CLAUDE_BINARY_PATH="/nowhere/claude"
    ) as program:
        await program.wrote("code-1: Claude Code cannot be used")
        assert "with 2 credential(s): api-1, code-1" in program.output


async def test_old_prices_are_told_at_the_start(tmp_path: Path) -> None:
    """Protects an operator from a bill at the prices of last year."""
    file = tmp_path / "catalog.json"
    for as_of, told in (("2001-01-01", True), ("2999-01-01", False)):
        file.write_text(f'{{"as_of": "{as_of}"}}')
        async with started(tmp_path, "serve", "--demo", MODEL_CATALOG_FILE=str(file)) as program:
            assert ("what is known of models and their prices is old" in program.output) is told


async def test_the_first_start_makes_keys_and_the_second_keeps_them(tmp_path: Path) -> None:
    """Protects clients from a key that changes with every start."""
    found = []
    for _ in range(2):
        async with started(tmp_path, "serve", "--demo") as program:
            found.append((tmp_path / "data" / "client.key").read_text())
            program.process.terminate()
            await program.ended()
        assert found[0].strip() not in program.output
    assert found[0] == found[1]
    assert found[0].startswith("sk-carousel-")


@pytest.mark.parametrize("content", [None, "{", '{"as_of": 7}'], ids=["missing", "no JSON", "a wrong field"])
async def test_a_catalog_that_cannot_be_used_stops_the_start_and_is_named(
    tmp_path: Path, content: str | None
) -> None:
    """Protects an operator from searching for what is wrong, or from prices that are not theirs."""
    file = tmp_path / "catalog.json"
    if content is not None:
        file.write_text(content)
    program = await finished(tmp_path, ANTHROPIC_API_KEY="a-key", MODEL_CATALOG_FILE=str(file))
    assert program.process.returncode == 1
    assert "MODEL_CATALOG_FILE" in program.output
    assert "Traceback" not in program.output


def test_the_slow_parser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects against a parser that has let smuggled requests through."""
    from aiohttp import http_parser  # noqa: PLC0415 - looked at only here

    _require_fast_parser()
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(CannotStart, match="C extensions"):
        _require_fast_parser()


def test_without_uvloop_the_standard_loop_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects machines on which the faster loop cannot be installed."""
    assert _loop_factory() is not None
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert _loop_factory() is None


async def test_a_hangup_does_not_end_a_demo(tmp_path: Path) -> None:
    """Protects a demo, which has no credentials to read again, from the signal that has others read them."""
    async with started(tmp_path, "serve", "--demo") as program:
        program.send(signal.SIGHUP)
        program.send(signal.SIGTERM)
        assert await program.ended() == 0


_IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


async def test_closing_the_terminal_ends_the_server_in_it(tmp_path: Path) -> None:
    """Protects the port from a server nobody sees any more, though the same signal has files read again."""
    outside, inside = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _IN_TERMINAL, str(ROOT / "app.py"), "serve", "--demo"),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "ADDRESS": "127.0.0.1:0"},
        stdin=inside,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(inside)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            while b"Try it" not in await process.stdout.readline():
                assert process.returncode is None
            process.send_signal(signal.SIGHUP)
            os.close(outside)
            await process.stdout.read()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
