"""A process under its guard: lines, complaints, limits, an end."""

from pathlib import Path
from typing import Final

import pytest

from proxy.pool import Fault
from proxy.upstreams.base import UpstreamFault
from proxy.upstreams.claude_code import process as module
from proxy.upstreams.claude_code.process import Process
from tests.support.children import seconds_until_none
from tests.support.house import until

# the shell's own, and what Python puts into a bare environment
_OF_A_SHELL: Final = frozenset((b"ONLY", b"PWD", b"SHLVL", b"_", b"OLDPWD", b"LC_CTYPE"))


def _shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


async def test_lines_come_whole_and_the_environment_is_the_one_given(tmp_path: Path) -> None:
    """Protects readers from halves of lines, and the program from the environment of the server."""
    process = await Process.start(_shell("printf 'a\\nb'; echo c; env | sort"), {"ONLY": "this"}, tmp_path)
    lines = [line async for line in process.lines()]
    assert lines[:2] == [b"a", b"bc"]
    assert {line.partition(b"=")[0] for line in lines[2:]} <= _OF_A_SHELL
    await process.close(at_once=False)
    assert not process.running


async def test_a_line_without_an_end_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects memory from a program that has gone mad."""
    monkeypatch.setattr(module, "LINE_MAX_BYTES", 100_000)
    process = await Process.start(
        _shell("head -c 300000 /dev/zero; sleep 600"), {"PATH": "/usr/bin:/bin"}, tmp_path
    )
    with pytest.raises(UpstreamFault) as caught:
        [line async for line in process.lines()]
    assert caught.value.fault is Fault.BODY_TOO_LARGE
    await process.close(at_once=True)
    await seconds_until_none(tmp_path, 5)


async def test_of_what_it_complains_the_end_is_kept(tmp_path: Path) -> None:
    """Protects memory from a flood, and the operator's way to the reason."""
    script = "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo the reason >&2"
    process = await Process.start(_shell(script), {"PATH": "/usr/bin:/bin"}, tmp_path)
    await until(lambda: process.complaints.endswith("the reason\n"))
    assert len(process.complaints) <= module.STDERR_MAX_BYTES
    await process.close(at_once=False)


async def test_what_is_written_arrives_until_it_has_ended(tmp_path: Path) -> None:
    """Protects whoever writes to a program that is gone from an exception of the wrong sort."""
    process = await Process.start(["/bin/cat"], {}, tmp_path)
    await process.write(b"hello\n")
    assert await anext(process.lines()) == b"hello"
    await process.close(at_once=False)
    with pytest.raises(UpstreamFault):
        await process.write(b"again\n")
    process.kill()
    await process.close(at_once=True)
