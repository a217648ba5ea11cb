"""Tests that take long in full: each file of them is a part of the soak."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.soak.figures import Report
from tests.support.program import ROOT

MOST_S: Final = 900
"""What a part of the soak may take, in seconds."""

_MARKED: Final = re.compile(r"^(@|pytestmark\b.*)pytest\.mark\.long\b", re.MULTILINE)
_COUNT: Final = re.compile(r"(\d+) (passed|skipped)")


def named(files: Iterable[Path]) -> dict[str, Path]:
    """The files by the names of their parts; those that are called alike have their folder before it."""
    found: dict[str, Path] = {}
    alike: dict[str, list[Path]] = {}
    for file in files:
        alike.setdefault(file.stem.removeprefix("test_"), []).append(file)
    for stem, those in alike.items():
        for file in those:
            name = stem if len(those) == 1 else f"{file.parent.name}_{stem}"
            found[name.replace("_", "-")] = file
    return found


def _marked() -> list[Path]:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [file.relative_to(ROOT) for file in files if _MARKED.search(file.read_text())]


LONG_TESTS: Final = named(_marked())
"""Files with tests marked `long`, by the names ``make soak PART=`` takes."""


async def long_test(file: Path, report: Report) -> None:
    """Run the long tests of a file in full and report."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-m", "long", f"--timeout={MOST_S}", str(file)),
        cwd=ROOT,
        env={**os.environ, "SOAK": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(MOST_S):
            output = (await process.communicate())[0].decode(errors="replace")
    except TimeoutError:
        output = f"{file} took longer than {MOST_S} s\n"
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        sys.stderr.write(output)
    counted = {what: int(count) for count, what in _COUNT.findall(output)}
    report.figure("tests_passed", counted.get("passed", 0))
    report.figure("tests_skipped", counted.get("skipped", 0))
    report.figure("exit_code", abs(process.returncode or 0), most=0)
