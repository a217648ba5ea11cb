"""Tests that take long in full: each file of them is a part of the soak."""

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Final

from tests.soak.figures import Report
from tests.support.program import ROOT

_MARKED: Final = "@pytest.mark.long\n"
_COUNT: Final = re.compile(r"(\d+) passed")
_TIMEOUT_S: Final = 900


def _found() -> dict[str, Path]:
    folder = ROOT / "tests"
    files = (file for file in sorted(folder.rglob("test_*.py")) if _MARKED in file.read_text())
    return {file.stem.removeprefix("test_").replace("_", "-"): file.relative_to(ROOT) for file in files}


LONG_TESTS: Final = _found()
"""Files with tests marked `long`, by the names ``make soak PART=`` takes."""


async def long_test(file: Path, report: Report) -> None:
    """Run the long tests of a file in full and report."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-m", "long", f"--timeout={_TIMEOUT_S}", str(file)),
        cwd=ROOT,
        env={**os.environ, "SOAK": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode(errors="replace")
    passed = _COUNT.search(output)
    if process.returncode:
        sys.stderr.write(output)
    report.figure("tests_passed", int(passed[1]) if passed else 0)
    report.figure("exit_code", process.returncode or 0, most=0)
